"""Relative sizes from pseudo masks: what somebody has who knows tags alone."""

from __future__ import annotations

import numpy as np

from stages.core.dataset import Dataset
from stages.core.faults import Fault
from stages.core.files import ZipReader
from stages.size_targets.measure import class_pixels


def pseudo_sizes(dataset: Dataset, ids: list[str], pseudo_masks: ZipReader, void: str) -> np.ndarray:
    """Relative sizes (N, C) float64 in the pseudo masks; each row sums to 1.

    The tags are trusted more than the masks: a class that an image's mask shows and its tags do not is left out, and
    one that the tags have and the mask does not gets the mean size that the class has in the images whose masks show
    it (of all classes, where none does), since a size target of 0 would deny it.

    Args:
        dataset: gives the tags.
        ids: of the images.
        pseudo_masks: archive with masks/ID.png, 255 where a mask decides nothing.
        void: `excluded` leaves such pixels out of the whole, `included` counts them as background.

    Raises:
        Fault: an image has neither a labelled pixel nor a tag, in a data set without background.
    """
    background = dataset.info.background
    counts = np.stack(
        [class_pixels(pseudo_masks.png(f"masks/{image_id}.png"), dataset.num_classes) for image_id in ids]
    ).astype(np.float64)
    if void == "included" and background:
        counts[:, 0] += counts[:, -1]
    first = dataset.foreground.start
    tagged = np.zeros((len(ids), dataset.num_classes), bool)
    tagged[:, first:] = dataset.tag_matrix(ids) > 0
    kept = tagged.copy()
    kept[:, :first] = True
    sizes = np.where(kept, counts[:, :-1], 0)
    sizes /= np.maximum(sizes.sum(1, keepdims=True), 1)
    seen = tagged & (sizes > 0)
    total = np.where(seen, sizes, 0).sum(0)
    overall = total.sum() / max(seen.sum(), 1) or 1 / dataset.num_classes
    usual = np.divide(total, seen.sum(0), out=np.full(len(total), overall), where=seen.any(0))
    sizes = np.where(tagged & ~seen, usual, sizes)
    empty = sizes.sum(1) == 0
    if empty.any() and not background:
        raise Fault(f"image {ids[int(empty.argmax())]} has neither a tag nor a labelled pixel, and so no size")
    sizes[empty, 0] = 1  # nothing but background
    return sizes / sizes.sum(1, keepdims=True)
