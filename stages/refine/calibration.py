"""How far scores are from probabilities: accuracy by score, and the expected calibration error.

Guo, Pleiss, Sun & Weinberger, "On Calibration of Modern Neural Networks", ICML 2017, arXiv 1706.04599, equations 2 to
5, after Naeini, Cooper & Hauskrecht, "Obtaining Well Calibrated Probabilities Using Bayesian Binning", AAAI 2015:

    ECE = sum_m |B_m| / n * |acc(B_m) - conf(B_m)|

over equal bins B_m of the score; here of the n pixels of tagged images whose truth is known. conf is their mean score
and acc the share of them whose best class is the true one: a pixel of the background is wrong, whatever its score, so a
map is calibrated where a score of 0.3 is right in 30 of 100 pixels. There are 15 bins, as in the paper: they divide the
255 levels of a histogram evenly. Difference from the paper: conf is taken from the middles of the levels and is within
1 / 510 of the mean score.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from stages.core.metrics.means import ratio
from stages.refine.histogram import LEVELS, level_scores

COLUMNS = ("split", "bin", "score", "accuracy", "share", "ece_part")
BINS = 15
PER_BIN = (LEVELS - 1) // BINS  # levels; level 0 joins the first bin


def reliability(histogram: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean score, accuracy and share of the pixels in each bin, (15,) each; NaN score and accuracy of an empty one.

    Args:
        histogram: (256, C + 1, C + 1), see `refine.histogram`.
    """
    known = histogram[:, :-1, :-1]
    pixels, right = known.sum(axis=(1, 2)), np.trace(known, axis1=1, axis2=2)
    level = np.maximum(np.arange(LEVELS) - 1, 0) // PER_BIN
    total, score, hits = (
        np.bincount(level, values, BINS) for values in (pixels, pixels * level_scores(), right.astype(np.float64))
    )
    return ratio(score, total), ratio(hits, total), ratio(total, np.full(BINS, total.sum()))


def expected_calibration_error(histogram: np.ndarray) -> float:
    """ECE in 0..1; NaN without a pixel of a tagged image whose truth is known."""
    score, accuracy, share = reliability(histogram)
    return float("nan") if np.isnan(share).all() else float(np.nansum(share * np.abs(accuracy - score)))


def calibration_rows(split: str, histogram: np.ndarray) -> list[dict[str, Any]]:
    """A row per bin that holds pixels; the column `ece_part` adds up to the split's ECE."""
    score, accuracy, share = reliability(histogram)
    return [
        {
            "split": split,
            "bin": number + 1,
            "score": score[number],
            "accuracy": accuracy[number],
            "share": share[number],
            "ece_part": share[number] * abs(accuracy[number] - score[number]),
        }
        for number in np.flatnonzero(~np.isnan(score)).tolist()
    ]
