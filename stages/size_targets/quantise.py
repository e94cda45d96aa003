"""Answers on a coarse scale: in steps of 5 or 10 %, or a few sizes such as small, medium and large.

An answer depends on the object's size alone, and on no other image.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def in_steps(true: np.ndarray, step: float) -> np.ndarray:
    """The multiple of `step` nearest to each size, halves upwards; 0 stays 0.

    Sizes below step / 2, for which that would be 0, become step / 4, the middle of them: a target of 0 would deny an
    object.
    """
    nearest = np.floor(true / step + 0.5) * step
    return np.where(true > 0, np.where(nearest > 0, nearest, step / 4), 0)


def in_bins(true: np.ndarray, bounds: Sequence[float]) -> np.ndarray:
    """The geometric centre of the bin that each size lies in; 0 stays 0.

    Args:
        true: shares of the image, 0 to 1.
        bounds: ascending, between 0 and 1: the upper bounds of all bins but the last, which ends at 1; a size equal to
            a bound lies in the smaller bin. The first bin is taken to be as wide in log size as the second, since a
            bin from 0 has no geometric centre.
    """
    upper = np.append(bounds, 1.0)
    lower = np.insert(upper[:-1], 0, upper[0] ** 2 / upper[1])
    centres = np.sqrt(lower * upper)
    return np.where(true > 0, centres[np.searchsorted(upper[:-1], true)], 0)


def quantised_factors(true: np.ndarray, step: float, bins: Sequence[float] | None) -> np.ndarray:
    """The answer to each size as a factor of it, shaped as `true`; 1 for absent classes."""
    answers = in_steps(true, step) if bins is None else in_bins(true, bins)
    return np.divide(answers, true, out=np.ones_like(true), where=true > 0)
