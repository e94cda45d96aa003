"""Segmentation heads that decide on an encoder's last feature map alone."""

from __future__ import annotations

import torch
from torch import nn

from stages.core.networks.encoders import build_encoder

DILATIONS = (6, 12, 18, 24)


class OneLevel(nn.Module):
    """An encoder and a head on its last feature map, whose logits have the encoder's output stride.

    `linear` is a 1x1 convolution: what the features of a vision transformer are usually judged with (Strudel et al.,
    "Segmenter", ICCV 2021, arXiv 2105.05633, the linear decoder). `deeplabv2` is the pyramid of DeepLabV2 (Chen et al.,
    arXiv 1606.00915, ASPP-L): the sum of four 3x3 convolutions to the classes with dilations 6, 12, 18 and 24, for
    an encoder at output stride 8. As in the authors' code the pyramid starts from normal weights of deviation 0.01.

    Differences from DeepLabV2: one input scale, where its training adds the losses of three and of their maximum.
    """

    def __init__(self, encoder: str, output_stride: int, num_classes: int, pyramid: bool) -> None:
        super().__init__()
        self.encoder = build_encoder(encoder, output_stride)
        channels = self.encoder.out_channels[-1]
        if pyramid:
            self.heads = nn.ModuleList(nn.Conv2d(channels, num_classes, 3, padding=d, dilation=d) for d in DILATIONS)
            for head in self.heads:
                nn.init.normal_(head.weight, std=0.01)
                nn.init.zeros_(head.bias)
        else:
            self.heads = nn.ModuleList([nn.Conv2d(channels, num_classes, 1)])

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits (B, K, h, w) at the encoder's output stride, of normalised images (B, 3, H, W)."""
        features = self.encoder(images)[-1]
        return sum(head(features) for head in self.heads)
