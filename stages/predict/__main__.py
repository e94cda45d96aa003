"""The command of stage `predict`: segmenter -> predictions."""

from __future__ import annotations

from stages.core.dataset import Dataset
from stages.core.device import be_deterministic
from stages.core.files import read_csv
from stages.core.networks.encoders import read_model
from stages.core.stage import Stage, run
from stages.predict.label_maps import write_predictions
from stages.predict.network import build

BALANCED = "balanced"


def main(stage: Stage) -> None:
    """Predicts the recipe's splits and the size-balanced set."""
    recipe = stage.params["recipes.${dataset}.predict"]
    network, label = build(read_model(stage.deps["segmenter"]), recipe.model)
    be_deterministic(0)
    dataset = Dataset(stage.deps["dataset"], stage.deps["raw"])
    splits = {split: dataset.ids(split) for split in recipe.splits}
    splits[BALANCED] = [row["id"] for row in read_csv(stage.deps["balanced"])]
    write_predictions(stage.outs["predictions"], network, dataset, splits, recipe, label)


if __name__ == "__main__":
    run("predict", main)
