"""The command of stage `prepare`: raw data of any format -> one checked layout."""

from __future__ import annotations

from tqdm import tqdm

from stages.core.checkpoint import checkpoint
from stages.core.stage import Stage, dataset_params, run
from stages.prepare.build import prepare


def main(stage: Stage) -> None:
    """Prepares the chosen data set and says what is worth knowing about it; a killed run goes on where it was."""
    raw, out, name = stage.deps["raw"], stage.outs["dataset"], stage.params["dataset"]
    with checkpoint(stage) as path:
        notes = prepare(raw, out, name, dataset_params(stage), path.parent)
    for note in notes:
        tqdm.write(note)


if __name__ == "__main__":
    run("prepare", main)
