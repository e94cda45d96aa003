"""The command of stage `affinity`: the boundary network of the random walk; an empty model where there is no walk."""

from __future__ import annotations

from pathlib import Path

import torch

from stages.core.faults import Fault
from stages.core.files import atomic
from stages.core.params import Params
from stages.core.stage import Stage, run


def write_model(path: Path, affinity: Params) -> None:
    """Writes the model of the recipe's `kind`; {} for `none`, the only kind there is.

    Raises:
        Fault: there is no such kind.
    """
    if affinity.kind != "none":
        raise Fault(f"no affinity kind {affinity.kind!r}; the only one is 'none'")
    with atomic(path) as temporary, temporary.open("wb") as file:
        torch.save({}, file)


def main(stage: Stage) -> None:
    """Writes affinity.pt."""
    write_model(stage.outs["affinity"], stage.params["recipes.${dataset}.affinity"])


if __name__ == "__main__":
    run("affinity", main)
