"""The rooms of the pipeline on a smaller `tiny`, one after the other in this process, each on its own again."""

from __future__ import annotations

import contextlib
import copy
import os
import shutil
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from stages.core.params import interpolate, look_up, read_yaml
from stages.core.stage import dataset_params, entry, load
from stages.download.generate import generate
from stages.download.weights import write_weights
from tests.faults.mutations import as_text
from tests.pipeline.repository import ROOT

ROOMS = (
    *("download", "prepare", "balance", "classify", "cam", "affinity", "refine", "size_targets", "segment", "predict"),
    "evaluate",
)


def small_params() -> dict[str, Any]:
    """params.yaml with fewer and smaller images of `tiny`, and an epoch for each training."""
    tree = YAML(typ="safe").load(ROOT / "params.yaml")
    tree = copy.deepcopy(tree)
    tree["dataset"] = "tiny"
    tree["datasets"]["tiny"] |= {"image_size": 48, "splits": {"train": 12, "val": 4, "test": 4}, "size_bins": [64, 256]}
    recipe = tree["recipes"]["tiny"]
    recipe["classifier"] |= {"epochs": 1, "batch_size": 4}
    recipe["segmenter"] |= {"epochs": 2, "batch_size": 4}
    tree["evaluate"]["bootstrap"] = 100
    return tree


def place(folder: Path, tree: dict[str, Any]) -> Path:
    """Makes a folder in which the rooms can run."""
    folder.mkdir(parents=True)
    (folder / "stages").symlink_to(ROOT / "stages")
    shutil.copy(ROOT / "dvc.yaml", folder)
    (folder / "params.yaml").write_text(as_text(tree), encoding="utf-8")
    return folder


@contextlib.contextmanager
def inside(folder: Path) -> Iterator[None]:
    """The folder as working directory."""
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


def do(name: str) -> None:
    """What the room's command does in the working directory; `download` only draws, and has no weights to fetch."""
    stage = load(name)
    if name == "download":
        generate(stage.outs["raw"], dataset_params(stage))
        write_weights(stage.outs["pretrained"], {})
    else:
        import_module(f"stages.{name}.__main__").main(stage)


@cache
def declared() -> dict[str, Any]:
    """The stages of dvc.yaml."""
    return read_yaml(ROOT / "dvc.yaml")["stages"]


def readers(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """The rooms that are handed other params or files by one params.yaml than by the other."""
    return [name for name in ROOMS if handed(name, before) != handed(name, after)]


def handed(name: str, tree: dict[str, Any]) -> list[Any]:
    """The params of a room, and the paths of its files."""
    spec = declared()[name]
    params = [look_up(tree, interpolate(entry(item), tree)) for item in spec["params"]]
    return params + [interpolate(entry(item), tree) for kind in ("deps", "outs") for item in spec[kind]]
