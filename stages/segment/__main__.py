"""The command of stage `segment`: training, by the method of params.yaml."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

from stages.core import distributed
from stages.core.checkpoint import checkpoint
from stages.core.dataset import Dataset
from stages.core.files import write_csv
from stages.core.model_file import save_model
from stages.core.networks.encoders import read_model
from stages.core.provenance import made_of
from stages.core.stage import Stage, run
from stages.core.tracking import child_run
from stages.segment.supervision import Sources
from stages.segment.train import train_segmenter

FIRST_COLUMNS = ("epoch", "lr", "loss", "miou")


def main(stage: Stage) -> None:
    """Trains in one process or in NPROC; the first writes the results."""
    with checkpoint(stage) as path:
        distributed.launch(work, stage, path)


def work(stage: Stage, path: Path) -> None:
    """Trains and saves the last model, and the best on val beside it; `predict` says which of them counts.

    segmenter.pt also says what its labels are called and painted in, and what it was made of, so that the file alone
    can be used (`stages.predict.run`) and traced (`stages.track.card`).
    """
    recipe = stage.params["recipes.${dataset}.segmenter"]
    dataset = Dataset(stage.deps["dataset"], stage.deps["raw"])
    classifier = read_model(stage.deps["classifier"])
    with child_run(stage.name) as log:
        model, history = train_segmenter(
            dataset,
            classifier,
            Sources(stage.deps["pseudo_masks"], stage.deps["cam"], stage.deps["size_targets"]),
            import_module(f"stages.segment.methods.{stage.params['method']}"),
            recipe,
            stage.params["recipes.${dataset}.methods.${method}"],
            stage.params["methods.${method}"],
            stage.params["seed"],
            path,
            log,
        )
        if distributed.rank() > 0:
            return
        columns = dict.fromkeys([*FIRST_COLUMNS, *(key for row in history for key in row)])
        write_csv(stage.outs["segment_log"], history, tuple(columns))
        info = dataset.info
        described = {key: getattr(info, key) for key in ("classes", "background", "palette")} | {"dataset": info.name}
        save_model(stage.outs["segmenter"], model | described | {"made_of": made_of(stage)})


if __name__ == "__main__":
    run("segment", main)
