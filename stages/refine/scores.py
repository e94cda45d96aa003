"""How good pseudo masks are: IoU, precision and recall against the true masks."""

from __future__ import annotations

from typing import Any

import numpy as np

from stages.core.dataset import DatasetInfo
from stages.core.metrics.confusion import class_iou, class_precision, class_recall, mean_defined

COLUMNS = ("split", "class", "iou", "iou_labelled", "precision", "recall", "void")


def void_as_background(matrix: np.ndarray) -> np.ndarray:
    """The confusion matrix (C, C + 1) with the pixels that the pseudo masks leave void counted as label 0."""
    result = matrix.copy()
    result[:, 0] += result[:, -1]
    result[:, -1] = 0
    return result


def labelled_only(matrix: np.ndarray) -> np.ndarray:
    """The confusion matrix (C, C + 1) without the pixels that the pseudo masks leave void."""
    result = matrix.copy()
    result[:, -1] = 0
    return result


def score_rows(split: str, matrix: np.ndarray, void: float, info: DatasetInfo) -> list[dict[str, Any]]:
    """A row per class and a last one, `mean`, over the classes that the split's truth shows.

    Pixels whose truth is void count nowhere. What a void pixel of a pseudo mask counts as differs between papers, so
    there are two IoUs. `iou`, `precision` and `recall` take it for background, as reports of pseudo-mask mIoU do; in a
    data set without a background it is a pixel of its true class that is missed. `iou_labelled` leaves it out, so it
    flatters masks that are void wherever it is hard: read it beside `void`, the share of void pixels among all of them.

    Args:
        split: name of the split.
        matrix: (C, C + 1) from `core.metrics.confusion`, summed over the split's images.
        void: share of void pixels in the pseudo masks, 0..1.
        info: the data set's; without true masks there is only the last row, with `void` alone.
    """
    complete = void_as_background(matrix) if info.background else matrix
    columns = {
        "iou": class_iou(complete),
        "iou_labelled": class_iou(labelled_only(matrix)),
        "precision": class_precision(complete),
        "recall": class_recall(complete),
    }
    means = {key: mean_defined(values) for key, values in columns.items()}
    rows = []
    if info.masks:
        for label, name in enumerate(info.classes):
            rows.append({"split": split, "class": name} | {key: values[label] for key, values in columns.items()})
    return [*rows, {"split": split, "class": "mean", "void": void} | means]
