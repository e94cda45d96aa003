"""The command of stage `prepare`: raw data of any format -> one checked layout."""

from __future__ import annotations

from tqdm import tqdm

from stages.core.stage import Stage, dataset_params, run
from stages.prepare.build import prepare


def main(stage: Stage) -> None:
    """Prepares the chosen data set and says what is worth knowing about it."""
    for note in prepare(stage.deps["raw"], stage.outs["dataset"], stage.params["dataset"], dataset_params(stage)):
        tqdm.write(note)


if __name__ == "__main__":
    run("prepare", main)
