"""Boundary IoU: bands by erosion one class at a time, as the paper defines them."""

from __future__ import annotations

import math

import cv2
import numpy as np

from stages.core.metrics.boundary import boundary_counts

V = 255


def paper_band(region: np.ndarray, distance: int) -> np.ndarray:
    """Region minus `distance` erosions with a 3 x 3 square, the outside of the image being no region."""
    padded = cv2.copyMakeBorder(region.astype(np.uint8), 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
    inner = cv2.erode(padded, np.ones((3, 3), np.uint8), iterations=distance)[1:-1, 1:-1]
    return region & (inner == 0)


def test_equals_the_paper_on_maps_without_void() -> None:
    generator = np.random.default_rng(0)
    for height, width in [(40, 60), (90, 31), (120, 150), (5, 9)]:
        distance = max(1, round(0.02 * math.hypot(height, width)))
        blocks = generator.integers(0, 4, (2, height // 4 + 1, width // 4 + 1), dtype=np.uint8)
        truth, prediction = (np.kron(b, np.ones((4, 4), np.uint8))[:height, :width].copy() for b in blocks)
        prediction[:2, :3] = V
        hits, union = boundary_counts(truth, prediction)
        for label in range(4):
            one, other = (paper_band(labels == label, distance) for labels in (truth, prediction))
            assert (hits[label], union[label]) == ((one & other).sum(), (one | other).sum())


def test_by_hand() -> None:
    # 20 x 20, so d = round(0.02 * 28.3) = 1: the band is one pixel wide
    truth, prediction = np.zeros((20, 20), np.uint8), np.zeros((20, 20), np.uint8)
    truth[5:11, 5:11] = 1
    prediction[5:11, 6:12] = 1  # the same square, one pixel to the right
    hits, union = boundary_counts(truth, prediction)
    # bands of 20 pixels each; they share the overlap of the upper and lower sides, 5 pixels each
    assert (hits[1], union[1]) == (10, 30)


def test_a_void_seam_neither_makes_nor_moves_an_outline() -> None:
    truth, prediction = np.zeros((30, 30), np.uint8), np.zeros((30, 30), np.uint8)
    truth[8:20, 8:20] = prediction[8:20, 8:20] = 1
    truth[7:21, 7:9] = V
    hits, union = boundary_counts(truth, prediction)
    assert hits[1] == union[1] > 0
    assert hits[0] == union[0] > 0


def test_void_everywhere_counts_nothing() -> None:
    hits, union = boundary_counts(np.full((6, 6), V, np.uint8), np.ones((6, 6), np.uint8))
    assert not hits.any()
    assert not union.any()
