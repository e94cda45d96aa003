"""Weights that let a small object's pixels count more than a large one's in a cross-entropy."""

from __future__ import annotations

import numpy as np

from stages.core.dataset import VOID
from stages.core.metrics.instances import components

READINGS = ("image", "class")  # what a component's size is compared with


def size_weights(labels: np.ndarray, tau: float, reading: str = "image", background: bool = True) -> np.ndarray:
    """A weight per pixel, (H, W) float32: 1 on background, 0 on void, min(tau, N / S_k) on an object.

    Mun et al., "Small Objects Matters in Weakly-supervised Semantic Segmentation", WACV 2024, arXiv 2309.14117,
    equation 3. S_k is the number of pixels of the pixel's 8-connected component of equal label. The text leaves N open:

    - `image`: all object pixels of the map, whatever their class, which is what the authors' code computes. A lone
      object gets 1, and for tau >= 1 no object gets less than the background.
    - `class`: the pixels of the component's own class.

    Differences from the authors' code: it finds a component by its outer contour, so that S_k includes holes, and
    draws the contours of holes too, which gives the background in a hole a weight of up to tau; here a component is
    its own pixels and nothing else. It measures S_k at the resolution of the logits, here it is that of `labels`.

    Args:
        labels: (H, W) uint8 with at least one pixel, 255 void.
        tau: the largest weight.
        reading: what N is, `image` or `class`.
        background: label 0 is the background; otherwise every label is an object's.
    """
    if reading not in READINGS:
        raise ValueError(f"reading is {reading!r}, not one of {', '.join(READINGS)}")
    ids = components(labels, background)
    flat = ids.ravel()
    sizes = np.bincount(flat)
    # A component's first pixel differs from the one before; writing at such pixels only is quicker than at all.
    starts = np.flatnonzero(np.concatenate(([True], flat[1:] != flat[:-1])))
    owners = np.zeros(sizes.size, np.int64)
    owners[flat[starts]] = labels.ravel()[starts]
    objects = owners != VOID
    objects[0] = False  # the background, or void where there is none
    counted = sizes * objects
    total = counted.sum() if reading == "image" else np.bincount(owners, counted, VOID + 1)[owners]
    weights = np.where(objects, np.minimum(tau, total / np.maximum(sizes, 1)), owners != VOID)
    return np.take(weights.astype(np.float32), ids)
