"""Outlines as COCO writes them, polygons and run-length codes, as sets of pixels."""

from __future__ import annotations

from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

Code = dict[str, Any]  # a compressed run-length code: size (height, width) and counts
FEWEST_NUMBERS = 6  # of a polygon: three corners


def encode(segmentation: tuple[np.ndarray, ...] | dict[str, Any], height: int, width: int) -> Code:
    """The pixels of an outline as one run-length code; the polygons of an object are united.

    A polygon of fewer than three corners covers no pixel.

    Args:
        segmentation: polygons x1 y1 x2 y2 ... in pixels, or a code of COCO, compressed or not.
        height, width: of the image.

    Raises:
        ValueError: the outline is none, is of an image of another size, or lies far outside.
    """
    if isinstance(segmentation, dict):
        return encode_runs(segmentation, height, width)
    polygons = []
    for polygon in segmentation:
        if polygon.ndim != 1 or polygon.size % 2 or not np.isfinite(polygon).all():
            raise ValueError("a polygon is no list of numbers x1 y1 x2 y2 ...")
        if polygon.size and max(-polygon.min(), polygon.max()) > 2 * max(height, width):
            raise ValueError(f"a polygon lies far outside the {height} x {width} pixels")
        if polygon.size >= FEWEST_NUMBERS:
            polygons.append(polygon)
    if not polygons:
        return empty(height, width)
    return coco_mask.merge(coco_mask.frPyObjects(polygons, height, width))


def encode_runs(runs: dict[str, Any], height: int, width: int) -> Code:
    """A run-length code of COCO in its compressed form, see `encode`."""
    counts, size = runs.get("counts"), runs.get("size")
    if not isinstance(size, list) or size != [height, width]:
        raise ValueError(f"a run-length code is of size {size}, its image {height} x {width}")
    if isinstance(counts, str):
        code = {"size": size, "counts": counts.encode()}
        if coco_mask.decode(code).shape != (height, width):  # refuses runs that do not fill the image
            raise ValueError("a run-length code does not fill its image")
        return code
    whole = isinstance(counts, list) and all(type(count) is int and count >= 0 for count in counts)
    if not whole or sum(counts) != height * width:
        raise ValueError("the runs of a run-length code do not add up to its image")
    return coco_mask.frPyObjects(runs, height, width)


def empty(height: int, width: int) -> Code:
    """The code of no pixel."""
    return coco_mask.encode(np.zeros((height, width), np.uint8, order="F"))


def united(codes: list[Code]) -> Code:
    """The pixels of any of the codes, at least one."""
    return coco_mask.merge(codes)


def shared(first: Code, second: Code) -> Code:
    """The pixels of both."""
    return coco_mask.merge([first, second], intersect=True)


def pixels(code: Code) -> np.ndarray:
    """(H, W) bool."""
    return coco_mask.decode(code).view(bool)


def area(code: Code) -> int:
    """Number of pixels."""
    return int(coco_mask.area(code))


def ious(first: list[Code], second: list[Code]) -> np.ndarray:
    """Intersection over union of each pair, (len(first), len(second)) float64."""
    return pairs(first, second, over_first=False)


def covered(first: list[Code], second: list[Code]) -> np.ndarray:
    """The share of each of `first` that each of `second` covers, (len(first), len(second)) float64."""
    return pairs(first, second, over_first=True)


def pairs(first: list[Code], second: list[Code], over_first: bool) -> np.ndarray:
    """Intersections over unions, or over the areas of `first`, which is how COCO scores against crowds."""
    if not first or not second:
        return np.zeros((len(first), len(second)))
    return np.asarray(coco_mask.iou(first, second, [over_first] * len(second)))
