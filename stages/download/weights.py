"""Pretrained weights of an encoder: none, ImageNet's from torchvision or timm, or a file."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import torch

from stages.core.faults import Fault
from stages.core.fetch import fetch
from stages.core.model_file import save_model
from stages.core.torch_files import UnsafeError, load_tensors
from stages.download.timm_weights import TIMM, address, for_our_images

# Encoders of segmentation_models.pytorch whose parameters have torchvision's names.
TORCHVISION = ("resnet18", "resnet34", "resnet50", "resnet101", "resnet152", "resnext50_32x4d", "resnext101_32x8d")
HEADS = ("fc.", "classifier.", "head.")
WRAPPERS = ("state_dict", "model")  # keys under which training scripts keep the weights beside optimizer and epoch


def pretrained(weights: str, encoder: str, folder: Path) -> dict[str, torch.Tensor]:
    """The state dict of `encoder` without a head: empty for `none`, ImageNet's for `imagenet`, else the file's.

    Args:
        weights: none, imagenet or the path of a state dict; of an encoder `tu-NAME` that of timm's NAME will do. A
            file's weights are taken to be of images normalised by ImageNet's mean and deviation.
        encoder: a name of segmentation_models.pytorch.
        folder: where a download is kept, and where a person may put the file.

    Raises:
        Fault: no official weights are known, they are unreachable, or the file holds no state dict.
    """
    if weights == "none":
        return {}
    if weights != "imagenet":
        return read_state(Path(weights))
    url, checksum = official(encoder)
    state = read_state(fetch(url, folder / url.rpartition("/")[2], checksum))
    return for_our_images(state, encoder) if encoder.startswith(TIMM) else state


def official(encoder: str) -> tuple[str, str]:
    """URL and checksum of an encoder's ImageNet weights: timm's for `tu-NAME`, else torchvision's first.

    With torchvision's first the field's results were made. Both name their files NAME-PREFIX.pth with the first 8
    digits of the SHA-256, as `torch.hub` checks them.

    Raises:
        Fault: no such file is published for the encoder.
    """
    if encoder.startswith(TIMM):
        url = address(encoder)
    elif encoder in TORCHVISION:
        import torchvision  # noqa: PLC0415 - seconds that weights of a file or none need not spend

        url = torchvision.models.get_model_weights(encoder).IMAGENET1K_V1.url
    else:
        url = ""
    prefix = re.search(r"-([0-9a-f]{8,})\.pth$", url)
    if not prefix:
        raise Fault(
            f"classifier.weights: imagenet is known for the encoders {', '.join(TORCHVISION)} and for those tu-NAME "
            f"whose weights timm publishes as NAME-CHECKSUM.pth, not for {encoder!r}; give the path of a state dict "
            f"instead, or none"
        )
    return url, f"sha256:{prefix[1]}"


def read_state(path: Path) -> dict[str, torch.Tensor]:
    """The parameters of a file of `torch.save` by name, without a classifier's head and a `module.` prefix.

    The file may hold the state dict itself or a dict with it under `state_dict` or `model`. No code is unpickled.

    Raises:
        Fault: the file is missing, is damaged or holds no state dict.
    """
    try:
        content = load_tensors(path)
    except OSError as error:
        raise Fault(f"classifier.weights: {path} cannot be read: {error.strerror or error}") from None
    except UnsafeError as error:
        raise Fault(f"classifier.weights: {path} holds no state dict of torch.save ({error})") from None
    state = unwrap(content)
    if not state or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise Fault(
            f"classifier.weights: {path} holds no state dict: wanted names and tensors, plain or under "
            f"{' or '.join(WRAPPERS)}"
        )
    named = {str(name).removeprefix("module."): value for name, value in state.items()}
    # a copy, so that the bytes written do not depend on how the file shared its storages
    encoder = {name: value.clone().contiguous() for name, value in named.items() if not name.startswith(HEADS)}
    if not encoder:
        raise Fault(f"classifier.weights: {path} holds nothing but a classifier's head ({', '.join(named)})")
    return encoder


def unwrap(content: Any) -> dict[str, Any]:
    """The state dict inside a checkpoint; empty if there is none."""
    if not isinstance(content, dict):
        return {}
    inner = (content[key] for key in WRAPPERS if isinstance(content.get(key), dict))
    return next(inner, content)


def write_weights(path: Path, state: dict[str, torch.Tensor]) -> None:
    """Writes a state dict, see `save_model`."""
    save_model(path, state)
