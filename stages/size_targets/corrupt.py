"""Synthetic errors of size targets that are a factor per object: normal, log-normal, or the same for all.

The abstract of arXiv 2503.06954 speaks of synthetically corrupted size targets without a formula, so the variants here
are named. With eps ~ N(0, sigma^2) per image and class, a size v becomes max(1 + eps, FLOOR) v (`relative_gaussian`) or
exp(eps) v (`lognormal`, whose factor is kept within FLOOR and 1 / FLOOR), and then

    background  the foreground is perturbed, the background is the rest: 1 - their sum. Where that would leave less
                than FLOOR of the true background, all foreground sizes are scaled down to leave as much as that.
    joint       the foreground is perturbed, the background keeps its size, and all are divided by their sum.
    all         every class is perturbed, the background too, and all are divided by their sum. The one variant for
                data sets without a background.

To first order in sigma an image with a single object of size v gets a mean relative error of sqrt(2 / pi) sigma times
1, (1 - v) and sqrt(2) (1 - v): the same sigma is a different error in each, so report the error that was reached
(`errors`). People do not err like this: their relative errors are larger for small objects and have heavier tails
(`human`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import numpy as np

from stages.core.faults import Fault

FLOOR = 0.001  # no size falls below this share of itself: it stays positive, so that the class stays in the target


def seed_words(image_id: str, seed: int) -> list[int]:
    """What the random numbers of an image start from: its id and the seed alone."""
    return [seed, int.from_bytes(hashlib.sha256(image_id.encode()).digest()[:8], "big")]


def noise(ids: list[str], num_classes: int, seed: int) -> np.ndarray:
    """Standard normal noise (len(ids), num_classes) float64.

    A row depends on its id and the seed alone, so that adding an image changes no other; an entry depends on its class
    too, so that neither the other classes nor sigma nor the variant changes the draw.
    """
    rows = [np.random.default_rng(seed_words(image_id, seed)).standard_normal(num_classes) for image_id in ids]
    return np.stack(rows)


def corrupt(
    true: np.ndarray,
    draws: np.ndarray,
    sigma: float,
    renormalise: str,
    background: bool,
    distribution: str = "relative_gaussian",
) -> np.ndarray:
    """Corrupted sizes (N, C) float64; each row sums to 1, a class that was absent stays so, sigma 0 changes nothing.

    The background is the exception: with `background` it can grow from nothing, as the rest that the objects leave.

    Args:
        true: (N, C), each row a distribution.
        draws: (N, C) standard normal.
        sigma: standard deviation of the relative error, or of its logarithm, before renormalisation.
        renormalise: background, joint or all, see the module.
        background: label 0 is the background.
        distribution: relative_gaussian or lognormal.

    Raises:
        Fault: the variant is unknown or asks for a background that there is not.
    """
    if renormalise not in VARIANTS:
        raise Fault(f"no size_targets.renormalise {renormalise!r}; there are {', '.join(VARIANTS)}")
    if sigma == 0:
        return true.copy()
    if not background and renormalise != "all":
        raise Fault(f"size_targets.renormalise: {renormalise} needs a background, which this data set lacks; use all")
    return VARIANTS[renormalise](true, FACTORS[distribution](sigma * draws))


def gaussian_factors(errors: np.ndarray) -> np.ndarray:
    """1 + error, at least FLOOR."""
    return np.maximum(1 + errors, FLOOR)


def lognormal_factors(errors: np.ndarray) -> np.ndarray:
    """exp(error), between FLOOR and 1 / FLOOR."""
    return np.exp(np.clip(errors, np.log(FLOOR), -np.log(FLOOR)))


def scaled(true: np.ndarray, factors: np.ndarray | float, background: bool) -> np.ndarray:
    """Each object's size times its factor, and the background the rest (variant `background`).

    Where there is no background, all are divided by their sum (variant `all`).
    """
    factors = np.broadcast_to(factors, true.shape)
    return background_is_rest(true, factors) if background else all_perturbed(true, factors)


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
FACTORS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "relative_gaussian": gaussian_factors,
    "lognormal": lognormal_factors,
}
