"""Synthetic errors of size targets: relative Gaussian noise, renormalised to a distribution.

The abstract of arXiv 2503.06954 speaks of synthetically corrupted size targets without a formula, so the variants here
are named. With eps ~ N(0, sigma^2) per image and class, a size v becomes max(1 + eps, FLOOR) v, and then

    background  the foreground is perturbed, the background is the rest: 1 - their sum. Where that would leave less
                than FLOOR of the true background, all foreground sizes are scaled down to leave as much as that.
    joint       the foreground is perturbed, the background keeps its size, and all are divided by their sum.
    all         every class is perturbed, the background too, and all are divided by their sum. The one variant for
                data sets without a background.

To first order in sigma an image with a single object of size v gets a mean relative error of sqrt(2 / pi) sigma times
1, (1 - v) and sqrt(2) (1 - v): the same sigma is a different error in each, so report the error that was reached
(`errors`). People do not err like this: their relative errors are larger for small objects and have heavier tails.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import numpy as np

from stages.core.faults import Fault

FLOOR = 0.001  # no size falls below this share of itself: it stays positive, so that the class stays in the target


def noise(ids: list[str], num_classes: int, seed: int) -> np.ndarray:
    """Standard normal noise (len(ids), num_classes) float64.

    A row depends on its id and the seed alone, so that adding an image changes no other; an entry depends on its class
    too, so that neither the other classes nor sigma nor the variant changes the draw.
    """

    def generator(image_id: str) -> np.random.Generator:
        digest = hashlib.sha256(image_id.encode()).digest()
        return np.random.default_rng([seed, int.from_bytes(digest[:8], "big")])

    return np.stack([generator(image_id).standard_normal(num_classes) for image_id in ids])


def corrupt(true: np.ndarray, draws: np.ndarray, sigma: float, renormalise: str, background: bool) -> np.ndarray:
    """Corrupted sizes (N, C) float64; each row sums to 1, a class that was absent stays so, sigma 0 changes nothing.

    The background is the exception: with `background` it can grow from nothing, as the rest that the objects leave.

    Args:
        true: (N, C), each row a distribution.
        draws: (N, C) standard normal.
        sigma: standard deviation of the relative error before renormalisation.
        renormalise: background, joint or all, see the module.
        background: label 0 is the background.

    Raises:
        Fault: the variant is unknown or asks for a background that there is not.
    """
    if renormalise not in VARIANTS:
        raise Fault(f"no size_targets.renormalise {renormalise!r}; there are {', '.join(VARIANTS)}")
    if sigma == 0:
        return true.copy()
    if not background and renormalise != "all":
        raise Fault(f"size_targets.renormalise: {renormalise} needs a background, which this data set lacks; use all")
    return VARIANTS[renormalise](true, np.maximum(1 + sigma * draws, FLOOR))


def background_is_rest(true: np.ndarray, factors: np.ndarray) -> np.ndarray:
    """Variant `background`."""
    objects = true[:, 1:] * factors[:, 1:]
    room, total = 1 - FLOOR * true[:, :1], objects.sum(axis=1, keepdims=True)
    objects *= np.divide(room, total, out=np.ones_like(total), where=total > room)
    return np.concatenate([np.maximum(1 - objects.sum(axis=1, keepdims=True), 0), objects], axis=1)


def background_keeps_weight(true: np.ndarray, factors: np.ndarray) -> np.ndarray:
    """Variant `joint`."""
    factors = factors.copy()
    factors[:, 0] = 1
    return all_perturbed(true, factors)


def all_perturbed(true: np.ndarray, factors: np.ndarray) -> np.ndarray:
    """Variant `all`."""
    sizes = true * factors
    return sizes / sizes.sum(axis=1, keepdims=True)


VARIANTS: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "background": background_is_rest,
    "joint": background_keeps_weight,
    "all": all_perturbed,
}
