"""The layer between an encoder's last features and the pooling of its own classifier."""

from __future__ import annotations

import sys
from collections import OrderedDict
from collections.abc import Mapping

import timm
import torch
from torch import nn

from stages.core.faults import Fault
from stages.core.networks.encoders import TIMM

FAMILY = "efficientnet"  # of timm, MobileNetV2 and MNASNet among them; the layer of MobileNetV3 follows the pooling
LAYERS = (("conv_head", "bn2"), ("_conv_head", "_bn1", "_swish"))  # timm's, segmentation_models.pytorch's names


def build_neck(name: str, encoder: nn.Module) -> nn.Sequential:
    """The neck of encoder `name`, empty for most encoders, which need none.

    The last block of an EfficientNet (Tan and Le 2019, arXiv 1905.11946) is linear, so that half of its features are
    negative, and a class's activation map is a sum of terms of both signs that tells little of where the class is seen.
    The network itself has a 1x1 convolution, batch normalisation and an activation before the pooling, which encoders
    leave out (timm's) or hold and do not use (segmentation_models.pytorch's: those are returned, and are the encoder's
    own). Maps (B, F, h, w) -> (B, G, h, w).
    """
    owner = encoder
    if name.startswith(TIMM) and timm.models.is_model_in_modules(name.removeprefix(TIMM), FAMILY):
        owner = timm.create_model(name.removeprefix(TIMM), num_classes=0)
    return nn.Sequential(held_neck(owner))


def held_neck(network: nn.Module) -> OrderedDict[str, nn.Module]:
    """The layers of the neck that a network holds, in their order; none where it holds none."""
    for names in LAYERS:
        if all(isinstance(getattr(network, layer, None), nn.Module) for layer in names):
            return OrderedDict((layer, getattr(network, layer)) for layer in names)
    return OrderedDict()


def neck_width(neck: nn.Sequential, features: int) -> int:
    """The channels after `neck` of an encoder whose last feature map has `features`."""
    return neck[0].out_channels if len(neck) else features


def load_neck(neck: nn.Sequential, state: Mapping[str, torch.Tensor], origin: str) -> None:
    """Loads the neck's part of a whole network's `state`, by that network's names, in place.

    An empty state leaves the random weights, and so does one of the encoder alone, which is said.

    Raises:
        Fault: its shapes differ; the message names `origin`.
    """
    wanted = neck.state_dict().keys()
    if not state or not wanted:
        return
    if not wanted <= state.keys():
        lacking = ", ".join(name for name, _ in neck.named_children())
        print(f"{origin} has no {lacking}: that layer starts from random weights", file=sys.stderr)  # noqa: T201
        return
    try:
        neck.load_state_dict({name: state[name] for name in wanted})
    except RuntimeError as error:
        raise Fault(f"the weights of {origin} do not fit the layer after the encoder: {error}") from None
