"""Relative sizes from boxes: the area that a class's boxes cover together, times the share of it that is object.

A CSV file with a header and the columns image, class, xmin, ymin, xmax, ymax: pixels of the original image, from 0 in
its upper left corner; xmax and ymax are the first column and row beyond the box, so that a box is xmax - xmin wide.
(Boxes of PASCAL VOC count from 1 and include their last pixel: take 1 from xmin and ymin.) Or, with no file, the tight
boxes of the data set's own instances, which are what a careful annotator of boxes would give.

A size is a share of the whole image. Where the boxes of all classes come to more than 1 - FLOOR of it they are scaled
down to that; in a data set without background they are divided by their sum (see `missing`).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from scipy.ndimage import find_objects
from tqdm import tqdm

from stages.core.dataset import Dataset, ImageRecord
from stages.core.faults import Fault, combine
from stages.core.metrics.instances import dataset_instances
from stages.size_targets.corrupt import FLOOR
from stages.size_targets.size_file import finish, labels_by_text, number_of, read_lines

SIDES = ("xmin", "ymin", "xmax", "ymax")


def box_sizes(path: Path | None, dataset: Dataset, ids: list[str], fill: float | Mapping[str, float]) -> np.ndarray:
    """Sizes (N, C) float64, NaN where a class has no box; those of an image sum to less than 1.

    Args:
        path: of the CSV file; None for the boxes of the data set's instances.
        fill: the share of a class's boxes that it covers, over 0 and up to 1: a number, or one for each class.

    Raises:
        Fault: the file has faults, the data set has no masks to draw boxes around, or `fill` does not fit its classes.
    """
    rates = fill_rates(fill, dataset)
    areas = own_areas(dataset, ids) if path is None else file_areas(path, dataset, ids)
    whole = np.array([dataset.records[image_id].height * dataset.records[image_id].width for image_id in ids])
    sizes = areas * rates / whole[:, None]
    return sizes / np.maximum(np.nansum(sizes, axis=1, keepdims=True) / (1 - FLOOR), 1)


def fill_rates(fill: float | Mapping[str, float], dataset: Dataset) -> np.ndarray:
    """The fill rate of each class, (C,) float64, the background's is 1.

    Raises:
        Fault: a table names no class, names one twice (by name and label), or leaves one out.
    """
    info, labels = dataset.info, labels_by_text(dataset)
    if not isinstance(fill, Mapping):
        return np.full(dataset.num_classes, float(fill))
    fill = {name: rate for name, rate in fill.items() if name not in info.left_out}
    named = [labels.get(str(name), -1) for name in fill]
    faults = [f"no class {name!r}" for name, label in zip(fill, named, strict=True) if label not in dataset.foreground]
    faults += [f"{info.classes[label]!r} has no rate" for label in dataset.foreground if label not in named]
    faults += [f"{info.classes[label]!r} has two rates" for label in dataset.foreground if named.count(label) > 1]
    if faults:
        raise combine(f"size_targets.fill does not fit the classes of data set {info.name}", faults)
    rates = np.ones(dataset.num_classes)
    rates[named] = list(fill.values())
    return rates


def own_areas(dataset: Dataset, ids: list[str]) -> np.ndarray:
    """The area that the tight boxes of each class's instances cover, (N, C) pixels, NaN for none.

    Raises:
        Fault: the data set has no masks.
    """
    if not dataset.masked(ids):
        raise Fault(
            f"data set {dataset.info.name} has no masks of train to draw boxes around: size_targets.source boxes "
            "needs a size_file with boxes"
        )
    areas = np.full((len(ids), dataset.num_classes), np.nan)
    for row, image_id in enumerate(tqdm(ids, unit="image", disable=None)):
        instances = dataset_instances(dataset, image_id)
        slices = find_objects(np.maximum(instances.index, 0), len(instances.labels))
        boxes = np.array([[x.start, y.start, x.stop, y.stop] for y, x in slices], float).reshape(-1, 4)
        for label in np.unique(instances.labels):
            areas[row, label] = union_area(boxes[instances.labels == label])
    return areas


def file_areas(path: Path, dataset: Dataset, ids: list[str]) -> np.ndarray:
    """The area that the boxes of each class in a file cover, (N, C) pixels, NaN for none.

    Raises:
        Fault: the file cannot be read, or has faulty lines, which are listed together.
    """
    lines = read_lines(path, SIDES, dataset, ids)
    boxes: dict[tuple[int, int], list[list[float]]] = {}
    for line in lines.good:
        box = [number_of(line.cells[side]) for side in SIDES]
        fault = box_fault(box, dataset.records[ids[line.row]])
        if fault:
            lines.faults.append(f"line {line.number}: {fault}, is {', '.join(line.cells[side] for side in SIDES)}")
        boxes.setdefault((line.row, line.label), []).append(box)
    finish(path, lines, ids)
    areas = np.full((len(ids), dataset.num_classes), np.nan)
    for place, group in boxes.items():
        areas[place] = union_area(np.array(group))
    return areas


def box_fault(box: list[float], record: ImageRecord) -> str:
    """What is wrong with a box, or nothing."""
    xmin, ymin, xmax, ymax = box
    if not (0 <= xmin < xmax <= record.width and 0 <= ymin < ymax <= record.height):  # false for NaN too
        return (
            f"xmin, ymin, xmax, ymax must be 0 <= xmin < xmax <= {record.width} and 0 <= ymin < ymax <= {record.height}"
        )
    return ""


def union_area(boxes: np.ndarray) -> float:
    """The area that boxes (n, 4) cover together: xmin, ymin, xmax, ymax, exact for any coordinates."""
    xs, ys = np.unique(boxes[:, [0, 2]]), np.unique(boxes[:, [1, 3]])  # between two of them nothing begins or ends
    across = (boxes[:, :1] <= xs[:-1]) & (xs[1:] <= boxes[:, 2:3])
    down = (boxes[:, 1:2] <= ys[:-1]) & (ys[1:] <= boxes[:, 3:])
    covered = (down.T.astype(np.int64) @ across.astype(np.int64)) > 0
    return float(np.diff(ys) @ covered @ np.diff(xs))
