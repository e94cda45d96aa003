"""Choosing images so that every class has about as many small as medium as large instances."""

from __future__ import annotations

import hashlib

import numpy as np


def choose(counts: np.ndarray, target: int, priority: np.ndarray) -> np.ndarray:
    """Rows whose sum is close to `target` in every column.

    PASCAL-B (arXiv 2309.14117) draws images at random while it balances class and size. Images bring several instances
    at once, so a draw fills some cells too far. Here each step adds the image, or takes out a chosen one, that lowers

        sum over cells of (instances - target)^2

    most, until none lowers it. The square fills empty cells first and dislikes one large excess more than many
    small ones. The sum falls by at least 1 in each step, so the search ends.

    Args:
        counts: (images, cells) instances of each image in each class and size, integers.
        target: instances wanted in each cell.
        priority: (images,) distinct numbers; the lowest wins where several images are equally good.

    Returns:
        (images,) bool, the chosen ones.
    """
    counts = counts.astype(np.float64)  # whole numbers, which float64 sums without rounding in any order
    order = np.argsort(priority)
    counts = counts[order]
    own = (counts**2).sum(1)
    excess = np.full(counts.shape[1], -float(target))
    chosen = np.zeros(len(counts), bool)
    while len(counts):
        slope = 2 * (counts @ excess)
        change = np.where(chosen, own - slope, own + slope)
        best = int(change.argmin())
        if change[best] >= 0:
            break
        excess += -counts[best] if chosen[best] else counts[best]
        chosen[best] = not chosen[best]
    result = np.zeros(len(counts), bool)
    result[order] = chosen
    return result


def priorities(ids: list[str], seed: int) -> np.ndarray:
    """A rank for each id that depends on the id and the seed alone, so that the order of a pool changes nothing."""
    keys = [hashlib.sha256(f"{seed}:{image_id}".encode()).digest() for image_id in ids]
    ranks = np.empty(len(ids), np.int64)
    ranks[sorted(range(len(ids)), key=keys.__getitem__)] = np.arange(len(ids))
    return ranks


def deviation(counts: np.ndarray, chosen: np.ndarray, target: int) -> int:
    """What `choose` lowers: the sum over cells of the squared distance to the target."""
    return int(((counts[chosen].sum(0) - target) ** 2).sum())
