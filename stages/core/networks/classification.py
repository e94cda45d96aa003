"""The multi-label classifier whose features are the class activation maps."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from stages.core.networks.encoders import build_encoder
from stages.core.networks.neck import build_neck, neck_width


class ClassificationNet(nn.Module):
    """Encoder, neck, global average pooling, then a 1x1 convolution without bias (as in IRN, arXiv 1904.05044).

    Pooling and the convolution commute, so the convolution on the unpooled features is the class activation map
    (Zhou et al. 2016, arXiv 1512.04150). The neck is empty for most encoders, see `build_neck`.
    """

    def __init__(self, encoder: str, output_stride: int, num_classes: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.encoder = build_encoder(encoder, output_stride)
        self.neck = build_neck(encoder, self.encoder)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Conv2d(neck_width(self.neck, self.encoder.out_channels[-1]), num_classes, 1, bias=False)

    @property
    def divisor(self) -> int:
        """The encoder pads sides to a multiple of this, right and below, so its map reaches beyond the image; 1: no."""
        return getattr(self.encoder, "divisor", 1)

    def forward(self, images: torch.Tensor, valid: torch.Tensor | None = None) -> torch.Tensor:
        """Logits (B, C) of normalised images (B, 3, H, W).

        valid: (B, H, W) bool, False on padding, which the pooling leaves out; None means that there is none.
        """
        return self.score(self.features(images)[-1], images.shape[2:], valid)

    def features(self, images: torch.Tensor) -> list[torch.Tensor]:
        """The encoder's feature maps (B, F, h, w) of normalised images (B, 3, H, W), the last one after the neck."""
        *levels, last = self.encoder(images)
        return [*levels, self.neck(last)]

    def score(self, features: torch.Tensor, size: tuple[int, int], valid: torch.Tensor | None = None) -> torch.Tensor:
        """Logits (B, C) of the last features (B, F, h, w) of images of `size` (H, W); valid: see `forward`.

        Each feature counts by the share of the image in its square, be the rest the batch's padding or the encoder's.
        """
        padding = (0, -size[1] % self.divisor, 0, -size[0] % self.divisor)
        if valid is None and any(padding):
            valid = torch.ones((len(features), *size), dtype=torch.bool, device=features.device)
        pooled = average_pool(features, None if valid is None else F.pad(valid.to(features.dtype), padding))
        return self.head(self.dropout(pooled)).flatten(1)

    def cam(self, images: torch.Tensor) -> torch.Tensor:
        """Activation maps before normalisation, ReLU applied: (B, C, h, w) at the encoder's output stride."""
        return self.head(self.features(images)[-1]).relu()


def average_pool(features: torch.Tensor, valid: torch.Tensor | None) -> torch.Tensor:
    """The mean of features (B, F, h, w) over an image's valid pixels, (B, F, 1, 1).

    valid: (B, H, W) bool at any size, a cell counting by its share of valid pixels; None means that all are.
    """
    if valid is None:
        return features.mean((2, 3), keepdim=True)
    weights = F.adaptive_avg_pool2d(valid[:, None].to(features.dtype), features.shape[2:])
    return (features * weights).sum((2, 3), keepdim=True) / weights.sum((2, 3), keepdim=True)
