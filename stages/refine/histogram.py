"""Joint histogram of score, best class and true class, from which a labelling by any threshold is known exactly.

A threshold t on the best score labels a pixel with its best class where the score is above t, and with the background,
or void in a data set without one, elsewhere. The pixels of a data set are counted once, by the level of their best
score; cumulative sums over the levels are then the confusion matrices of the labellings by all thresholds k / 255.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from stages.core.dataset import VOID
from stages.core.metrics.confusion import mean_iou
from stages.core.metrics.means import ratio

LEVELS = 256
SLACK = 1e-3  # of a level: a score of k / 255, computed in float32, stays on level k


@dataclass(frozen=True)
class ScoreCounts:
    """One image's part of a histogram: the cells that it fills.

    cells: (P,) int64 rising indices into the flat histogram.
    pixels: (P,) int64 number of pixels in each.
    """

    cells: np.ndarray
    pixels: np.ndarray


@dataclass(frozen=True)
class Curve:
    """What a labelling by each threshold k / 255 is worth, k = 0..255; NaN where nothing defines it.

    miou: (256,) mean IoU over the classes with true pixels.
    precision: (256,) share of the pixels labelled with a class, other than the background, that are of that class.
    recall: (256,) share of the true pixels of the classes, other than the background, that get their label.
    """

    miou: np.ndarray
    precision: np.ndarray
    recall: np.ndarray


def score_levels(scores: np.ndarray) -> np.ndarray:
    """Scores of any shape in 0..1 as levels 0..255, int64: the least k with score <= k / 255.

    So a score is above the threshold k / 255 just where its level is above k, for each k.
    """
    return np.clip(np.ceil(scores * np.float32(LEVELS - 1) - SLACK), 0, LEVELS - 1).astype(np.int64)


def level_scores() -> np.ndarray:
    """The score that stands for each level, (256,): the middle of what falls into it, and 0 for level 0."""
    return np.maximum(np.arange(LEVELS) - 0.5, 0) / (LEVELS - 1)


def empty_histogram(num_classes: int) -> np.ndarray:
    """A histogram (256, C + 1, C + 1) int64 of level, best class and true class.

    The last best class is that of images without tags, which have no scores and are on level 0; the last true class is
    void or unknown.
    """
    return np.zeros((LEVELS, num_classes + 1, num_classes + 1), np.int64)


def count_scores(scores: np.ndarray, classes: np.ndarray, truth: np.ndarray | None, num_classes: int) -> ScoreCounts:
    """The part of one image.

    Args:
        scores: (K, H, W) in 0..1, of the tagged classes.
        classes: (K,) their labels.
        truth: (H, W) uint8 true labels, 255 void; None where the image has none.
        num_classes: number C of labels, the background included where there is one.
    """
    unknown, side = num_classes, num_classes + 1
    truth = np.full(scores.shape[1:], VOID, np.uint8) if truth is None else truth
    true = np.minimum(truth.astype(np.int64), unknown)
    if len(classes) == 0:
        local, classes = true, np.array([unknown])
    else:
        local = (score_levels(scores.max(axis=0)) * len(classes) + scores.argmax(axis=0)) * side + true
    pixels = np.bincount(local.ravel())
    filled = np.flatnonzero(pixels)
    pairs, true = np.divmod(filled, side)
    level, best = np.divmod(pairs, len(classes))
    cells = (level * side + classes[best]) * side + true
    return ScoreCounts(cells, pixels[filled])


def add_counts(histogram: np.ndarray, counts: ScoreCounts) -> None:
    """Adds one image's pixels to a histogram, in place."""
    histogram.reshape(-1)[counts.cells] += counts.pixels


def tagged_levels(histogram: np.ndarray) -> np.ndarray:
    """Pixels of tagged images on each level, (256,) int64, whatever their truth: what is known without any."""
    return histogram[:, :-1].sum(axis=(1, 2))


def threshold_matrices(histogram: np.ndarray, background: bool) -> np.ndarray:
    """Confusion matrices of the labellings by the thresholds k / 255, (256, C, C + 1) int64 as `confusion_matrix` has.

    Args:
        histogram: see `empty_histogram`.
        background: label 0 is the background, and what is not above the threshold; otherwise that is void.
    """
    known = histogram[:, :, :-1]
    above = known.sum(axis=0) - known.cumsum(axis=0)  # (level, best, true)
    matrices = np.zeros((LEVELS, known.shape[2], known.shape[1]), np.int64)
    matrices[:, :, :-1] = above[:, :-1].transpose(0, 2, 1)
    matrices[:, :, 0 if background else -1] += known.sum(axis=(0, 1)) - above[:, :-1].sum(axis=1)
    return matrices


def threshold_curve(histogram: np.ndarray, background: bool) -> Curve:
    """The scores of the labellings by the thresholds k / 255; arguments as for `threshold_matrices`."""
    matrices, first = threshold_matrices(histogram, background), int(background)
    hits = np.diagonal(matrices[:, :, :-1], axis1=1, axis2=2)[:, first:].sum(axis=1)
    return Curve(
        np.array([mean_iou(matrix) for matrix in matrices]),
        ratio(hits, matrices[:, :, first:-1].sum(axis=(1, 2))),
        ratio(hits, matrices[:, first:].sum(axis=(1, 2))),
    )
