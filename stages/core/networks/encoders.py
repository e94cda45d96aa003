"""Encoders of segmentation_models.pytorch by name, so that classifier and segmenter share one set of weights."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

import torch
from segmentation_models_pytorch.encoders import encoders as known
from segmentation_models_pytorch.encoders import get_encoder
from torch import nn

from stages.core.faults import Fault
from stages.core.files import MENDED
from stages.core.networks.slim_resnet import SlimResNet
from stages.core.networks.vit import ViTEncoder, is_vit
from stages.core.torch_files import UnsafeError, load_tensors

TIMM = "tu-"  # before a name of timm

for _name, _size in {
    "tiny_resnet10": {"blocks": 1, "width": 12},
    "slim_resnet10": {"blocks": 1, "width": 24},
    "slim_resnet18": {"blocks": 2, "width": 24},
}.items():
    known.setdefault(_name, {"encoder": SlimResNet, "pretrained_settings": {}, "params": _size})


def build_encoder(name: str, output_stride: int) -> nn.Module:
    """An encoder with random weights whose last feature map has stride `output_stride` (8, 16 or 32).

    Strides beyond it become dilations. `name` is one of segmentation_models.pytorch's (resnet50, mit_b1, ...), any
    timm model as `tu-NAME`, or `tiny_resnet10`, `slim_resnet10` or `slim_resnet18` of this project. A plain vision
    transformer (`tu-vit_tiny_patch16_224`, `tu-vit_small_patch16_dinov3`, ...) has one feature map, at the stride of
    its patches.

    Raises:
        Fault: there is no such encoder, or it cannot have that output stride.
    """
    if set(name) & set(":/"):  # timm would look at its hub, or load a folder
        raise Fault(f"encoder {name!r}: a name of timm has neither : nor /")
    try:
        if name.startswith(TIMM) and is_vit(name.removeprefix(TIMM)):
            return ViTEncoder(name.removeprefix(TIMM), output_stride)
        return get_encoder(name, weights=None, output_stride=output_stride)
    except (KeyError, RuntimeError, ValueError, TypeError) as error:
        raise Fault(f"encoder {name!r} at output stride {output_stride} cannot be built: {error}") from None


def part_of(state: dict[str, torch.Tensor], name: str) -> dict[str, torch.Tensor]:
    """The state of the submodule `name` (`encoder`, ...) within that of a whole network."""
    prefix = f"{name}."
    return {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}


def load_encoder(encoder: nn.Module, state: dict[str, torch.Tensor], origin: str) -> None:
    """Loads `state` into `encoder` in place; an empty state leaves the random weights.

    An encoder that is a network of timm takes timm's own names too, without its head.

    Raises:
        Fault: names or shapes differ; the message names `origin`.
    """
    if not state:
        return
    try:
        encoder.load_state_dict(as_named(state, encoder.state_dict().keys()))
    except RuntimeError as error:
        first = str(error).splitlines()[1].strip() if "\n" in str(error) else str(error)
        raise Fault(f"the weights of {origin} do not fit the encoder: {first}") from None


def as_named(state: Mapping[str, torch.Tensor], names: Collection[str]) -> dict[str, torch.Tensor]:
    """A state by timm's own names by an encoder's `names`, which have its wrapper's `model.` before them.

    Of layers that the encoder lacks altogether (what follows its features) the parameters are left out; surplus ones
    of a layer that it has, as of a deeper network, are kept, so that loading finds them. Other states stay as they are.
    """
    wrapped = {f"model.{name}": value for name, value in state.items()}
    if wrapped.keys().isdisjoint(names):
        return dict(state)
    layers = {name.split(".")[1] for name in names}
    return {name: value for name, value in wrapped.items() if name.split(".")[1] in layers}


def freeze_batch_norm(network: nn.Module) -> None:
    """Keeps batch normalisation's statistics as they are until the next `network.train()`."""
    for module in network.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.eval()


def read_model(path: Path) -> dict[str, Any]:
    """A file written by `torch.save`, on the CPU, without unpickling code; every byte is held against its checksum.

    Raises:
        Fault: there is no such file, it is damaged, or it holds what cannot be read so.
    """
    try:
        return load_tensors(path)
    except FileNotFoundError:
        raise Fault(f"{path} does not exist") from None
    except OSError as error:
        raise Fault(f"{path} cannot be read: {error.strerror}") from None
    except UnsafeError as error:
        raise Fault(f"{path} is not a model that can be read safely ({error}); {MENDED}") from None


LONGEST, COLOURS = 1000, 256
DESCRIBED = ("dataset", "classes", "background", "palette", "made_of")  # what segmenter.pt says about itself
BUILT = ("architecture", "encoder", "output_stride", "num_classes", "state", "best")  # and what it is


def read_segmenter(path: Path) -> dict[str, Any]:
    """The content of a segmenter.pt of `segment`, with all that it says about itself.

    Raises:
        Fault: see `read_model`; or it is no segmenter.
    """
    model = read_model(path)
    if not isinstance(model, dict) or not {*DESCRIBED, *BUILT} <= model.keys():
        raise Fault(f"{path} is no segmenter.pt of stage `segment`, or one of an older version")
    wrong = [key for key, is_right in RULES.items() if not is_right(model[key])]
    if wrong or model["num_classes"] != len(model["classes"]):
        raise Fault(f"{path} is no segmenter.pt of stage `segment`: {', '.join(wrong) or 'num_classes'} cannot be so")
    return model


def is_name(value: Any) -> bool:
    """Whether a value is a name that can be printed."""
    return isinstance(value, str) and 0 < len(value) <= LONGEST and value.isprintable()


def is_palette(value: Any) -> bool:
    """Whether a value is 256 colours."""
    return (
        isinstance(value, tuple | list)
        and len(value) == COLOURS
        and all(isinstance(colour, tuple | list) and len(colour) == 3 for colour in value)
        and all(type(part) is int and 0 <= part < COLOURS for colour in value for part in colour)
    )


def is_state(value: Any) -> bool:
    """Whether a value is a state dict."""
    return isinstance(value, dict) and all(
        isinstance(name, str) and isinstance(one, torch.Tensor) for name, one in value.items()
    )


def is_best(value: Any) -> bool:
    """Whether a value is a best epoch with its weights, or none."""
    return value is None or (
        isinstance(value, dict)
        and type(value.get("epoch")) is int
        and isinstance(value.get("score"), float | int)
        and is_state(value.get("state"))
    )


def is_origin(value: Any) -> bool:
    """Whether a value says what a model was made of."""
    return (
        isinstance(value, dict)
        and is_name(value.get("code"))
        and isinstance(value.get("params"), dict)
        and isinstance(value.get("inputs"), dict)
        and all(is_name(part) for pair in value["inputs"].items() for part in pair)
    )


def is_name_list(value: Any) -> bool:
    """Whether a value is the names of the labels."""
    return isinstance(value, tuple | list) and 0 < len(value) < COLOURS and all(map(is_name, value))


RULES: dict[str, Callable[[Any], bool]] = {
    **dict.fromkeys(("dataset", "architecture", "encoder"), is_name),
    **dict.fromkeys(("output_stride", "num_classes"), lambda value: type(value) is int and 0 < value < COLOURS),
    "classes": is_name_list,
    "background": lambda value: isinstance(value, bool),
    "palette": is_palette,
    "made_of": is_origin,
    "state": is_state,
    "best": is_best,
}
