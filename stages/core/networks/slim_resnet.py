"""A slim ResNet for small images and for training from scratch on a CPU."""

from __future__ import annotations

import torch
from segmentation_models_pytorch.encoders._base import EncoderMixin
from torch import nn
from torchvision.models.resnet import BasicBlock, conv1x1

WIDTHS = (24, 48, 96, 192)
STRIDES = (2, 4, 8, 16)


class SlimResNet(nn.Module, EncoderMixin):
    """A 3x3 stem at stride 2 and four levels of basic blocks (He et al. 2016, arXiv 1512.03385) at strides 2 to 16.

    Differences from ResNet-18: widths of 24 to 192 channels in place of 64 to 512, a 3x3 stem in place of 7x7, and no
    max-pooling, so that the first level sees fine texture and an object of ten pixels survives to the last.

    `forward` maps (B, 3, H, W) to the input and the four levels' features, as segmentation_models.pytorch has it.
    """

    def __init__(self, blocks: int, depth: int = len(WIDTHS), output_stride: int = 16) -> None:
        super().__init__()
        self._depth, self._in_channels, self._output_stride = min(depth, len(WIDTHS)), 3, min(output_stride, 16)
        self._out_channels = [3, *WIDTHS]
        self.stem = nn.Sequential(
            nn.Conv2d(3, WIDTHS[0], 3, 2, 1, bias=False), nn.BatchNorm2d(WIDTHS[0]), nn.ReLU(True)
        )
        levels = []
        channels = WIDTHS[0]
        for width in WIDTHS:
            level = []
            for block in range(blocks):
                stride = 2 if block == 0 and width != WIDTHS[0] else 1
                shortcut = None
                if stride == 2:
                    shortcut = nn.Sequential(conv1x1(channels, width, stride), nn.BatchNorm2d(width))
                level.append(BasicBlock(channels, width, stride, shortcut))
                channels = width
            levels.append(nn.Sequential(*level))
        self.levels = nn.ModuleList(levels)

    def get_stages(self) -> dict[int, list[nn.Module]]:
        """The levels by stride, which `make_dilated` turns into dilations."""
        return {stride: [level] for stride, level in zip(STRIDES, self.levels, strict=True) if stride > 8}

    def forward(self, images: torch.Tensor) -> list[torch.Tensor]:
        """The input and the features of each level."""
        features = [images]
        x = self.stem(images)
        for level in self.levels:
            x = level(x)
            features.append(x)
        return features
