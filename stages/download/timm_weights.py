"""ImageNet weights of a network of timm, for its encoder `tu-NAME`."""

from __future__ import annotations

import torch

from stages.core.faults import Fault

TIMM = "tu-"  # before a name of timm


def address(encoder: str) -> str:
    """Where timm's authors publish the weights of `tu-NAME` as one file; empty where they do not, or know no NAME."""
    import timm  # noqa: PLC0415 - seconds that other encoders need not spend

    config = timm.get_pretrained_cfg(encoder.removeprefix(TIMM))
    return (config.url if config else None) or ""


def for_our_images(state: dict[str, torch.Tensor], encoder: str) -> dict[str, torch.Tensor]:
    """timm's ImageNet weights for images normalised by MEAN and STD, where they are for another mean and deviation.

    With x of the network's own normalisation and z of ours, x = a z + b for each channel. The first convolution's
    weights take a; what b gives it is a constant, which its bias or the mean of the batch normalisation after it takes.
    That is exact but at the outermost pixels, where the padding's 0 is another colour.

    Args:
        state: by timm's own names, not changed.
        encoder: `tu-NAME`.

    Raises:
        Fault: neither a bias nor a batch normalisation follows.
    """
    import timm  # noqa: PLC0415 - see address
    from timm.data.constants import IMAGENET_DEFAULT_MEAN as MEAN  # noqa: PLC0415
    from timm.data.constants import IMAGENET_DEFAULT_STD as STD  # noqa: PLC0415

    config = timm.get_pretrained_cfg(encoder.removeprefix(TIMM))
    if (tuple(config.mean), tuple(config.std)) == (MEAN, STD):
        return state
    mean, std, theirs, their_std = (torch.tensor(v, dtype=torch.float64) for v in (MEAN, STD, config.mean, config.std))
    weight = state[f"{config.first_conv}.weight"].double()
    constant = (weight * ((mean - theirs) / their_std).view(1, -1, 1, 1)).sum((1, 2, 3))
    changed = {f"{config.first_conv}.weight": weight * (std / their_std).view(1, -1, 1, 1)}
    if f"{config.first_conv}.bias" in state:
        changed[f"{config.first_conv}.bias"] = state[f"{config.first_conv}.bias"] + constant
    elif "bn1.running_mean" in state:
        changed["bn1.running_mean"] = state["bn1.running_mean"] - constant
    else:
        raise Fault(
            f"classifier.weights: imagenet of {encoder!r} is for images of mean {config.mean}, and its first layer has "
            f"nothing that takes the difference; give the path of a state dict instead, or another encoder"
        )
    return state | {name: value.to(state[name].dtype) for name, value in changed.items()}
