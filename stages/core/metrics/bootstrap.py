"""How far a score would move with other images: percentile bootstrap over images, alone and for two prediction sets.

Efron and Tibshirani, An Introduction to the Bootstrap, 1993. A resample draws as many images as there are, with
replacement; all instances of an image come along, since they are not independent of each other. The interval tells
about other images of the same kind and nothing about other trainings.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from stages.core.metrics.summary import Summands

LEVEL = 95  # percent
CHUNK = 100  # resamples at a time


def resamples(images: int, count: int, seed: int) -> Iterator[np.ndarray]:
    """How often each image is drawn in each of `count` resamples: blocks of (at most CHUNK, images) float64."""
    generator = np.random.default_rng(seed)
    for start in range(0, count, CHUNK):
        yield generator.multinomial(images, np.full(images, 1 / images), min(CHUNK, count - start)).astype(np.float64)


def distribution(summands: Summands, count: int, seed: int = 0) -> dict[str, np.ndarray]:
    """Every headline score in each resample, (count,) each; the same seed draws the same images."""
    blocks = [summands.sums(weights).scores() for weights in resamples(summands.size, count, seed)]
    return {name: np.concatenate([block[name] for block in blocks]) for name in blocks[0]}


def interval(values: np.ndarray) -> tuple[float, float]:
    """The middle 95 % of a distribution; resamples in which the score is undefined are left out, NaN if all are."""
    defined = values[~np.isnan(values)]
    if not defined.size:
        return float("nan"), float("nan")
    tail = (100 - LEVEL) / 2
    low, high = np.percentile(defined, (tail, 100 - tail))
    return float(low), float(high)


def intervals(summands: Summands, count: int, seed: int = 0) -> dict[str, tuple[float, float]]:
    """The 95 % interval of every headline score."""
    return {name: interval(values) for name, values in distribution(summands, count, seed).items()}


def differences(one: Summands, other: Summands, count: int, seed: int = 0) -> Mapping[str, tuple[float, float, float]]:
    """Whether `other` is better than `one` on the same images: (low, high, share) for every headline score.

    Both are scored on the same resamples; (low, high) is the 95 % interval of other - one, and share that of the
    resamples in which other is not better (ties count), a one-sided p-value for "other is better".

    Raises:
        ValueError: the two are not of the same images.
    """
    if one.size != other.size:
        raise ValueError(f"a paired bootstrap needs the same images: {one.size} and {other.size}")
    first, second = distribution(one, count, seed), distribution(other, count, seed)
    result = {}
    for name in first:
        change = second[name] - first[name]
        defined = change[~np.isnan(change)]
        share = float((defined <= 0).mean()) if defined.size else float("nan")
        result[name] = (*interval(change), share)
    return result
