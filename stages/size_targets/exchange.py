"""Errors of whole images: the sizes of another image, or no sizes at all.

Whether an image is chosen is a draw of its own, from its id and the seed: a share of the images in expectation. The
images that are chosen for a share are also chosen for every larger one.
"""

from __future__ import annotations

import numpy as np

from stages.size_targets.corrupt import seed_words


def chances(ids: list[str], seed: int) -> np.ndarray:
    """Two numbers in [0, 1) per image, (len(ids), 2) float64: what decides on it, and its place among the others.

    A row depends on its id and the seed alone, and on no draw of `corrupt.noise`.
    """
    return np.stack([np.random.default_rng([*seed_words(image_id, seed), 1]).random(2) for image_id in ids])


def present(sizes: np.ndarray, background: bool) -> np.ndarray:
    """The classes of each image, (N, C) bool; the background is in all."""
    found = sizes > 0
    found[:, : int(background)] = True
    return found


def uniform(classes: np.ndarray) -> np.ndarray:
    """The same share for each of an image's classes, (N, C): what somebody knows who has its tags alone.

    It is the target whose cross-entropy the method `tags` minimises.
    """
    return classes / classes.sum(axis=1, keepdims=True)


def without_sizes(sizes: np.ndarray, draws: np.ndarray, share: float, background: bool) -> np.ndarray:
    """Corruption `missing`: `share` of the images (N, C) are left to their tags, see `uniform`."""
    return np.where(draws[:, :1] < share, uniform(present(sizes, background)), sizes)


def partners(number: np.ndarray, places: np.ndarray) -> np.ndarray:
    """For each image the index of the one that comes next on a circle of those with equal `number`, (N,) int64.

    A new image takes one place on one circle, so it becomes the partner of one image and changes no other's.

    Args:
        number: (N,) whole numbers.
        places: (N,) places on the circle, in [0, 1).
    """
    order = np.lexsort((places, number))
    following = np.roll(order, -1)
    starts = np.flatnonzero(np.diff(number[order], prepend=-1))
    ends = np.append(starts[1:], len(order)) - 1
    following[ends] = order[starts]
    result = np.empty_like(order)
    result[order] = following
    return result


def swapped(sizes: np.ndarray, draws: np.ndarray, share: float, background: bool) -> np.ndarray:
    """Corruption `swapped`: `share` of the images (N, C) get the sizes of another image.

    An image keeps its classes: it has a partner with as many (see `partners`), whose background's share becomes its
    background's, and whose first class's, in the order of the labels, its first class's, and so on. An image that is
    alone in its number of classes keeps its sizes.
    """
    classes = present(sizes, background)
    slots = np.argsort(~classes, axis=1, kind="stable")
    packed = np.take_along_axis(sizes, slots, axis=1)
    result = np.empty_like(sizes)
    np.put_along_axis(result, slots, packed[partners(classes.sum(axis=1), draws[:, 1])], axis=1)
    return np.where(draws[:, :1] < share, result, sizes)
