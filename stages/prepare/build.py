"""A data set of any format -> dataset.zip, every file checked once and all faults told together."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from stages.core.dataset import DatasetInfo, ImageRecord, write_header
from stages.core.faults import combine
from stages.core.files import csv_text, write_zip
from stages.core.params import Params
from stages.prepare.acdc import read_acdc
from stages.prepare.coco import read_coco
from stages.prepare.folder import read_folder
from stages.prepare.layout import Index, Layout
from stages.prepare.parts import forget, results
from stages.prepare.shapes import read_shapes
from stages.prepare.subset import subset
from stages.prepare.tag_differences import COLUMNS, summary, tag_differences
from stages.prepare.verify import PALETTE, SHOWN, UPRIGHT, verify
from stages.prepare.voc import read_voc

FORMATS: dict[str, Callable[[Index, Params, list[str]], Layout]] = {
    "shapes": read_shapes,
    "voc": read_voc,
    "folder": read_folder,
    "coco": read_coco,
    "acdc": read_acdc,
}


def prepare(raw: Path, out: Path, name: str, data: Params, kept: Path) -> list[str]:
    """Writes dataset.zip of the data set `name`, see `stages.core.dataset`.

    Args:
        raw: raw.zip of `download`.
        out: the zip to write.
        name: the data set's name.
        data: its section of params.yaml.
        kept: folder of the parts that are done, see `stages.prepare.parts`, of this raw.zip, section and code alone.

    Returns:
        Notes for the person: images per split, tags that differ from the masks.

    Raises:
        Fault: anything about the data is wrong; every fault is listed with the file that it is in.
    """
    index = Index(raw)
    faults: list[str] = []
    whole = FORMATS[data.format](index, data, faults)
    layout, labels = subset(whole, name, data, faults)
    records: list[ImageRecord] = []
    present: dict[str, tuple[int, ...]] = {}
    turned: list[str] = []
    empty = unseen = 0
    with write_zip(out) as archive:
        check = partial(verify, index.raw, labels)
        for entry, result in zip(layout.entries, results(check, layout.entries, kept), strict=True):
            faults += result.faults
            if result.orientation != 1:
                turned.append(entry.image.name)
                if layout.own and result.mask is not None:
                    faults.append(in_doubt(entry.image.name, entry.mask.name, result.orientation))
            if faults:  # nothing will be written, but every file is looked at
                continue
            image = entry.image
            records.append(ImageRecord(entry.id, entry.splits, image.location, result.height, result.width, image.md5))
            empty, unseen = empty + result.empty, unseen + result.unseen
            if result.mask is not None:
                present[entry.id] = result.present
                archive.bytes(f"masks/{entry.id}.png", result.mask)
            if result.instances is not None:
                archive.bytes(f"instances/{entry.id}.png", result.instances)
        first = int(layout.background)
        shown = {image_id: [label for label in labels if label >= first] for image_id, labels in present.items()}
        tags = shown if layout.tags is None else layout.tags
        faults = faults or class_faults(name, layout, records, present, tags)
        if faults:
            forget(kept)
            raise combine(f"data set {name} of {index.root()} cannot be used", faults)
        info = DatasetInfo(
            name=name,
            classes=layout.classes,
            background=layout.background,
            palette=PALETTE,
            size_bins=data.size_bins,
            tags="masks" if layout.tags is None else data.tags,
            masks=len(present) == len(records),
            instances=layout.instances,
            left_out=tuple(entry for entry in whole.classes if entry not in layout.classes),
        )
        write_header(archive, info, records, tags)
        for member, text in layout.tables.items():
            archive.text(member, text)
        differences = tag_differences(tags, shown, layout.classes)
        if layout.tags is not None:
            archive.text("tag_differences.csv", csv_text(differences, COLUMNS))
    lines = notes(name, layout, records, shown, differences)
    if turned:
        lines.append(
            f"{name}: {len(turned)} images are shown turned or mirrored (EXIF orientation) and read as stored: "
            f"{', '.join(turned[:SHOWN])}{', ...' if len(turned) > SHOWN else ''}; {UPRIGHT} stores them as shown"
        )
    if empty:
        lines.append(
            f"{name}: {empty} annotated objects cover no pixel, such as polygons of no width; they are nowhere"
        )
    if unseen and layout.tags is None:
        lines.append(f"{name}: {unseen} of {len(records)} images have an annotated class that their masks do not show")
    return lines


def in_doubt(image: str, mask: str, orientation: int) -> str:
    """What a person reads whose mask fits an image as stored and, by its size, as shown too."""
    return (
        f"{image}: its EXIF orientation {orientation} turns or mirrors it when it is shown, and {mask} does not tell "
        f"by its size whether it was drawn on that; images are read as stored. If it was, store the image upright, as "
        f"{UPRIGHT} does; if not, take the mark away, as `exiftool -Orientation= FILE` does"
    )


def class_faults(
    name: str,
    layout: Layout,
    records: list[ImageRecord],
    present: dict[str, tuple[int, ...]],
    tags: dict[str, list[int]],
) -> list[str]:
    """Classes that no training image has, as a tag or, for the background, as a pixel of a mask, if there are masks.

    A subset of a known data set may lack some: those that `untrained` names are accepted.
    """
    accepted = layout.untrained or ()
    faults = [
        f"datasets.{name}.untrained names {entry}, which is no class; the classes are {', '.join(layout.classes)}"
        for entry in accepted
        if entry not in layout.classes
    ]
    train = [record.id for record in records if "train" in record.splits]
    trained = {label for image_id in train for label in tags[image_id]}
    if layout.background:
        seen = [present[image_id] for image_id in train if image_id in present]
        trained |= {0} if not seen else {0} & set().union(*seen)
    missing = [entry for label, entry in enumerate(layout.classes) if label not in trained and entry not in accepted]
    if missing:
        choice = "" if layout.untrained is None else f", or, if that is meant, name them in datasets.{name}.untrained"
        faults.append(f"no training image has {', '.join(missing)}; add some to the split train{choice}")
    return faults


def notes(
    name: str,
    layout: Layout,
    records: list[ImageRecord],
    shown: dict[str, list[int]],
    differences: list[dict[str, str]],
) -> list[str]:
    """What a person may want to know about a data set that is in order."""
    splits = dict.fromkeys(split for record in records for split in record.splits)
    counts = [f"{sum(split in record.splits for record in records)} {split}" for split in splits]
    lines = [f"{name}: {len(records)} images ({', '.join(counts)}), {len(layout.classes)} labels"]
    lines += [f"{name}: {note}" for note in layout.notes]
    if layout.untrained:
        lines.append(f"{name}: no training image is expected to have {', '.join(layout.untrained)}")
    if layout.tags is not None and shown:
        lines.append(f"{name}: {summary(differences, len(shown))}")
    without = [
        split for split in splits if any(split in record.splits and record.id not in shown for record in records)
    ]
    if without:
        lines.append(f"{name}: no masks of {', '.join(without)}")
    if not shown:
        lines.append(f"{name}: `dvc repro predict` trains and predicts; evaluation needs masks of the headline split")
    return lines
