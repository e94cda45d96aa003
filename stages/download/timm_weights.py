"""ImageNet weights of a network of timm, as its encoder `tu-NAME` takes them."""

from __future__ import annotations

import timm
import torch

from stages.core.faults import Fault
from stages.core.networks.encoders import TIMM, build_encoder
from stages.core.transforms import MEAN, STD

STRIDES = (32, 16, 8)  # a stride changes no parameter, but not every encoder has each


def address(encoder: str) -> str:
    """Where timm's authors publish the weights of `tu-NAME` as one file; empty where they do not, or know no NAME."""
    config = timm.get_pretrained_cfg(encoder.removeprefix(TIMM), allow_unregistered=True)
    return (config.url if config else None) or ""


def parameter_names(encoder: str) -> set[str]:
    """The names in the state dict of an encoder.

    Raises:
        Fault: see `build_encoder`.
    """
    for stride in STRIDES:
        try:
            with torch.device("meta"):
                return set(build_encoder(encoder, stride).state_dict())
        except Fault:
            if stride == STRIDES[-1]:
                raise
    raise AssertionError  # not reached


def as_encoder(state: dict[str, torch.Tensor], encoder: str) -> dict[str, torch.Tensor]:
    """A state dict of timm's network NAME with the names of the encoder `tu-NAME`, and without what it lacks.

    One that has the encoder's names already, and one of an encoder that is not timm's, is returned as it is.

    Raises:
        Fault: see `build_encoder`.
    """
    names = parameter_names(encoder) if encoder.startswith(TIMM) else set()
    prefixed = {f"model.{name}": value for name, value in state.items()}
    found = {name: value for name, value in prefixed.items() if name in names}
    return found or state


def for_our_images(state: dict[str, torch.Tensor], encoder: str) -> dict[str, torch.Tensor]:
    """The weights for images normalised by MEAN and STD, where timm's are for another mean and deviation.

    With x of the network's own normalisation and z of ours, x = a z + b for each channel. The first convolution's
    weights take a; what b gives it is a constant, which its bias or the mean of the batch normalisation after it takes.
    That is exact but at the outermost pixels, where the padding's 0 is another colour.

    Args:
        state: named as the encoder's, not changed.
        encoder: `tu-NAME`; others have ours, and are returned as they are.

    Raises:
        Fault: neither a bias nor a batch normalisation follows.
    """
    config = timm.get_pretrained_cfg(encoder.removeprefix(TIMM)) if encoder.startswith(TIMM) else None
    if config is None or (tuple(config.mean), tuple(config.std)) == (MEAN, STD):
        return state
    first = f"model.{config.first_conv}"
    mean, std, theirs, their_std = (torch.tensor(v, dtype=torch.float64) for v in (MEAN, STD, config.mean, config.std))
    weight = state[f"{first}.weight"].double()
    constant = (weight * ((mean - theirs) / their_std).view(1, -1, 1, 1)).sum((1, 2, 3))
    changed = {f"{first}.weight": weight * (std / their_std).view(1, -1, 1, 1)}
    if f"{first}.bias" in state:
        changed[f"{first}.bias"] = state[f"{first}.bias"] + constant
    elif "model.bn1.running_mean" in state:
        changed["model.bn1.running_mean"] = state["model.bn1.running_mean"] - constant
    else:
        raise Fault(
            f"classifier.weights: imagenet of {encoder!r} is for images of mean {config.mean}, and its first layer has "
            f"nothing that takes the difference; give the path of a state dict instead, or another encoder"
        )
    return state | {name: value.to(state[name].dtype) for name, value in changed.items()}
