"""A segmentation network that learns from image tags in one stage.

Araslanov and Roth, "Single-Stage Semantic Segmentation from Image Labels", CVPR 2020, arXiv 2005.08104; where the
text leaves a choice, the authors' code decides (visinf/1-stage-wseg). Deep features pass an atrous spatial pyramid and
join the encoder's stride-4 level; a shallow branch sees only that level, told by global cue injection what is in the
image; the stochastic gate mixes both; three convolutions give the foreground logits, and the background's logit is the
constant 1.

Differences from the authors' network:
    Any encoder with a level at stride 4. Widths follow it: half its last channels, at most the paper's 256, which all
    the encoders of the paper have.
    The pyramid's dilations shrink with maps smaller than the paper's, see `reach`.
    The pyramid's globally pooled branch has a bias in place of normalisation, whose statistics one value per image and
    channel cannot give. The pyramid's other normalisations learn theirs; the authors keep them at 0 and 1.
    Maps are upsampled with align_corners=False, as everywhere here.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from stages.core.networks.encoders import build_encoder

WIDTH, FINE_WIDTH = 256, 48  # channels of the decoder, and of the stride-4 level where it joins the deep features
DILATIONS = (12, 24, 36)  # of the pyramid at stride 8
PAPER_SIDE = 41  # of its map at stride 8: a crop of 321 pixels
GATE = 0.3  # psi
PROBE = 64  # pixels


class SingleStage(nn.Module):
    """See the module's docstring.

    Args:
        encoder, output_stride: see `build_encoder`; the paper's stride is 8.
        num_classes: with the background, which is label 0.
        width: channels of the decoder; by default min(256, half the encoder's last channels).

    Raises:
        ValueError: the encoder has no level at stride 4, or takes no image of 64 x 64 pixels; or no foreground class.
    """

    def __init__(self, encoder: str, output_stride: int, num_classes: int, width: int | None = None) -> None:
        super().__init__()
        if num_classes < 2:
            raise ValueError("it needs the background and at least one foreground class")
        self.encoder = build_encoder(encoder, output_stride)
        self.level, stride = stride_4_level(self.encoder)
        fine, last = self.encoder.out_channels[self.level], self.encoder.out_channels[-1]
        width = width or min(WIDTH, max(1, last // 2))
        self.pyramid = Pyramid(last, width, stride)
        self.fine = block(fine, FINE_WIDTH, 1)
        self.deep = block(width + FINE_WIDTH, width, 3)
        self.shallow = GlobalCueInjection(fine, width)
        self.decoder = nn.Sequential(
            block(width, width, 3),
            nn.Dropout(0.5),
            block(width, width, 3),
            nn.Dropout(0.1),
            nn.Conv2d(width, num_classes - 1, 1),
        )
        for part in (self.pyramid, self.fine, self.deep, self.shallow, self.decoder):
            for module in part.modules():
                if isinstance(module, nn.Conv2d):
                    nn.init.kaiming_normal_(module.weight)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits (B, num_classes, h, w) at stride 4 of normalised images (B, 3, H, W); the background's are 1.

        Padding is image to the network: in a padded batch the two global poolings depend a little on the padding.
        """
        features = self.encoder(images)
        fine = features[self.level]
        pyramid = F.interpolate(self.pyramid(features[-1]), fine.shape[2:], mode="bilinear", align_corners=False)
        deep = self.deep(torch.cat([pyramid, self.fine(fine)], 1))
        mixed = stochastic_gate(deep, self.shallow(fine, deep), GATE, self.training)
        foreground = self.decoder(mixed)
        return torch.cat([torch.ones_like(foreground[:, :1]), foreground], 1)


def stride_4_level(encoder: nn.Module) -> tuple[int, int]:
    """The index of the encoder's last level at stride 4, and the stride of its last level, measured on a black image.

    Raises:
        ValueError: there is none, or the encoder does not take the image.
    """
    encoder.eval()
    try:
        with torch.no_grad():
            features = encoder(torch.zeros(1, 3, PROBE, PROBE))
    except (AssertionError, RuntimeError, ValueError) as error:  # transformers of a fixed image size
        raise ValueError(f"the encoder takes no image of {PROBE} x {PROBE} pixels: {error}") from None
    finally:
        encoder.train()
    strides = [PROBE // feature.shape[-1] if feature.shape[1] else 0 for feature in features]
    if 4 not in strides[:-1]:
        raise ValueError(f"it needs an encoder with a level at stride 4; this one has {strides[1:]}")
    return len(strides) - 2 - strides[-2::-1].index(4), strides[-1]


def block(channels: int, width: int, size: int) -> nn.Sequential:
    """A convolution without bias, batch normalisation and ReLU, at the same resolution."""
    return nn.Sequential(
        nn.Conv2d(channels, width, size, padding=size // 2, bias=False), nn.BatchNorm2d(width), nn.ReLU()
    )


def reach(dilation: int, stride: int, side: int) -> int:
    """The pyramid's dilation on a map of that stride whose shorter side is `side`.

    It is the paper's `dilation` at stride 8, half of it at stride 16. On maps smaller than the paper's, of
    41 * 8 / stride, it keeps the paper's share of the side: beyond the map a tap sees nothing but zeros, and on the
    12 x 12 maps of small images all of the paper's would.
    """
    return max(1, int(dilation * min(8 / stride, side / PAPER_SIDE)))


class Pyramid(nn.Module):
    """Atrous spatial pyramid pooling (DeepLabV3, arXiv 1706.05587), at its end the dropout of 0.5 of the authors' code.

    stride: of the map that it is given.
    """

    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.near = block(channels, width, 1)
        self.far = nn.ModuleList(block(channels, width, 3) for _ in DILATIONS)
        self.everywhere = nn.Conv2d(channels, width, 1)
        self.join = nn.Sequential(block((len(DILATIONS) + 2) * width, width, 1), nn.Dropout(0.5))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, channels, h, w) to (B, width, h, w)."""
        branches = [self.near(x)]
        for dilation, (convolution, norm, relu) in zip(DILATIONS, self.far, strict=True):
            distance = reach(dilation, self.stride, min(x.shape[2:]))
            branches.append(relu(norm(F.conv2d(x, convolution.weight, padding=distance, dilation=distance))))
        pooled = self.everywhere(x.mean((2, 3), keepdim=True)).relu()
        return self.join(torch.cat([*branches, pooled.expand(-1, -1, *x.shape[2:])], 1))


class GlobalCueInjection(nn.Module):
    """The stride-4 level, modulated by what the deep features hold anywhere in the image.

    Adaptive normalisation (AdaIN, arXiv 1703.06868), x <- x_normalised * (gamma + 1) + beta, with gamma and beta the
    maxima over the image of a 1x1 convolution of the deep features. As in the authors' code, the convolution is
    normalised and rectified before the maximum, and x is normalised over the batch, not over each image.
    """

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.cues = block(width, 2 * width, 1)
        self.normalised = nn.Sequential(nn.Conv2d(channels, width, 1, bias=False), nn.BatchNorm2d(width, affine=False))
        self.out = block(width, width, 1)

    def forward(self, fine: torch.Tensor, deep: torch.Tensor) -> torch.Tensor:
        """(B, channels, h, w) and (B, width, h', w') to (B, width, h, w)."""
        gamma, beta = (
            self.cues(deep).amax((2, 3)).chunk(2, 1)
        )  # amax: max pooling has no deterministic gradient on CUDA
        return self.out(modulate(self.normalised(fine), gamma, beta).relu())


def modulate(normalised: torch.Tensor, gamma: torch.Tensor, beta: torch.Tensor) -> torch.Tensor:
    """x * (gamma + 1) + beta; x is (B, C, h, w), gamma and beta are (B, C)."""
    return normalised * (gamma[:, :, None, None] + 1) + beta[:, :, None, None]


def stochastic_gate(deep: torch.Tensor, shallow: torch.Tensor, gate: float, training: bool) -> torch.Tensor:
    """Deep and shallow features (B, C, h, w) as one: drawn per element in training, their mean otherwise.

    In training x = M (x_d - psi x_s) / (1 - psi) + (1 - M) x_s, where M is 1 with probability 1 - psi, from torch's
    generator; its expectation is x_d. In prediction x = (1 - psi) x_d + psi x_s.
    """
    if not training:
        return (1 - gate) * deep + gate * shallow
    keep = torch.empty(deep.shape, dtype=torch.bool, device=deep.device).bernoulli_(1 - gate)
    return torch.where(keep, (deep - gate * shallow) / (1 - gate), shallow)
