"""Segmentation scores from one confusion matrix of a whole data set, as PASCAL VOC counts them.

Pixels whose truth is void are dropped. A prediction may be void too (a pseudo mask is, where it is uncertain): such a
pixel is wrong for its true class and a false positive of none, so a map cannot gain by abstaining.
"""

from __future__ import annotations

import numpy as np

from stages.core.dataset import VOID
from stages.core.metrics.means import mean_defined, ratio

LABELS = 256  # of a uint8 label map


def confusion_matrix(truth: np.ndarray, prediction: np.ndarray, num_classes: int) -> np.ndarray:
    """Pixels by true and predicted label.

    Args:
        truth: (H, W) labels of any integer type, 255 void.
        prediction: (H, W) labels of any integer type, 255 for no decision.
        num_classes: labels are 0 .. num_classes - 1.

    Returns:
        (num_classes, num_classes + 1) int64: rows true, columns predicted, the last column those without a decision.
        Matrices of several images add up.

    Raises:
        ValueError: the maps differ in shape, or hold a label that is neither a class nor 255.
    """
    if truth.shape != prediction.shape:
        raise ValueError(f"truth is {truth.shape} and prediction {prediction.shape}")
    codes = truth.astype(np.uint16).ravel() * LABELS + prediction.ravel()
    joint = np.bincount(codes, minlength=LABELS * LABELS).reshape(LABELS, LABELS)
    matrix = np.column_stack([joint[:num_classes, :num_classes], joint[:num_classes, VOID]])
    if matrix.sum() != joint[:VOID].sum() or joint[VOID, num_classes:VOID].any():
        wrong = {
            name: sorted(set(np.unique(labels).tolist()) - {*range(num_classes), VOID})
            for name, labels in {"truth": truth, "prediction": prediction}.items()
        }
        raise ValueError(f"labels beyond the {num_classes} classes: {wrong}")
    return matrix


def iou(true: np.ndarray, predicted: np.ndarray, hits: np.ndarray) -> np.ndarray:
    """IoU in 0..1 from pixel counts of any one shape; NaN for a class without true pixels, which counts in no mean.

    A class that is predicted though the truth never shows it does not enter the mean as a zero: its pixels are wrong
    for the class that they hide, which is in the mean.
    """
    return ratio(hits, true + predicted - hits, true > 0)


def class_iou(matrix: np.ndarray) -> np.ndarray:
    """IoU of each class, (C,), see `iou`."""
    square = matrix[:, : len(matrix)]
    return iou(matrix.sum(1), square.sum(0), np.diagonal(square))


def class_precision(matrix: np.ndarray) -> np.ndarray:
    """Share of the pixels predicted as each class that are right, (C,) in 0..1; NaN for a class never predicted."""
    square = matrix[:, : len(matrix)]
    return ratio(np.diagonal(square), square.sum(0))


def class_recall(matrix: np.ndarray) -> np.ndarray:
    """Share of each class's true pixels that are found, (C,) in 0..1; NaN for a class without true pixels."""
    return ratio(np.diagonal(matrix), matrix.sum(1))


def mean_iou(matrix: np.ndarray) -> float:
    """mIoU, 0..1: mean of `class_iou` over the classes with true pixels; NaN where there are none."""
    return float(mean_defined(class_iou(matrix)))


def all_background(matrix: np.ndarray) -> np.ndarray:
    """The matrix that a prediction of label 0 everywhere would have had: the score to beat, whatever the data set."""
    result = np.zeros_like(matrix)
    result[:, 0] = matrix.sum(1)
    return result
