"""COCO's instances JSON, read once and kept small: coordinates become packed numbers while the text is being read.

Source: the data format on cocodataset.org (Lin et al., Microsoft COCO, arXiv 1405.0312).
"""

from __future__ import annotations

import json
import math
import struct
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from stages.core.faults import Fault
from stages.prepare.layout import Index, read

SECTIONS = ("images", "annotations", "categories")
LEAST = 6  # numbers of a polygon: three corners
MOST_PIXELS = 2**28  # of an image; run lengths of one fit 32 bits by far


class Annotation(NamedTuple):
    """An entry of `annotations`; form and parts as in `stages.prepare.drawing.Outline`.

    faults: what is wrong with it as far as it alone shows.
    box: x, y, width, height packed as four float64; empty where there is none.
    """

    id: Any
    image_id: Any
    category_id: Any
    crowd: bool
    box: bytes
    form: str
    parts: tuple[bytes, ...]
    faults: tuple[str, ...]


@dataclass(frozen=True)
class Picture:
    """An entry of `images`: its file's name and its size in pixels."""

    file_name: str
    height: int
    width: int


@dataclass(frozen=True)
class Instances:
    """A file's content by the ids in it; annotations by image, sorted by their own id."""

    categories: dict[int, str] = field(default_factory=dict)
    images: dict[int, Picture] = field(default_factory=dict)
    annotations: dict[int, list[Annotation]] = field(default_factory=dict)


def read_instances(index: Index, name: str, faults: list[str]) -> Instances:
    """The file `name` of the source; `faults` gets everything in it that is wrong, by the annotation's id.

    What is wrong is left out of the result. Memory is that of the text and of 8 bytes per coordinate.

    Raises:
        Fault: the file is missing, changed since the index, or no JSON of this format.
    """
    if name not in index.files:
        raise Fault(f"{name} is not in the source; `download` indexed {len(index.files)} other files")
    try:
        tree = json.loads(read(index.raw, index.files[name]).decode(), object_hook=slim)
    except UnicodeDecodeError as error:
        raise Fault(f"{name} is not UTF-8 text (byte {error.start})") from None
    except (ValueError, RecursionError) as error:  # of JSON, and of `read`
        raise Fault(f"{name}: {error}") from None
    missing = [key for key in SECTIONS if not isinstance(tree, dict) or not isinstance(tree.get(key), list)]
    if missing:
        raise Fault(f"{name} has no list {', '.join(missing)}; COCO's instances JSON has {', '.join(SECTIONS)}")
    found = Instances()
    note_categories(found, tree["categories"], name, faults)
    note_images(found, tree["images"], name, faults)
    note_annotations(found, tree["annotations"], name, faults)
    return found


def slim(value: dict[str, Any]) -> Any:
    """An annotation as an Annotation and an image without what is not used, anything else unchanged."""
    if "image_id" in value:
        return annotation_of(value)
    if "file_name" in value:
        return {key: value.get(key) for key in ("id", "file_name", "height", "width")}
    return value


def annotation_of(value: dict[str, Any]) -> Annotation:
    """An annotation with its outline packed."""
    faults: list[str] = []
    form, parts = "polygons", ()
    try:
        form, parts = outline_of(value.get("segmentation"))
    except ValueError as error:
        faults.append(str(error))
    box = b""
    if value.get("bbox") is not None:
        try:
            box = struct.pack("4d", *value["bbox"])
        except (struct.error, TypeError, OverflowError):
            faults.append("its bbox must be four numbers: x, y, width, height")
    crowd = value.get("iscrowd", 0)
    if crowd not in (0, 1):
        faults.append(f"iscrowd is {crowd!r}; allowed are 0 and 1")
    keys = (value.get("id"), value["image_id"], value.get("category_id"))
    return Annotation(*keys, crowd == 1, box, form, parts, tuple(faults))


def outline_of(segmentation: Any) -> tuple[str, tuple[bytes, ...]]:
    """Form and parts of an `Outline`: polygons, or a run-length encoding whose size comes first among the parts.

    Raises:
        ValueError: no outline, or a broken one.
    """
    if not segmentation:
        raise ValueError("it has no segmentation; draw its outline or take it out")
    if isinstance(segmentation, list):
        return "polygons", tuple(map(polygon, segmentation))
    counts = segmentation.get("counts") if isinstance(segmentation, dict) else None
    try:
        size = struct.pack("2q", *segmentation["size"])
        if isinstance(counts, str):
            return "text", (size, counts.encode("ascii"))
        runs = np.array(counts)
        if not isinstance(counts, list) or runs.ndim != 1 or runs.dtype.kind != "i":
            raise ValueError
        return "counts", (size, runs.astype(np.int64).tobytes())
    except (TypeError, KeyError, ValueError, struct.error):
        raise ValueError(
            "its segmentation must be a list of polygons, or size [height, width] and counts (numbers or text)"
        ) from None


def polygon(points: Any) -> bytes:
    """A polygon's x y x y ... as float64.

    Raises:
        ValueError: fewer than three corners, an odd number of values, or values that are no finite numbers.
    """
    try:
        array = np.array(points)
    except ValueError:
        array = np.array(None)
    if array.ndim != 1 or array.dtype.kind not in "if" or not np.isfinite(array).all():
        if isinstance(points, list) and not points:
            raise ValueError(f"a polygon of 0 numbers; it needs {LEAST}, three corners, or more")
        raise ValueError("a polygon must be a list of finite numbers, x y x y ...")
    if array.size < LEAST or array.size % 2:
        wanted = "an even number" if array.size >= LEAST else f"{LEAST}, three corners, or more"
        raise ValueError(f"a polygon of {array.size} numbers; it needs {wanted}")
    return array.astype(np.float64).tobytes()


def whole(value: Any) -> bool:
    """Whether a value is a whole number."""
    return type(value) is int


def note_categories(found: Instances, entries: list[Any], name: str, faults: list[str]) -> None:
    """Fills `categories`."""
    for place, entry in enumerate(entries):
        fields = entry if isinstance(entry, dict) else {}
        key, title = fields.get("id"), fields.get("name")
        if not whole(key) or not isinstance(title, str) or not title.strip():
            faults.append(f"{name}: category {place + 1} of the list needs a whole number as id, and a name")
        elif key in found.categories or title in found.categories.values():
            faults.append(f"{name}: category {key} ({title}) stands there twice")
        else:
            found.categories[key] = title


def note_images(found: Instances, entries: list[Any], name: str, faults: list[str]) -> None:
    """Fills `images`."""
    for place, entry in enumerate(entries):
        fields = entry if isinstance(entry, dict) else {}
        key, file_name = fields.get("id"), fields.get("file_name")
        size = (fields.get("height"), fields.get("width"))
        if not whole(key) or not isinstance(file_name, str) or not all(whole(side) and side > 0 for side in size):
            faults.append(f"{name}: image {place + 1} of the list needs id, file_name, height and width")
        elif math.prod(size) > MOST_PIXELS:
            faults.append(f"{name}: image {key} of {size[0]} x {size[1]} pixels; allowed are {MOST_PIXELS} pixels")
        elif key in found.images:
            faults.append(f"{name}: image {key} stands there twice")
        else:
            found.images[key] = Picture(file_name, *size)


def note_annotations(found: Instances, entries: list[Any], name: str, faults: list[str]) -> None:
    """Fills `annotations`."""
    seen: set[int] = set()
    for place, entry in enumerate(entries):
        if not isinstance(entry, Annotation) or not whole(entry.id):
            faults.append(f"{name}: annotation {place + 1} of the list needs an id, a whole number, and an image_id")
            continue
        wrong = [*entry.faults, *misfits(found, entry)]
        if entry.id in seen:
            wrong.append("the id stands there twice")
        seen.add(entry.id)
        faults += [f"{name}: annotation {entry.id}: {line}" for line in wrong]
        if not wrong:
            plain = entry if entry.form == "polygons" else entry._replace(parts=entry.parts[1:])
            found.annotations.setdefault(entry.image_id, []).append(plain)
    for listed in found.annotations.values():
        listed.sort(key=lambda annotation: annotation.id)


def misfits(found: Instances, entry: Annotation) -> list[str]:
    """What about an annotation does not go with the file's images and categories."""
    wrong = []
    if not whole(entry.category_id) or entry.category_id not in found.categories:
        wrong.append(f"category {entry.category_id!r} is not among the file's categories")
    if not whole(entry.image_id) or entry.image_id not in found.images:
        return [*wrong, f"image {entry.image_id!r} is not among the file's images"]
    image = found.images[entry.image_id]
    if entry.form != "polygons":
        height, width = struct.unpack("2q", entry.parts[0])
        if (height, width) != (image.height, image.width):
            wrong.append(
                f"its RLE is of {height} x {width} pixels (height x width), its image {entry.image_id} has "
                f"{image.height} x {image.width}"
            )
    if entry.box:
        x, y, across, down = struct.unpack("4d", entry.box)
        inside = x <= image.width and y <= image.height and x + across >= 0 and y + down >= 0
        if not (across >= 0 and down >= 0 and inside and math.isfinite(x + y + across + down)):
            wrong.append(
                f"its bbox [{x:g}, {y:g}, {across:g}, {down:g}] (x, y, width, height) lies outside its image "
                f"{entry.image_id} of {image.height} x {image.width} pixels (height x width)"
            )
    return wrong
