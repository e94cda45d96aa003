"""The slices of ACDC that `download` has made: everything lies in raw.zip, and the splits are made by patient."""

from __future__ import annotations

from stages.core.params import Params
from stages.prepare.layout import Entry, Index, Layout
from stages.prepare.splits import check_splits, join_splits

CLASSES = ("background", "right_ventricle", "myocardium", "left_ventricle")
TABLE = "slices.csv"


def read_acdc(index: Index, data: Params, faults: list[str]) -> Layout:
    """The data set that `data` (format acdc) declares; `faults` gets what is wrong with its splits.

    The patients of testing/ are split test. Of those of training/, in the order of their names, every `val_every`-th is
    in val and the others in train, so that no patient is in two splits.
    """
    rows = index.raw.rows(TABLE)
    names = sorted({row["patient"] for row in rows if row["folder"] == "training"})
    val = set(names[data.val_every - 1 :: data.val_every])
    members: dict[str, list[str]] = {"train": [], "val": []}
    for row in rows:
        split = "test" if row["folder"] == "testing" else "val" if row["patient"] in val else "train"
        members.setdefault(split, []).append(row["id"])
    faults += check_splits(members, data.headline, {split: f"patients of {split}" for split in members})
    entries = [
        Entry(image_id, splits, index.files[f"images/{image_id}.png"], index.files[f"masks/{image_id}.png"], None)
        for image_id, splits in join_splits(members).items()
    ]
    return Layout(CLASSES, True, entries, False, None, None, tables={TABLE: index.raw.text(TABLE)})
