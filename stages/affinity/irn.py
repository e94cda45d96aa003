"""Kind `irn`: confident labels, then the boundary network that learns from them, then the boundaries that it sees."""

from __future__ import annotations

from pathlib import Path

from stages.affinity.edges import write_edges
from stages.affinity.labels import ConfidentLabels, write_labels
from stages.affinity.train import train_network
from stages.core import distributed
from stages.core.checkpoint import checkpoint
from stages.core.dataset import Dataset
from stages.core.files import write_csv
from stages.core.model_file import save_model
from stages.core.networks.encoders import read_model
from stages.core.stage import Stage
from stages.core.tracking import child_run


def run_irn(stage: Stage, columns: tuple[str, ...]) -> None:
    """Labels in a process pool, then trains in one process or in NPROC; the first writes the results.

    columns: of the log.
    """
    with checkpoint(stage) as path:
        labels = path.with_name("labels.zip")  # beside the checkpoint, so an interrupted training finds them
        if not labels.exists():
            dataset = Dataset(stage.deps["dataset"], stage.deps["raw"])
            write_labels(labels, dataset, stage.deps["cam"], stage.params["recipes.${dataset}.affinity"])
        distributed.launch(work, stage, path, labels, columns)


def work(stage: Stage, path: Path, labels: Path, columns: tuple[str, ...]) -> None:
    """Trains, saves and applies the network."""
    recipe = stage.params["recipes.${dataset}.affinity"]
    dataset = Dataset(stage.deps["dataset"], stage.deps["raw"])
    classifier = read_model(stage.deps["classifier"])
    with child_run(stage.name) as log:
        seed = stage.params["seed"]
        network, history = train_network(dataset, classifier, ConfidentLabels(labels), recipe, seed, path, log)
        if distributed.rank() > 0:
            return
        write_csv(stage.outs["affinity_log"], history, columns)
        write_edges(stage.outs["edges"], network, dataset, recipe.batch_size)
        save_model(
            stage.outs["affinity"],
            {
                "encoder": classifier["encoder"],
                "output_stride": classifier["output_stride"],
                "stride": network.stride,
                "state": network.cpu().branch_state(),
            },
        )
