"""The generated data set as raw.zip: images, masks, instance maps, and their index."""

from __future__ import annotations

import hashlib
import json
from functools import partial
from pathlib import Path

from stages.core.faults import Fault
from stages.core.files import csv_text, encode_png, write_zip
from stages.core.locations import RAW_PREFIX
from stages.core.params import Params
from stages.core.pool import process_map
from stages.download import shapes
from stages.download.source import INDEX_COLUMNS, is_own, own_source

SPLIT_NUMBERS = {"train": 0, "val": 1, "test": 2}  # enters each image's seed: a split's size changes no other split


def check_generator(name: str, source: Path) -> None:
    """Refuses a generated data set with a source of its own.

    Raises:
        Fault: `source` does not go with the data set.
    """
    if not is_own(source):
        raise Fault(
            f"data set {name} is generated, but source is {source}; choose the data set that belongs to it "
            f"(-S dataset=NAME), or set -S source={own_source()}"
        )


def render_files(data: Params, task: tuple[str, int]) -> dict[str, bytes]:
    """Names and PNG bytes of one image, its mask and its instance map; `task` is (split, index)."""
    split, index = task
    arrays = shapes.render(data.seed, SPLIT_NUMBERS[split], index, data.image_size)
    folders = ("images", "masks", "instances")
    return {
        f"{folder}/{split}_{index:05d}.png": encode_png(array) for folder, array in zip(folders, arrays, strict=True)
    }


def generate(path: Path, data: Params) -> None:
    """Renders every split of `data` (seed, image_size, splits: {name: number of images}) to the zip `path`.

    The zip holds images/ID.png, masks/ID.png, instances/ID.png (IDs as train_00012), index.csv and meta.json with the
    class names, the background first. The bytes do not depend on the number of worker processes.

    Raises:
        Fault: a split has an unknown name.
    """
    unknown = [split for split in data.splits if split not in SPLIT_NUMBERS]
    if unknown:
        raise Fault(f"a generated data set has the splits {', '.join(SPLIT_NUMBERS)}, not {', '.join(unknown)}")
    tasks = [(split, index) for split, count in data.splits.items() for index in range(count)]
    rows = []
    with write_zip(path) as archive:
        for files in process_map(partial(render_files, data), tasks, "render", len(tasks)):
            for name, content in files.items():
                archive.bytes(name, content)
                digest = hashlib.md5(content, usedforsecurity=False).hexdigest()
                rows.append({"name": name, "location": RAW_PREFIX + name, "size": len(content), "md5": digest})
        rows.sort(key=lambda row: row["name"])
        archive.text("index.csv", csv_text(rows, INDEX_COLUMNS))
        archive.text("meta.json", json.dumps({"classes": ["background", *shapes.CLASSES]}, indent=1) + "\n")
