"""A slim ResNet for small images and for training from scratch on a CPU."""

from __future__ import annotations

import torch
from segmentation_models_pytorch.encoders._base import EncoderMixin
from torch import nn
from torchvision.models.resnet import BasicBlock, conv1x1

STRIDES = (2, 4, 8, 16)  # of the levels, each of which is twice as wide as the one before


class SlimResNet(nn.Module, EncoderMixin):
    """A 3x3 stem at stride 2 and four levels of basic blocks (He et al. 2016, arXiv 1512.03385) at strides 2 to 16.

    Differences from ResNet-18: widths from `width` to 8 `width` channels in place of 64 to 512, a 3x3 stem in place of
    7x7, and no max-pooling, so that the first level sees fine texture and an object of ten pixels survives to the last.

    `forward` maps (B, 3, H, W) to the input and the four levels' features, as segmentation_models.pytorch has it.
    """

    def __init__(self, blocks: int, width: int, depth: int = len(STRIDES), output_stride: int = 16) -> None:
        super().__init__()
        widths = [width << level for level in range(len(STRIDES))]
        self._depth, self._in_channels, self._output_stride = min(depth, len(STRIDES)), 3, min(output_stride, 16)
        self._out_channels = [3, *widths]
        self.stem = nn.Sequential(nn.Conv2d(3, width, 3, 2, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU(True))
        levels = []
        channels = width
        for own in widths:
            level = []
            for block in range(blocks):
                stride = 2 if block == 0 and own != width else 1
                shortcut = None
                if stride == 2:
                    shortcut = nn.Sequential(conv1x1(channels, own, stride), nn.BatchNorm2d(own))
                level.append(BasicBlock(channels, own, stride, shortcut))
                channels = own
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
