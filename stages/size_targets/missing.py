"""Sizes for all classes of an image when a file has them for some.

Three rules for a tagged class without a size, by name:

    tags        the k classes without a size and the background share equally what the known sizes leave: each gets
                1 / (k + 1) of it.
    class_mean  the mean size that the class has in the file, or where it has none there, that of all classes. Where
                they would take more than under `tags`, k / (k + 1) of what is left, they are scaled down to that.
    image_tags  the image is left to its tags: the background and all its classes have the same size, the known sizes
                of the image are not used.

Where the known sizes leave less than FLOOR of the image to the others, they are scaled down to 1 - FLOOR of it.

The background is the rest. In a data set without background there is nothing to share with (k in place of k + 1), and
the sizes of an image are divided by their sum.
"""

from __future__ import annotations

import numpy as np

from stages.core.faults import combine
from stages.size_targets.corrupt import FLOOR
from stages.size_targets.exchange import uniform

RULES = ("tags", "class_mean", "image_tags")


def complete(sizes: np.ndarray, tagged: np.ndarray, rule: str, background: bool, ids: list[str]) -> np.ndarray:
    """Relative sizes (N, C) float64; each row sums to 1, and every tagged class has a share.

    Args:
        sizes: (N, C) shares of the image, NaN where unknown; those of a row sum to at most 1. What is no tag is not
            read.
        tagged: (N, C) bool, the classes of each image, never the background.
        rule: tags, class_mean or image_tags, see the module.
        background: label 0 is the background.
        ids: of the images, for the message.

    Raises:
        Fault: an image has no class at all in a data set without background.
    """
    known = tagged & ~np.isnan(sizes)
    lacking = tagged & np.isnan(sizes)
    filled = np.where(known, sizes, 0)
    count = lacking.sum(1, keepdims=True)
    filled /= np.where(count > 0, np.maximum(filled.sum(1, keepdims=True) / (1 - FLOOR), 1), 1)
    rest = np.maximum(1 - filled.sum(1, keepdims=True), 0)
    faults = [] if background else [f"{ids[row]}: has no tag, and so no size" for row in np.flatnonzero(~tagged.any(1))]
    if faults:
        raise combine("size_targets: images whose sizes cannot be completed", faults)
    share = rest / np.maximum(count + int(background), 1)  # of each class without a size, and of the background
    if rule == "class_mean":
        wanted = np.where(lacking, means(filled, known), 0)
        total = wanted.sum(1, keepdims=True)
        filled += wanted * np.minimum(1, np.divide(share * count, total, out=np.ones_like(total), where=total > 0))
    elif rule == "tags":
        filled += np.where(lacking, share, 0)
    if background:
        filled[:, 0] = np.maximum(1 - filled[:, 1:].sum(1), 0)
    left = count > 0 if rule == "image_tags" else np.zeros_like(count, bool)
    present = tagged.copy()
    present[:, : int(background)] = True
    filled = np.where(left, uniform(present), filled)
    return filled / filled.sum(1, keepdims=True)


def means(sizes: np.ndarray, known: np.ndarray) -> np.ndarray:
    """The mean known size of each class, (C,); that of all classes where one has none, and 1 / C where none has."""
    total, count = np.where(known, sizes, 0).sum(0), known.sum(0)
    overall = total.sum() / count.sum() if count.any() else 1 / len(count)
    return np.divide(total, count, out=np.full(len(count), overall), where=count > 0)
