"""Boundary IoU: overlap of the bands along the outlines, which a large object's interior cannot hide."""

from __future__ import annotations

import math

import cv2
import numpy as np

from stages.core.dataset import VOID

WIDTH = 0.02  # of the image's diagonal, as in the paper


def boundary_counts(mask: np.ndarray, prediction: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pixels in the intersection and in the union of the true and the predicted band of each label, (256,) int64 each.

    Cheng, Girshick, Dollar, Berg, Kirillov: Boundary IoU, CVPR 2021, arXiv 2103.16562. A region's band is what d
    erosions with a 3 x 3 square take from it, d being 2 % of the image's diagonal; the image's border is an outline.
    Summed over images, intersection by union is the class's Boundary IoU.

    Difference from the paper, whose data have no void: a void pixel takes the prediction's label before the bands are
    drawn and counts in none, so that a void seam around an object neither makes an outline nor moves one.

    Args:
        mask: (H, W) uint8 true labels, 255 void.
        prediction: (H, W) uint8 labels, 255 for no decision.
    """
    void = mask == VOID
    filled = np.where(void, prediction, mask)
    distance = max(1, round(WIDTH * math.hypot(*mask.shape)))
    true, predicted = band(filled, distance) & ~void, band(prediction, distance) & ~void
    hits = np.bincount(filled[true & predicted & (filled == prediction)], minlength=VOID + 1)
    sums = (
        np.bincount(labels[where], minlength=VOID + 1) for labels, where in ((filled, true), (prediction, predicted))
    )
    return hits, sum(sums) - hits


def band(labels: np.ndarray, distance: int) -> np.ndarray:
    """Pixels (H, W) bool with another label, or the outside, within a square of `distance` pixels around them.

    One pair of filters serves all labels: the square holds one label where its least and its greatest are the same.
    """
    square = cv2.getStructuringElement(cv2.MORPH_RECT, (2 * distance + 1, 2 * distance + 1))
    mixed = cv2.erode(labels, square) != cv2.dilate(labels, square)
    for axis in (mixed, mixed.T):
        axis[:distance] = True
        axis[-distance:] = True
    return mixed
