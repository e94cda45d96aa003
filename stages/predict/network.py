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
        Fault: the training had no masks to find the best with.
    """
    network = Segmenter(model["architecture"], model["encoder"], model["output_stride"], model["num_classes"])
    label, state = weights(model, choice)
    network.load_state_dict(state)
    return network, label


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
