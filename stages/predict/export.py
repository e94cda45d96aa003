"""Predictions as a folder of label maps, for another program or as the pseudo masks of a second training.

python -m stages.predict.export --out FOLDER [--split train] [--force]

It writes FOLDER/ID.png for each image of a split that data/DATASET/predictions.zip holds, an indexed PNG with the data
set's colours; an id with slashes becomes sub-folders. Without --force the files appear all together, or not at all.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from pathlib import Path

from stages.core.faults import Fault
from stages.core.files import ZipReader
from stages.core.stage import load


def export(predictions: Path, split: str, out: Path, force: bool = False) -> int:
    """Writes the label maps of a split into the folder `out`, and returns their number.

    force: a folder that is not empty keeps its other files, and those of the same names are replaced one by one.

    Raises:
        Fault: there are no predictions, or none of the split; `out` is a file, or not empty without `force`.
    """
    archive = ZipReader(predictions)
    splits = json.loads(archive.text("predict.json"))["splits"]
    if split not in splits:
        raise Fault(
            f"{predictions} holds {', '.join(splits) or 'no split'}, not {split!r}; add it to the recipe's "
            "predict.splits in params.yaml and run `dvc repro predict`"
        )
    if out.exists() and not out.is_dir():
        raise Fault(f"{out} is no folder")
    if not force and out.exists() and any(out.iterdir()):
        raise Fault(f"{out} is not empty; name another folder, or --force to write into it")
    part = out.with_name(f".{out.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    try:
        for image_id in splits[split]:
            path = part / f"{image_id}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(archive.bytes(f"masks/{image_id}.png"))
        place(part, out)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return len(splits[split])


def place(part: Path, out: Path) -> None:
    """Moves the files of folder `part` to `out`: at once where `out` is absent or empty, else one by one."""
    if not out.exists() or not any(out.iterdir()):
        part.mkdir(parents=True, exist_ok=True)
        part.replace(out)
        return
    for path in sorted(part.rglob("*.png")):
        target = out / path.relative_to(part)
        target.parent.mkdir(parents=True, exist_ok=True)
        path.replace(target)


def main(arguments: list[str] | None = None) -> None:
    """The command, see the module."""
    parser = argparse.ArgumentParser(prog="python -m stages.predict.export", description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="the folder to write")
    parser.add_argument("--split", default="train", help="train by default; of the recipe's predict.splits")
    parser.add_argument("--force", action="store_true", help="write into a folder that is not empty")
    options = parser.parse_args(arguments)
    try:
        count = export(load("predict").outs["predictions"], options.split, options.out.resolve(), options.force)
    except (Fault, OSError) as fault:
        sys.exit(f"sizewise export: {fault}")
    sys.stdout.write(f"{count} label maps in {options.out.resolve()}\n")


if __name__ == "__main__":
    main()
