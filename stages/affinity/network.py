"""The boundary network: a small branch on the features of a frozen encoder."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from stages.core.networks.encoders import build_encoder

WIDTH, GROUPS = 32, 4  # channels of each level, and groups of their normalisation


class BoundaryNet(nn.Module):
    """The boundary branch of IRNet (Ahn, Cho & Kwak, CVPR 2019, arXiv 1904.05044).

    The features of each of the encoder's levels pass a 1x1 convolution to 32 channels, group normalisation and a ReLU
    and are brought to one stride (4 in the paper); joined, they pass a 1x1 convolution to one channel. Only this branch
    learns: the encoder is the classifier's and stays as it is, its batch normalisation too.

    Differences from the paper: the displacement branch, which tells instances of one class apart, is left out, because
    the masks made here are semantic. The encoder may be any, with its own levels and strides, so one at stride 2 is
    resized to 4 where the authors' code pools it before the branch; and a level is resized after its ReLU, where
    the deeper levels of the authors' code are resized before it.
    """

    def __init__(self, encoder: str, output_stride: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.encoder = build_encoder(encoder, output_stride).requires_grad_(False)
        # the first entry is the image; some transformers have an empty level at stride 2
        self.chosen = [number for number, width in enumerate(self.encoder.out_channels) if number and width]
        self.levels = nn.ModuleList(level(self.encoder.out_channels[number]) for number in self.chosen)
        self.head = nn.Conv2d(WIDTH * len(self.levels), 1, 1)

    def train(self, mode: bool = True) -> BoundaryNet:
        """Training mode of the branch; the encoder is always in evaluation mode."""
        super().train(mode)
        self.encoder.eval()
        return self

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits of the edges, (B, ceil(H / stride), ceil(W / stride)), of normalised images (B, 3, H, W)."""
        with torch.no_grad():
            features = self.encoder(images)
        size = [-(-side // self.stride) for side in images.shape[2:]]
        found = [layer(features[number]) for number, layer in zip(self.chosen, self.levels, strict=True)]
        joined = [F.interpolate(plane, size, mode="bilinear", align_corners=False) for plane in found]
        return self.head(torch.cat(joined, 1))[:, 0]

    def branch_state(self) -> dict[str, torch.Tensor]:
        """The weights of all but the encoder."""
        return {name: value for name, value in self.state_dict().items() if not name.startswith("encoder.")}


def level(channels: int) -> nn.Sequential:
    """What a level's features pass."""
    return nn.Sequential(nn.Conv2d(channels, WIDTH, 1, bias=False), nn.GroupNorm(GROUPS, WIDTH), nn.ReLU(inplace=True))
