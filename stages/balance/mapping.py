"""Which category of LVIS is which class of PASCAL VOC: the table lvis_to_voc.csv, read by synset.

LVIS names its categories anew in each version (the synset person.n.01 is `baby` in v0.5 and `person` in v1), and one
word stands for several things (car.n.01 is an automobile, car.n.02 a railcar, car.n.04 a lift; the animal is beef.n.01,
its meat beef.n.02). So the synset decides; ids and names in the table are those of LVIS v1, for the reader.

The choice follows the labelling guidelines of VOC2012 (host.robots.ox.ac.uk/pascal/VOC/voc2012) and is this project's
own: the authors of PASCAL-B (arXiv 2309.14117) published none.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from stages.core.faults import Fault
from stages.core.files import read_csv

TABLE = Path(__file__).with_name("lvis_to_voc.csv")
CORE, VOID_ROLE, OUT = "CORE", "VOID", "OUT"
PART, WITH_COCO, WITHOUT_COCO, ON_TABLE = "part", "with_coco", "without_coco", "on_table"

# Class of VOC (label 1 is the first), id and name of its category in COCO, https://cocodataset.org
COCO_CLASSES = (
    ("aeroplane", 5, "airplane"),
    ("bicycle", 2, "bicycle"),
    ("bird", 16, "bird"),
    ("boat", 9, "boat"),
    ("bottle", 44, "bottle"),
    ("bus", 6, "bus"),
    ("car", 3, "car"),
    ("cat", 17, "cat"),
    ("chair", 62, "chair"),
    ("cow", 21, "cow"),
    ("diningtable", 67, "dining table"),
    ("dog", 18, "dog"),
    ("horse", 19, "horse"),
    ("motorbike", 4, "motorcycle"),
    ("person", 1, "person"),
    ("pottedplant", 64, "potted plant"),
    ("sheep", 20, "sheep"),
    ("sofa", 63, "couch"),
    ("train", 7, "train"),
    ("tvmonitor", 72, "tv"),
)
CLASSES = ("background", *(name for name, _, _ in COCO_CLASSES))
COCO_LABELS = {coco_id: label for label, (_, coco_id, _) in enumerate(COCO_CLASSES, 1)}
TABLE_LABEL = CLASSES.index("diningtable")


@dataclass(frozen=True)
class Row:
    """A category of LVIS.

    synset: its WordNet synset, as LVIS writes it.
    lvis_id, lvis_name: in LVIS v1.
    label: of the VOC class that it is, or that it might be taken for, 1..20.
    role: CORE, an object of the class; VOID, doubtful; OUT, an object of no class of VOC. Any other category is OUT.
    rule: a condition, see `paint`: part (void where it is no object of its own), with_coco (CORE where COCO has an
        object of the class, else void), without_coco (void in an image where COCO has none of the class), on_table
        (void where it overlaps a table), or none.
    head: the class's own category, its first CORE row: what LVIS says of it holds for the whole class.
    """

    synset: str
    lvis_id: int
    lvis_name: str
    label: int
    role: str
    rule: str
    head: bool


@cache
def table() -> dict[str, Row]:
    """The rows by synset."""
    rows: dict[str, Row] = {}
    headed: set[str] = set()
    for line in read_csv(TABLE):
        name = line["voc_class"]
        head = line["role"] == CORE and name not in headed
        if head:
            headed.add(name)
        label = CLASSES.index(name)
        rows[line["synset"]] = Row(
            line["synset"], int(line["lvis_id"]), line["lvis_name"], label, line["role"], line["rule"], head
        )
    return rows


def lvis_rows(categories: Iterable[Mapping[str, Any]]) -> dict[int, Row]:
    """The rows of the categories of an LVIS file, of any version, by the ids of that file.

    Raises:
        Fault: a category has no synset, so that the file is not of LVIS; or not one of the table is there.
    """
    found = {}
    for category in categories:
        if "synset" not in category:
            raise Fault(f"category {category.get('name')!r} has no synset; LVIS annotations are needed")
        row = table().get(category["synset"])
        if row:
            found[category["id"]] = row
    if not found:
        raise Fault(f"none of the {len(table())} synsets of {TABLE.name} is among the categories")
    return found
