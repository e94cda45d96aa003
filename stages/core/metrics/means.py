"""Ratios and means in which what is undefined is NaN and counts nowhere."""

from __future__ import annotations

import numpy as np


def ratio(part: np.ndarray, whole: np.ndarray, defined: np.ndarray | None = None) -> np.ndarray:
    """part / whole, NaN where it is not `defined`, by default where the whole is 0."""
    defined = (whole > 0) if defined is None else defined
    return np.divide(part, whole, out=np.full(np.shape(whole), np.nan), where=defined)


def mean_defined(values: np.ndarray, axis: int = -1) -> np.ndarray:
    """Mean over `axis` of the values that are not NaN; NaN where all are (or there are none)."""
    defined = ~np.isnan(values)
    return ratio(np.where(defined, values, 0).sum(axis), defined.sum(axis))
