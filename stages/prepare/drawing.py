"""A mask and an instance map drawn from the outlines of an image's objects."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from pycocotools import mask as coco_mask

from stages.core.dataset import INSTANCE_VOID, VOID
from stages.prepare.run_lengths import check_counts, decode_strings, paint


@dataclass(frozen=True, slots=True)
class Outline:
    """One annotated object.

    id: of the annotation.
    label: 1 or more; for a crowd too.
    crowd: a region of many objects that nobody told apart: void.
    form: how `parts` holds it: polygons, each x y x y ... in pixels as float64; one run-length encoding as int64 counts
        or as its compressed text, see `stages.prepare.run_lengths`.
    """

    id: int
    label: int
    crowd: bool
    form: Literal["polygons", "counts", "text"]
    parts: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Drawing:
    """What an image's mask is drawn from; `name` says where it stands, `outlines` are sorted by id."""

    name: str
    height: int
    width: int
    outlines: tuple[Outline, ...]


@dataclass(frozen=True)
class Drawn:
    """The maps of a drawing.

    mask: (H, W) uint8, 0 background, 255 void.
    instances: (H, W) uint16, 0 none, 65535 void; object n, from 1, is the n-th outline that is no crowd.
    empty: number of outlines without a pixel, such as a polygon of no width.
    """

    mask: np.ndarray
    instances: np.ndarray
    empty: int


def draw(drawing: Drawing) -> Drawn:
    """Draws every outline as pycocotools' annToMask does, pixel by pixel.

    Crowds lie below all objects, and of two objects the one with fewer pixels lies above (the later id where they have
    as many): a cup on a table is seen, and not the table through it. Mask and instance map agree in every pixel.

    Raises:
        ValueError: outlines that cannot be drawn; all of them are named.
    """
    height, width, outlines = drawing.height, drawing.width, drawing.outlines
    counts = run_lengths(drawing)
    areas = np.array([int(one[1::2].sum()) for one in counts], np.int64)
    crowd = np.array([outline.crowd for outline in outlines], bool)
    if (~crowd).sum() >= INSTANCE_VOID:
        raise ValueError(f"{(~crowd).sum()} objects; an instance map tells {INSTANCE_VOID - 1} apart")
    numbers = np.where(crowd, INSTANCE_VOID, np.cumsum(~crowd))
    order = np.lexsort((np.arange(len(outlines)), -areas, ~crowd))
    instances = paint([counts[k] for k in order], numbers[order].tolist(), height, width)
    labels = np.zeros(INSTANCE_VOID + 1, np.uint8)
    labels[numbers] = [VOID if outline.crowd else outline.label for outline in outlines]
    return Drawn(labels[instances], instances, int((areas == 0).sum()))


def run_lengths(drawing: Drawing) -> list[np.ndarray]:
    """The run-length counts of each outline, int64, checked against the image's size.

    Raises:
        ValueError: as `draw`.
    """
    height, width = drawing.height, drawing.width
    faults: list[str] = []
    texts: dict[int, bytes] = {}
    found: dict[int, np.ndarray] = {}
    for place, outline in enumerate(drawing.outlines):
        try:
            if outline.form == "polygons":
                texts[place] = polygon_text(outline.parts, height, width)
                continue
            if outline.form == "text":
                found[place] = decode_strings(outline.parts)[0]
            else:
                found[place] = np.frombuffer(outline.parts[0], np.int64)
            check_counts(found[place], height, width)
        except ValueError as error:
            faults.append(f"annotation {outline.id}: {error}")
    if faults:
        raise ValueError("; ".join(faults))
    found |= zip(texts, decode_strings(list(texts.values())), strict=True)
    return [found[place] for place in range(len(drawing.outlines))]


def polygon_text(parts: tuple[bytes, ...], height: int, width: int) -> bytes:
    """The compressed run-length encoding of the union of polygons.

    Raises:
        ValueError: a polygon reaches further beyond the image than the image is large: it belongs to another one, and
            drawing takes time and memory by a polygon's length.
    """
    polygons = [np.frombuffer(part) for part in parts]
    every = np.concatenate(polygons).reshape(-1, 2)
    low, high = every.min(0), every.max(0)
    if low[0] < -width or low[1] < -height or high[0] > 2 * width or high[1] > 2 * height:
        raise ValueError(
            f"its polygons span x {low[0]:g} to {high[0]:g}, y {low[1]:g} to {high[1]:g}, far beyond the image of "
            f"{height} x {width} pixels (height x width)"
        )
    encoded = coco_mask.frPyObjects(polygons, height, width)
    return (encoded[0] if len(encoded) == 1 else coco_mask.merge(encoded))["counts"]
