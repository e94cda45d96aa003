"""The segmenter in a file, ready to predict."""

from __future__ import annotations

from typing import Any

import torch

from stages.core.faults import Fault
from stages.core.networks.segmentation import Segmenter


def build(model: dict[str, Any], choice: str) -> tuple[Segmenter, str]:
    """The network of the content of segmenter.pt, and what results call its weights.

    Args:
        model: see `stages.segment.train.train_segmenter`.
        choice: `last`, or `best` on val.

    Raises:
        Fault: the training had no masks to find the best with; or the weights are those of another network.
    """
    what = model["architecture"], model["encoder"], model["output_stride"], model["num_classes"]
    label, state = weights(model, choice)
    with torch.device("meta"):  # takes no memory, whatever network the file names
        skeleton = shapes_of(*what)
    found = {name: value.shape for name, value in state.items()}
    if skeleton is not None and skeleton != found:
        other = sorted(name for name in skeleton.keys() | found.keys() if skeleton.get(name) != found.get(name))
        raise Fault(
            f"the model's weights are not those of {what[0]} on {what[1]}: {other[0]} and {len(other) - 1} more"
        )
    network = Segmenter(*what)
    network.load_state_dict(state)
    return network, label


def shapes_of(architecture: str, encoder: str, output_stride: int, num_classes: int) -> dict[str, torch.Size] | None:
    """The shape of each of a network's weights; None where it cannot be made without its numbers, or not at all."""
    try:
        return {
            name: value.shape
            for name, value in Segmenter(architecture, encoder, output_stride, num_classes).state_dict().items()
        }
    except Fault:
        return None


def weights(model: dict[str, Any], choice: str) -> tuple[str, dict[str, torch.Tensor]]:
    """The weights of segmenter.pt that `choice` names, see `build`.

    Raises:
        Fault: the training had no masks to find the best with.
    """
    if choice == "last":
        return choice, model["state"]
    if model["best"] is None:
        raise Fault("predict.model is best, but the data set has no masks to choose it by; set it to last")
    return f"best on val, epoch {model['best']['epoch']}", model["best"]["state"]
