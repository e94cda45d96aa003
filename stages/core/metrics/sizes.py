"""Size bins of instances: small, medium and large by their area in pixels of the original image."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

SIZES = ("small", "medium", "large")


def size_bin(areas: np.ndarray, bounds: Sequence[int]) -> np.ndarray:
    """0 (small), 1 (medium) or 2 (large) for each area, int64.

    An area equal to a bound belongs to the larger bin, as in LVIS and in IA-mIoU (arXiv 2309.14117: 32^2 and 96^2).

    Args:
        areas: pixels.
        bounds: the two bounds in pixels, ascending.
    """
    return np.digitize(areas, bounds)


def octaves(areas: np.ndarray) -> np.ndarray:
    """The whole part of log2 of each area (at least 1 pixel), int64: k for 2^k <= area < 2^(k+1)."""
    return np.frexp(areas)[1].astype(np.int64) - 1


def class_size_counts(labels: np.ndarray, areas: np.ndarray, bounds: Sequence[int], num_classes: int) -> np.ndarray:
    """Instances by class and size, (num_classes, 3) int64, from their labels and areas in pixels."""
    cells = labels * len(SIZES) + size_bin(areas, bounds)
    return np.bincount(cells, minlength=num_classes * len(SIZES)).reshape(num_classes, len(SIZES))
