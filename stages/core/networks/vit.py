"""Plain vision transformers of timm as encoders of one feature map."""

from __future__ import annotations

import timm
import torch
from torch import nn
from torch.nn import functional as F

MODULES = ("vision_transformer", "deit", "eva")  # of timm, whose models take images of any size


def is_vit(name: str) -> bool:
    """Whether timm's model `name` is a plain vision transformer."""
    return timm.models.is_model_in_modules(name, MODULES)


class ViTEncoder(nn.Module):
    """A plain vision transformer (Dosovitskiy et al. 2021, arXiv 2010.11929) whose patch tokens are a feature map.

    The tokens after the last normalisation, without the class and register tokens, are laid out by their patches at
    stride P, the side of a patch, as in the patch CAM of TS-CAM (arXiv 2103.14862) and MCTformer (arXiv 2203.02891).
    The position embeddings are interpolated to the image's grid. Sides that P does not divide are padded right and
    below with zeros. Padding takes part in attention; whoever pools or upsamples the map leaves it out by `divisor`.

    `forward` maps (B, 3, H, W) to the input and one entry per halving, as segmentation_models.pytorch has it: all are
    empty, (B, 0, h, w), but the last, (B, F, ceil(H / P), ceil(W / P)).

    Args:
        name: of timm, perhaps with the tag of its weights; the weights are random.
        output_stride: must be P.

    Raises:
        ValueError: it is not.
    """

    def __init__(self, name: str, output_stride: int) -> None:
        super().__init__()
        with torch.device("meta"):  # no memory for a network that is refused
            self.divisor = timm.create_model(name, num_classes=0).patch_embed.patch_size[0]
        self.output_stride = self.divisor
        if self.divisor != output_stride:
            raise ValueError(f"its patches are {self.divisor} pixels wide, so output_stride must be {self.divisor}")
        self.model = timm.create_model(name, num_classes=0, dynamic_img_size=True)
        self.model.attn_pool = None  # weights that no patch token passes
        self.out_channels = [3, *[0] * (self.divisor.bit_length() - 2), self.model.num_features]

    def forward(self, images: torch.Tensor) -> list[torch.Tensor]:
        """The input, the empty levels and the feature map."""
        height, width = images.shape[2:]
        padded = F.pad(images, (0, -width % self.divisor, 0, -height % self.divisor))
        grid = [side // self.divisor for side in padded.shape[2:]]
        # fc_norm is the last normalisation of the models that pool before it, else the identity
        tokens = self.model.fc_norm(self.model.forward_features(padded))[:, self.model.num_prefix_tokens :]
        features = tokens.transpose(1, 2).unflatten(2, grid)
        strides = [2**level for level in range(1, len(self.out_channels) - 1)]
        return [images, *(images.new_empty(len(images), 0, height // s, width // s) for s in strides), features]
