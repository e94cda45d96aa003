"""How good activation maps and pseudo masks are: IoU, precision and recall, and IA-mIoU by object size."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from stages.core.dataset import VOID, Dataset, DatasetInfo
from stages.core.metrics.confusion import class_iou, class_precision, class_recall, confusion_matrix
from stages.core.metrics.image_counts import ImageCounts, count_image
from stages.core.metrics.means import mean_defined
from stages.core.metrics.summary import IA_SIZES, Summands

COLUMNS = ("split", "class", "iou", "iou_labelled", "precision", "recall", "ia_iou", *IA_SIZES, "void")


@dataclass(frozen=True)
class LabelScore:
    """One label map beside its truth.

    pixels, void: number of its pixels, and of those without a label.
    matrix: (C, C + 1) confusion matrix; zeros without a true mask.
    counts: of the map whose void pixels are background; None without a true mask.
    """

    pixels: int
    void: int
    matrix: np.ndarray
    counts: ImageCounts | None


@dataclass
class ScoreSum:
    """What the label maps of many images add up to.

    pixels, void, matrix: sums of those of `LabelScore`; counts: of each image that has some.
    """

    pixels: int = 0
    void: int = 0
    matrix: np.ndarray | int = 0
    counts: list[ImageCounts] = field(default_factory=list)

    def add(self, score: LabelScore) -> None:
        """Adds one image. Its matrix is not kept: tens of thousands of them would fill the memory."""
        self.pixels += score.pixels
        self.void += score.void
        self.matrix = self.matrix + score.matrix
        if score.counts:
            self.counts.append(score.counts)


def score_labels(dataset: Dataset, image_id: str, labels: np.ndarray) -> LabelScore:
    """Compares a label map (H, W) uint8, 255 void, with the truth of an image."""
    info = dataset.info
    void = labels == VOID
    if not dataset.has_mask(image_id):
        empty = np.zeros((len(info.classes), len(info.classes) + 1), np.int64)
        return LabelScore(labels.size, int(void.sum()), empty, None)
    truth = dataset.mask(image_id)
    matrix = confusion_matrix(truth, labels, len(info.classes))
    if info.background:
        labels = np.where(void, 0, labels).astype(np.uint8)
    complete = void_as_background(matrix) if info.background else matrix
    counts = count_image(image_id, complete, truth, dataset.instances(image_id), labels, info.background)
    return LabelScore(labels.size, int(void.sum()), matrix, counts)


def void_as_background(matrix: np.ndarray) -> np.ndarray:
    """The confusion matrix (C, C + 1) with the pixels that are left void counted as label 0."""
    result = matrix.copy()
    result[:, 0] += result[:, -1]
    result[:, -1] = 0
    return result


def labelled_only(matrix: np.ndarray) -> np.ndarray:
    """The confusion matrix (C, C + 1) without the pixels that are left void."""
    result = matrix.copy()
    result[:, -1] = 0
    return result


def score_rows(split: str, scores: ScoreSum, info: DatasetInfo) -> list[dict[str, Any]]:
    """A row per class and a last one, `mean`, over the classes that the split's truth shows.

    Pixels whose truth is void count nowhere. What a void pixel of a pseudo mask counts as differs between papers, so
    there are two IoUs. `iou`, `precision` and `recall` take it for background, as reports of pseudo-mask mIoU do; in a
    data set without a background it is a pixel of its true class that is missed. `iou_labelled` leaves it out, so it
    flatters masks that are void wherever it is hard: read it beside `void`, the share of void pixels among all of them.
    `ia_iou` and its parts by size are the mean IoU of the instances, in mode `exact` (see `core.metrics.ia_miou`), void
    taken as for `iou`.

    Args:
        split: name of the split.
        scores: of the split's images, at least one.
        info: the data set's; of a split without true masks there is only the last row, with `void` alone.
    """
    matrix = scores.matrix
    complete = void_as_background(matrix) if info.background else matrix
    columns = {
        "iou": class_iou(complete),
        "iou_labelled": class_iou(labelled_only(matrix)),
        "precision": class_precision(complete),
        "recall": class_recall(complete),
    }
    rows = []
    if scores.counts:
        sums = Summands(scores.counts, info.size_bins, len(info.classes), info.background).sums()
        columns["ia_iou"] = sums.class_ia_iou()[0]
        columns |= dict(zip(IA_SIZES, sums.class_size_ia_iou()[0].T, strict=True))
        for label, name in enumerate(info.classes):
            rows.append({"split": split, "class": name} | {key: values[label] for key, values in columns.items()})
    void = scores.void / scores.pixels
    means = {key: float(mean_defined(values)) for key, values in columns.items()}
    return [*rows, {"split": split, "class": "mean", "void": void} | means]
