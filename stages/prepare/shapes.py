"""The generated data set: everything lies in raw.zip, and ids name their split (train_00012)."""

from __future__ import annotations

import json
from pathlib import PurePosixPath

from stages.core.params import Params
from stages.prepare.layout import Entry, Index, Layout
from stages.prepare.splits import check_splits, join_splits

FOLDERS = ("images", "masks", "instances")


def read_shapes(index: Index, data: Params, faults: list[str]) -> Layout:
    """The data set that `data` (format shapes) declares; `faults` gets what is wrong with its splits."""
    ids = [PurePosixPath(file.name).stem for file in index.in_folder("images")]
    members = {split: [name for name in ids if name.rpartition("_")[0] == split] for split in data.splits}
    faults += check_splits(members, data.headline, {split: f"splits.{split}" for split in data.splits})
    entries = [
        Entry(image_id, splits, *(index.files[f"{folder}/{image_id}.png"] for folder in FOLDERS))
        for image_id, splits in join_splits(members).items()
    ]
    classes = tuple(json.loads(index.raw.text("meta.json"))["classes"])
    return Layout(classes, True, entries, True, None, None)
