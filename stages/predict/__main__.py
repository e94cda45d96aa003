"""The command of stage `predict`: segmenter -> predictions."""

from __future__ import annotations

from typing import Any

import torch

from stages.core.dataset import Dataset
from stages.core.device import be_deterministic
from stages.core.faults import Fault
from stages.core.files import read_csv
from stages.core.networks.encoders import read_model
from stages.core.networks.segmentation import Segmenter
from stages.core.stage import Stage, run
from stages.predict.label_maps import write_predictions

BALANCED = "balanced"


def main(stage: Stage) -> None:
    """Predicts the recipe's splits and the size-balanced set."""
    recipe = stage.params["recipes.${dataset}.predict"]
    model = read_model(stage.deps["segmenter"])
    network = Segmenter(model["architecture"], model["encoder"], model["output_stride"], model["num_classes"])
    label, state = weights(model, recipe.model)
    network.load_state_dict(state)
    be_deterministic(0)
    dataset = Dataset(stage.deps["dataset"], stage.deps["raw"])
    splits = {split: dataset.ids(split) for split in recipe.splits}
    splits[BALANCED] = [row["id"] for row in read_csv(stage.deps["balanced"])]
    write_predictions(stage.outs["predictions"], network, dataset, splits, recipe, label)


def weights(model: dict[str, Any], choice: str) -> tuple[str, dict[str, torch.Tensor]]:
    """The weights of segmenter.pt that `choice` names, the `last` or the `best` on val, and what results call them.

    Raises:
        Fault: the training had no masks to find the best with.
    """
    if choice == "last":
        return choice, model["state"]
    if model["best"] is None:
        raise Fault("predict.model is best, but the data set has no masks to choose it by; set it to last")
    return f"best on val, epoch {model['best']['epoch']}", model["best"]["state"]


if __name__ == "__main__":
    run("predict", main)
