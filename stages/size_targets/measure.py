"""Relative sizes of the classes in an image, measured on its true mask.

A size target is a distribution over all classes, the background included (Fan, Zhang & Boykov, "Approximate Size
Targets Are Sufficient for Accurate Semantic Segmentation", arXiv 2503.06954, section 1).
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from tqdm import tqdm

from stages.core.dataset import VOID, Dataset
from stages.core.faults import Fault, combine


def class_pixels(mask: np.ndarray, num_classes: int) -> np.ndarray:
    """Pixels of each class, and of void as the last entry: (num_classes + 1,) int64.

    Args:
        mask: (H, W) uint8 labels, 255 void.
        num_classes: labels are 0 .. num_classes - 1.

    Raises:
        ValueError: the mask holds another label.
    """
    counts = np.bincount(mask.ravel(), minlength=VOID + 1)
    if counts[num_classes:VOID].any():
        raise ValueError(f"label {num_classes + int(counts[num_classes:VOID].argmax())} is not a class")
    return np.append(counts[:num_classes], counts[VOID])


def split_pixels(dataset: Dataset, ids: Iterable[str]) -> np.ndarray:
    """`class_pixels` of each image, (N, num_classes + 1) int64.

    Raises:
        Fault: one of the images has no mask.
    """
    ids = list(ids)
    bar = tqdm(ids, unit="image", disable=None)
    return np.stack([class_pixels(dataset.mask(image_id), dataset.num_classes) for image_id in bar])


def shares(pixels: np.ndarray, void: str, background: bool, ids: list[str]) -> np.ndarray:
    """Relative sizes (N, C) float64; each row sums to 1.

    Args:
        pixels: (N, C + 1), void last.
        void: `excluded` leaves void pixels out of the whole. `included` counts them in it and, so that the sizes still
            sum to 1, as background: a foreground size is then a share of all pixels, as in the human size estimates of
            github.com/XFan2018/size-estimation-experiment.
        background: label 0 is the background.
        ids: of the images, for the message.

    Raises:
        Fault: void pixels are to be background in a data set without one, or excluding them leaves nothing of an image.
    """
    counts = pixels[:, :-1].astype(np.float64)
    if void == "included":
        if not background:
            raise Fault(
                "size_targets.void: included counts void pixels as background, which this data set does not have; "
                "use excluded"
            )
        counts[:, 0] += pixels[:, -1]
    whole = counts.sum(axis=1, keepdims=True)
    empty = [f"{ids[row]}: every pixel is void" for row in np.flatnonzero(whole == 0)]
    if empty:
        raise combine("images without a size; take them out of the split, or set size_targets.void: included", empty)
    return counts / whole
