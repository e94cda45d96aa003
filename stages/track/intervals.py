"""What a mean over seeds is worth: Student's t intervals, and differences of the same seeds."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence

from scipy.stats import t

LEAST_SEEDS = 3  # of an interval; that of two is 13 standard errors wide


def half_interval(values: Sequence[float]) -> float | None:
    """Half the 95 % t interval of the mean; None for fewer than three values."""
    if len(values) < LEAST_SEEDS:
        return None
    return float(t.ppf(0.975, len(values) - 1)) * statistics.stdev(values) / math.sqrt(len(values))


def differences(scores: Mapping[str, float], baseline: Mapping[str, float]) -> list[float]:
    """Score minus that of the baseline, for each seed that both have, in the order of the seeds.

    A seed decides initial weights, order and augmentation, and the classifier of all methods, so that two methods of
    one seed have much of their luck in common.
    """
    return [scores[seed] - baseline[seed] for seed in sorted(scores) if seed in baseline]
