"""The command of stage `affinity`: the boundary network of the random walk; empty files where there is no walk."""

from __future__ import annotations

import json

import torch

from stages.core.faults import Fault
from stages.core.files import atomic, write_csv, write_zip
from stages.core.stage import Stage, run

LOG_COLUMNS = ("epoch", "lr", "loss", "background", "foreground", "apart")


def main(stage: Stage) -> None:
    """Writes affinity.pt, edges.zip and affinity_log.csv.

    Raises:
        Fault: there is no such kind.
    """
    kind = stage.params["recipes.${dataset}.affinity"].kind
    if kind == "none":
        write_nothing(stage)
    elif kind == "irn":
        from stages.affinity.irn import run_irn  # noqa: PLC0415 - seconds of imports that `none` need not spend

        run_irn(stage, LOG_COLUMNS)
    else:
        raise Fault(f"no affinity kind {kind!r}; there are none and irn")


def write_nothing(stage: Stage) -> None:
    """An empty model, {}; an edges.zip whose edges.json says that there are none; a log without rows."""
    with atomic(stage.outs["affinity"]) as temporary, temporary.open("wb") as file:
        torch.save({}, file)
    with write_zip(stage.outs["edges"]) as archive:
        archive.text("edges.json", json.dumps({"kind": "none"}) + "\n")
    write_csv(stage.outs["affinity_log"], [], LOG_COLUMNS)


if __name__ == "__main__":
    run("affinity", main)
