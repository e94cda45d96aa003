"""Segmentation networks by name, on any encoder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import segmentation_models_pytorch as smp
import torch
import torchvision
from torch import nn
from torch.nn import functional as F

from stages.core.faults import Fault
from stages.core.networks.encoders import build_encoder
from stages.core.networks.neck import held_neck
from stages.core.networks.one_level import OneLevel
from stages.core.networks.single_stage import SingleStage

DIVISOR = 32  # encoder-decoder networks need sides divisible by their total stride
STRIDE_ARGUMENT = {"deeplabv3", "deeplabv3plus", "pan"}  # networks of smp that take the encoder's output stride
DECODER_PER_LEVEL = {"unet", "unetplusplus", "manet"}  # networks of smp whose decoder has a width for each level
WIDTH, FINE_WIDTH = 96, 32  # channels of our own heads
TORCHVISION = "torchvision/"


class FCN(nn.Module):
    """A fully convolutional head whose field of view is the encoder's own: nothing here sees the whole image.

    `fcn` (Long et al. 2015, arXiv 1411.4038, the 8- or 16-pixel net): 3x3 convolution, normalisation, ReLU and a 1x1
    convolution to the classes on the last feature map. `fcn_skip` is the decoder of DeepLabV3+ (arXiv 1802.02611)
    without its pyramid pooling: the last feature map is upsampled to stride 4, joined with the encoder's features
    there, and decided upon at that resolution, which objects of ten pixels need.
    """

    def __init__(self, encoder: str, output_stride: int, num_classes: int, skip: bool) -> None:
        super().__init__()
        self.encoder = build_encoder(encoder, output_stride)
        channels = self.encoder.out_channels
        if skip and not channels[2]:
            raise ValueError("fcn_skip joins features at stride 4, which this encoder does not have; fcn needs none")
        if skip:
            self.deep, self.fine = convolution(channels[-1], WIDTH, 1), convolution(channels[2], FINE_WIDTH, 1)
        joined, head_width = (WIDTH + FINE_WIDTH, 2 * FINE_WIDTH) if skip else (channels[-1], WIDTH)
        self.skip = skip
        self.head = nn.Sequential(convolution(joined, head_width, 3), nn.Conv2d(head_width, num_classes, 1))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits (B, K, h, w) at stride 4 with a skip, else at the encoder's output stride."""
        features = self.encoder(images)
        if not self.skip:
            return self.head(features[-1])
        fine = self.fine(features[2])
        deep = F.interpolate(self.deep(features[-1]), fine.shape[2:], mode="bilinear", align_corners=False)
        return self.head(torch.cat([deep, fine], 1))


def convolution(channels: int, width: int, size: int) -> nn.Sequential:
    """A convolution without bias, batch normalisation and ReLU, at the same resolution."""
    return nn.Sequential(
        nn.Conv2d(channels, width, size, padding=size // 2, bias=False), nn.BatchNorm2d(width), nn.ReLU(inplace=True)
    )


class Segmenter(nn.Module):
    """A segmentation network with logits at the input's own size, whatever the network's stride.

    Args:
        architecture: `fcn` or `fcn_skip` (this file), `linear`, `deeplabv2` or `single_stage` (their files), a name of
            segmentation_models.pytorch (unet, deeplabv3plus, segformer, ...) or `torchvision/NAME` (fcn_resnet50,
            deeplabv3_resnet101, lraspp_mobilenet_v3_large, ...).
        encoder: see `build_encoder`; for torchvision it is part of the name.
        output_stride: 8 or 16 dilates the encoder where the architecture allows it, 32 leaves it.

    Raises:
        Fault: there is no such architecture, or it does not take this encoder or stride.
    """

    def __init__(self, architecture: str, encoder: str, output_stride: int, num_classes: int) -> None:
        super().__init__()
        try:
            self.net = build_network(architecture, encoder, output_stride, num_classes)
        except (KeyError, ValueError, TypeError, RuntimeError) as error:
            raise Fault(f"architecture {architecture!r} on encoder {encoder!r} cannot be built: {error}") from None
        for unused in held_neck(self.encoder).values():  # where several processes train, what learns must be used
            unused.requires_grad_(False)

    @property
    def encoder(self) -> nn.Module:
        """The part that the classifier's weights initialise."""
        return self.net.backbone if hasattr(self.net, "backbone") else self.net.encoder

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits (B, K, H, W) float32 of normalised images (B, 3, H, W)."""
        height, width = images.shape[2:]
        images = pad_sides(images)
        logits = self.net(images)
        if isinstance(logits, dict):  # torchvision's networks
            logits = logits["out"]
        logits = F.interpolate(logits.float(), images.shape[2:], mode="bilinear", align_corners=False)
        return logits[:, :, :height, :width]

    def forward_features(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The logits of `forward` and the encoder's last feature map (B, F, h, w) from one pass of the encoder.

        The feature map is that of the images padded by `pad_sides`.
        """
        found = []
        hook = self.encoder.register_forward_hook(lambda encoder, inputs, output: found.append(last_features(output)))
        try:
            logits = self(images)
        finally:
            hook.remove()
        return logits, found[0]


def pad_sides(images: torch.Tensor) -> torch.Tensor:
    """Images (..., H, W) padded with 0, right and below, to sides that every network takes."""
    height, width = images.shape[-2:]
    return F.pad(images, (0, -width % DIVISOR, 0, -height % DIVISOR))


def last_features(output: Sequence[torch.Tensor] | Mapping[str, torch.Tensor]) -> torch.Tensor:
    """The deepest feature map of what an encoder returns: torchvision's name them, the others list them."""
    return list(output.values() if isinstance(output, Mapping) else output)[-1]


def build_network(architecture: str, encoder: str, output_stride: int, num_classes: int) -> nn.Module:
    """The network that `Segmenter` wraps, with random weights."""
    if architecture in ("fcn", "fcn_skip"):
        return FCN(encoder, output_stride, num_classes, skip=architecture == "fcn_skip")
    if architecture in ("linear", "deeplabv2"):
        return OneLevel(encoder, output_stride, num_classes, pyramid=architecture == "deeplabv2")
    if architecture == "single_stage":
        return SingleStage(encoder, output_stride, num_classes)
    if architecture.startswith(TORCHVISION):
        name = architecture.removeprefix(TORCHVISION)
        if encoder not in name:
            raise ValueError(f"its backbone is not {encoder}")
        return torchvision.models.get_model(
            name, weights=None, weights_backbone=None, num_classes=num_classes, aux_loss=False
        )
    channels = build_encoder(encoder, output_stride).out_channels
    if not any(channels[1:-1]):
        raise ValueError("it joins features of several strides, and this encoder has one; fcn needs no more")
    depth = len(channels) - 1
    options = {"encoder_output_stride": output_stride} if architecture in STRIDE_ARGUMENT else {}
    if depth < 5:  # a slim encoder; the decoders expect five levels unless they are told
        options["encoder_depth"] = depth
        if architecture in DECODER_PER_LEVEL:
            own = (*channels[-2:0:-1], channels[1])  # no level of the decoder is wider than the encoder's beside it
            widths = zip((128, 64, 32, 16)[-depth:], own, strict=True)
            options["decoder_channels"] = [min(usual, width or usual) for usual, width in widths]
    return smp.create_model(architecture, encoder, encoder_weights=None, classes=num_classes, **options)
