"""LVIS and COCO annotations of the same images, read once and handed out image by image."""

from __future__ import annotations

import json
import zipfile
import zlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from stages.balance.mapping import COCO_CLASSES, COCO_LABELS, CORE, Row, lvis_rows
from stages.balance.sources import Source
from stages.core.faults import Fault, combine

TRAIN_FOLDER = "train2017/"
SEGMENTED = ("id", "image_id", "category_id", "segmentation")
PICTURED = ("id", "height", "width")
# of files, and of zips that are broken or encrypted
UNREADABLE = (OSError, EOFError, UnicodeDecodeError, zlib.error, zipfile.BadZipFile, NotImplementedError, RuntimeError)


class Annotation(NamedTuple):
    """An object of a JSON file: polygons as float64 arrays x1 y1 x2 y2 ..., or a run-length code as COCO writes it."""

    id: int
    image_id: int
    category_id: int
    crowd: bool
    segmentation: tuple[np.ndarray, ...] | dict[str, Any]


@dataclass(frozen=True)
class ImageWork:
    """All that is said of one image.

    name: of the files, 12 digits as in COCO.
    coco_url: where the picture lies.
    leakage: the picture belongs to COCO's training images, on which many networks were trained before.
    lvis: the objects whose category is in the table, with its row.
    coco: the objects of the 20 classes, with the label.
    unknown: labels of which LVIS says nothing here: the class's own category is neither annotated nor verified absent.
    not_exhaustive: labels of which LVIS left some objects out.
    """

    name: str
    height: int
    width: int
    coco_url: str
    leakage: bool
    lvis: tuple[tuple[Annotation, Row], ...]
    coco: tuple[tuple[Annotation, int], ...]
    unknown: frozenset[int]
    not_exhaustive: frozenset[int]


class LeftOut(NamedTuple):
    """Images of LVIS that are not read: of COCO's training set, and those that COCO's files lack."""

    training: int
    without_coco: int


def compact(value: dict[str, Any]) -> Any:
    """A JSON object as it is kept: an annotation's numbers as arrays, which take a quarter of the memory of lists."""
    if not all(key in value for key in SEGMENTED):
        return value
    shape = value["segmentation"]
    if isinstance(shape, list):
        shape = tuple(np.array(polygon, np.float64) for polygon in shape)
    crowd = bool(value.get("iscrowd", 0))
    return Annotation(value["id"], value["image_id"], value["category_id"], crowd, shape)


def read_json(path: Source) -> dict[str, Any]:
    """The images, annotations and categories of a file in the format of COCO.

    Raises:
        Fault: the file cannot be read, or is no such file.
    """
    try:
        with path.open("rb") as file:
            content = json.loads(file.read().decode("utf-8-sig"), object_hook=compact)
    except UNREADABLE as error:
        raise Fault(f"{path} cannot be read: {error}") from None
    except (ValueError, TypeError) as error:
        raise Fault(f"{path} is no JSON of annotations: {error}") from None
    missing = [key for key in ("images", "annotations", "categories") if not is_list_of(content, key)]
    if missing:
        raise Fault(f"{path} has no list {' and no list '.join(missing)}; it must be an instances file")
    bare = [value for value in content["annotations"] if not isinstance(value, Annotation)]
    if bare:
        raise Fault(f"{path}: {len(bare)} annotations lack one of {', '.join(SEGMENTED)}, such as {str(bare[0])[:80]}")
    bare = [value for value in content["images"] if not all(key in value for key in PICTURED)]
    if bare:
        raise Fault(f"{path}: {len(bare)} images lack one of {', '.join(PICTURED)}, such as {str(bare[0])[:80]}")
    return content


def is_list_of(content: Any, key: str) -> bool:
    """Whether a JSON object has a list under a key."""
    return isinstance(content, dict) and isinstance(content.get(key), list)


def read_images(lvis_path: Source, coco_paths: Sequence[Source], with_train: bool) -> tuple[list[ImageWork], LeftOut]:
    """The images that both LVIS and COCO annotate, sorted by name, and how many others of LVIS there are.

    Args:
        lvis_path: lvis_v1_val.json, or any other LVIS file.
        coco_paths: instances_val2017.json; with the training images instances_train2017.json as well.
        with_train: keep LVIS images of COCO's training set.

    Raises:
        Fault: a file cannot be read or is of another kind; the two disagree about the size of an image; they have no
            image in common, or none of the training images that are wanted.
    """
    lvis = read_json(lvis_path)
    try:
        rows = lvis_rows(lvis["categories"])
    except Fault as fault:
        raise Fault(f"{lvis_path}: {fault}") from None
    lvis_objects = defaultdict(list)
    for annotation in lvis.pop("annotations"):
        if annotation.category_id in rows:
            lvis_objects[annotation.image_id].append((annotation, rows[annotation.category_id]))
    sizes, coco_objects = read_coco(coco_paths)
    works, faults, training, lacked = [], [], 0, []
    for image in sorted(lvis["images"], key=lambda image: image["id"]):
        lacking = [key for key in ("neg_category_ids", "not_exhaustive_category_ids", "coco_url") if key not in image]
        if lacking:
            faults.append(f"{lvis_path}: image {image['id']} has no {', '.join(lacking)}; is it of LVIS?")
            continue
        leakage = TRAIN_FOLDER in image["coco_url"]
        if leakage and not with_train:
            training += 1
            continue
        size = sizes.get(image["id"])
        if size is None:
            lacked.append(leakage)
            continue
        if size != (image["height"], image["width"]):
            faults.append(f"image {image['id']} is {image['height']} x {image['width']} in LVIS and {size} in COCO")
            continue
        works.append(image_work(image, leakage, rows, lvis_objects[image["id"]], coco_objects[image["id"]]))
    if faults:
        raise combine("LVIS and COCO do not fit", faults)
    files = ", ".join(map(str, coco_paths))
    if any(lacked) and not any(work.leakage for work in works):
        raise Fault(
            f"--keep-train-images: none of the {sum(lacked)} images of {lvis_path} from COCO's training set is in "
            f"{files}; give instances_train2017.json under --coco as well, or annotations_trainval2017.zip, which has "
            f"it, or leave the option out"
        )
    if not works:
        hint = f"; {training} are of COCO's training set and were left out (--keep-train-images)" if training else ""
        raise Fault(f"no image of {lvis_path} is in {files}{hint}")
    return works, LeftOut(training, len(lacked))


def read_coco(paths: Sequence[Source]) -> tuple[dict[int, tuple[int, int]], dict[int, list[tuple[Annotation, int]]]]:
    """Height and width of each image, and its objects of the 20 classes with their labels.

    Raises:
        Fault: a file cannot be read, or its categories are not those of COCO.
    """
    sizes: dict[int, tuple[int, int]] = {}
    objects: dict[int, list[tuple[Annotation, int]]] = defaultdict(list)
    for path in paths:
        content = read_json(path)
        names = {category["id"]: category["name"] for category in content["categories"]}
        wrong = [f"{coco_id} {name}" for _, coco_id, name in COCO_CLASSES if names.get(coco_id) != name]
        if wrong:
            raise Fault(f"{path} has not COCO's categories {', '.join(wrong)}; its instances file is needed")
        sizes |= {image["id"]: (image["height"], image["width"]) for image in content["images"]}
        for annotation in content["annotations"]:
            if annotation.category_id in COCO_LABELS:
                objects[annotation.image_id].append((annotation, COCO_LABELS[annotation.category_id]))
    return sizes, objects


def image_work(
    image: dict[str, Any],
    leakage: bool,
    rows: dict[int, Row],
    lvis: list[tuple[Annotation, Row]],
    coco: list[tuple[Annotation, int]],
) -> ImageWork:
    """One image, with what LVIS leaves open in it.

    LVIS is federated: a category is exhaustively annotated, verified absent, or unknown in an image. That a special
    kind of a class is absent (no race car) says nothing of the class, that it is present nothing of the others.
    """
    decided = {row.label for _, row in lvis if row.head}
    decided |= {rows[key].label for key in image["neg_category_ids"] if key in rows and rows[key].head}
    incomplete = (rows[key] for key in image["not_exhaustive_category_ids"] if key in rows)
    return ImageWork(
        f"{image['id']:012d}",
        image["height"],
        image["width"],
        image["coco_url"],
        leakage,
        tuple(lvis),
        tuple(coco),
        frozenset(range(1, len(COCO_CLASSES) + 1)) - decided,
        frozenset(row.label for row in incomplete if row.role == CORE),
    )
