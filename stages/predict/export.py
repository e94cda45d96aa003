"""Predictions as a folder of label maps: for another program, for a second training, or for VOC's server.

python -m stages.predict.export --out FOLDER [--split train] [--force]
python -m stages.predict.export --out FOLDER --voc [--competition comp6] [--split test] [--masks FOLDER]

The first writes FOLDER/ID.png for each image of a split that data/DATASET/predictions.zip holds, an indexed PNG with
the data set's colours; an id with slashes becomes sub-folders. Without --force the files appear all together, or not at
all. The folder can be the pseudo masks of a second training.

The second writes FOLDER/results/VOC2012/Segmentation/comp6_test_cls/ID.png, which the server of PASCAL VOC takes as an
archive (in FOLDER: tar czf results.tgz results). comp5 is for training on VOC's own images and labels alone, comp6 for
anything else, as SBD's labels or an ImageNet encoder. --masks takes the label maps of `stages.predict.run` in place of
predictions.zip: the server's test images have no masks, and so are no split here.

Source of the layout: the VOC2012 development kit, section on segmentation results.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path

from stages.core.command import exit_on_fault
from stages.core.dataset import Dataset, DatasetInfo
from stages.core.faults import Fault, combine
from stages.core.files import ZipReader, decode_image
from stages.core.label_folder import write_folder
from stages.core.stage import load

TRAIN, TEST = "train", "test"
COMPETITIONS = ("comp5", "comp6")
VOC_LABELS = 21  # with the background; void is no answer


def predicted(predictions: Path, split: str) -> Iterator[tuple[str, bytes]]:
    """Id and PNG of each image of a split in predictions.zip.

    Raises:
        Fault: there are no predictions, or none of the split.
    """
    archive = ZipReader(predictions)
    splits = json.loads(archive.text("predict.json"))["splits"]
    if split not in splits:
        raise Fault(
            f"{predictions} holds {', '.join(splits) or 'no split'}, not {split!r}; add it to the recipe's "
            "predict.splits in params.yaml and run `dvc repro predict`"
        )
    return ((image_id, archive.bytes(f"masks/{image_id}.png")) for image_id in splits[split])


def segmented(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Name and PNG of the label maps in a folder, its sub-folders left out.

    Raises:
        Fault: there are none.
    """
    paths = sorted(folder.glob("*.png"))
    if not paths:
        raise Fault(f"{folder} holds no PNG; `python -m stages.predict.run` writes label maps")
    return ((path.stem, path.read_bytes()) for path in paths)


def export(predictions: Path, split: str, out: Path, force: bool = False) -> int:
    """Writes the label maps of a split into the folder `out`, and returns their number; see `write_folder`.

    Raises:
        Fault: there are no predictions, or none of the split; `out` is a file, or not empty without `force`.
    """
    return write_folder(out, predicted(predictions, split), force)


def voc_folder(out: Path, competition: str, split: str) -> Path:
    """Where VOC's server looks for label maps in an archive of `out`."""
    return out / "results" / "VOC2012" / "Segmentation" / f"{competition}_{split}_cls"


def of_voc(maps: Iterator[tuple[str, bytes]]) -> list[tuple[str, bytes]]:
    """The maps, if they are what VOC's server takes.

    Raises:
        Fault: some are no indexed PNGs, or hold labels that VOC does not have; all of these are named.
    """
    checked, faults = list(maps), []
    for image_id, content in checked:
        try:
            labels = decode_image(content)
        except OSError as error:
            faults.append(f"{image_id}: {error}")
            continue
        if labels.ndim != 2:
            faults.append(f"{image_id}: colours in place of labels")
        elif labels.max() >= VOC_LABELS:
            faults.append(f"{image_id}: label {labels.max()}")
    if faults:
        raise combine(f"VOC has the labels 0 to {VOC_LABELS - 1}", faults)
    return checked


def with_all_classes(info: DatasetInfo) -> None:
    """Refuses a data set with some of its source's classes.

    Raises:
        Fault: it is one.
    """
    if info.left_out:
        raise Fault(
            f"data set {info.name} leaves out {', '.join(info.left_out)} (datasets.{info.name}.classes), so its labels "
            "are not VOC's"
        )


def main(arguments: list[str] | None = None) -> None:
    """The command, see the module."""
    parser = argparse.ArgumentParser(prog="python -m stages.predict.export", description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="the folder to write")
    parser.add_argument("--split", help="train, or test with --voc, by default; of the recipe's predict.splits")
    parser.add_argument("--force", action="store_true", help="write into a folder that is not empty")
    parser.add_argument("--voc", action="store_true", help="in the layout of PASCAL VOC's server")
    parser.add_argument("--competition", choices=COMPETITIONS, default="comp6", help="with --voc; comp6 by default")
    parser.add_argument("--masks", type=Path, help="with --voc: a folder of label maps in place of predictions.zip")
    options = parser.parse_args(arguments)
    if options.masks and not options.voc:
        parser.error("--masks goes with --voc; without, the folder is what would be written")
    split, out = options.split or (TEST if options.voc else TRAIN), options.out.resolve()
    with exit_on_fault("export"):
        maps = segmented(options.masks) if options.masks else predicted(load("predict").outs["predictions"], split)
        if options.voc and not options.masks:
            with_all_classes(Dataset(load("predict").deps["dataset"]).info)
        if options.voc:
            maps, out = of_voc(maps), voc_folder(out, options.competition, split)
        count = write_folder(out, maps, options.force)
    sys.stdout.write(f"{count} label maps in {out}\n")


if __name__ == "__main__":
    main()
