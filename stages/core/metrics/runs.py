"""Label maps as runs: a few thousand stretches of equal pixels in place of some hundred thousand pixels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Runs:
    """Stretches of a row of pixels in which none of several maps changes; a run never crosses the end of a row.

    start: (R,) int64, flat index of each one's first pixel; pixels: (R,) int64, length of each.
    """

    start: np.ndarray
    pixels: np.ndarray

    def of(self, labels: np.ndarray) -> np.ndarray:
        """The value of a map (H, W) in each run, (R,)."""
        return labels.ravel()[self.start]


def find_runs(*maps: np.ndarray) -> Runs:
    """The runs of maps (H, W) of one shape."""
    changes = np.zeros(maps[0].shape, bool)
    changes[:, 0] = True
    for labels in maps:
        changes[:, 1:] |= labels[:, 1:] != labels[:, :-1]
    start = np.flatnonzero(changes)
    return Runs(start, np.diff(start, append=changes.size))
