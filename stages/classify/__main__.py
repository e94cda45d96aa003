"""The command of stage `classify`: image tags -> classifier."""

from __future__ import annotations

from stages.classify.train import score_classifier, train_classifier
from stages.core import distributed
from stages.core.checkpoint import checkpoint
from stages.core.dataset import Dataset
from stages.core.files import write_csv
from stages.core.model_file import save_model
from stages.core.networks.encoders import read_model
from stages.core.stage import Stage, run
from stages.core.tracking import child_run

LOG_COLUMNS = ("epoch", "lr", "loss")
SCORE_COLUMNS = ("split", "map", "f1", "prior_map", "prior_f1")


def main(stage: Stage) -> None:
    """Trains in one process or in NPROC; the first writes the results."""
    with checkpoint(stage) as path:
        distributed.launch(work, stage, path)


def work(stage: Stage, path: object) -> None:
    """Trains, scores and saves."""
    recipe = stage.params["recipes.${dataset}.classifier"]
    dataset = Dataset(stage.deps["dataset"], stage.deps["raw"])
    pretrained = read_model(stage.deps["pretrained"])
    with child_run(stage.name) as log:
        network, history = train_classifier(dataset, pretrained, recipe, stage.params["seed"], path, log)
        if distributed.rank() > 0:
            return
        write_csv(stage.outs["classifier_log"], history, LOG_COLUMNS)
        scores = score_classifier(network, dataset, ("train", "val"), recipe)
        write_csv(stage.outs["classifier_scores"], scores, SCORE_COLUMNS)
        save_model(
            stage.outs["classifier"],
            {
                "encoder": recipe.encoder,
                "output_stride": recipe.output_stride,
                "num_classes": len(dataset.foreground),
                "state": network.cpu().state_dict(),
            },
        )


if __name__ == "__main__":
    run("classify", main)
