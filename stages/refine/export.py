"""Pseudo masks as a folder of label maps, for another program to train on.

python -m stages.refine.export --out FOLDER [--split train] [--force]

It writes FOLDER/ID.png for each image of a split that data/DATASET/pseudo_masks.zip holds, an indexed PNG with the data
set's colours; 255 is undecided. An id with slashes becomes sub-folders. Without --force the files appear all together,
or not at all.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

from stages.core.command import exit_on_fault
from stages.core.dataset import LABELLED_SPLITS, Dataset
from stages.core.faults import Fault
from stages.core.files import ZipReader
from stages.core.label_folder import write_folder
from stages.core.stage import load


def pseudo_masks(archive: Path, ids: list[str], split: str) -> Iterator[tuple[str, bytes]]:
    """Id and PNG of each image.

    Raises:
        Fault: there are no pseudo masks, or not of all of these images.
    """
    masks = ZipReader(archive)
    missing = [image_id for image_id in ids if f"masks/{image_id}.png" not in masks]
    if missing:
        raise Fault(
            f"{archive} lacks {len(missing)} of the {len(ids)} images of {split}, the first {missing[0]}; "
            "masks of another method may be of train alone"
        )
    return ((image_id, masks.bytes(f"masks/{image_id}.png")) for image_id in ids)


def export(archive: Path, dataset: Dataset, split: str, out: Path, force: bool = False) -> int:
    """Writes the pseudo masks of a split into the folder `out`, and returns their number; see `write_folder`.

    Raises:
        Fault: there are no pseudo masks of the split; `out` is a file, or not empty without `force`.
    """
    return write_folder(out, pseudo_masks(archive, dataset.ids(split), split), force)


def main(arguments: list[str] | None = None) -> None:
    """The command, see the module."""
    parser = argparse.ArgumentParser(prog="python -m stages.refine.export", description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="the folder to write")
    parser.add_argument("--split", choices=LABELLED_SPLITS, default="train", help="train by default")
    parser.add_argument("--force", action="store_true", help="write into a folder that is not empty")
    options = parser.parse_args(arguments)
    out = options.out.resolve()
    with exit_on_fault("export"):
        stage = load("refine")
        dataset = Dataset(stage.deps["dataset"])
        count = export(stage.outs["pseudo_masks"], dataset, options.split, out, options.force)
    sys.stdout.write(f"{count} label maps in {out}\n")


if __name__ == "__main__":
    main()
