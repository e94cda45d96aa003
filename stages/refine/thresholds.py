"""Where activation maps are cut: the recipe's thresholds, or a pair placed around a threshold found without cheating.

A background threshold that is tuned on the masks of the training images is not weak supervision. Three rules choose:

- `fixed`: the recipe's `foreground` and `background`, as the paper has them.
- `validation`: the threshold of largest mIoU on some labelled images of `val`, whose number is reported: a small cost
  in masks. Where `val` is also the split of the headline numbers, these have seen its masks.
- `unsupervised`: Otsu's threshold of the scores of the training images, see `otsu`.

The `oracle`, of largest mIoU on the masks of the training images, is reported to show what is to be gained, and never
used. A threshold is one of the 256 levels k / 255 of a histogram, see `refine.histogram`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from stages.core.params import Params
from stages.refine.histogram import LEVELS, Curve, tagged_levels, threshold_curve

FIXED, VALIDATION, UNSUPERVISED, ORACLE = "fixed", "validation", "unsupervised", "oracle"
COLUMNS = ("rule", "threshold", "foreground", "background", "images", "miou_train", "miou_val", "chosen")
CURVE_COLUMNS = ("split", "threshold", "miou", "precision", "recall")
NAN = float("nan")


@dataclass(frozen=True)
class Choice:
    """What a rule says.

    threshold: the single one, 0..1; of `fixed` the middle of its pair, or `foreground` where there is no background.
    foreground, background: the pair that labels pseudo masks; NaN for a background that there is not.
    images: number of images that it was chosen on.
    """

    rule: str
    threshold: float
    foreground: float
    background: float
    images: int

    def applied(self, refine: Params) -> Params:
        """The recipe with this pair of thresholds; the recipe itself for `fixed`."""
        if self.rule == FIXED:
            return refine
        return Params(refine.plain() | {"foreground": self.foreground, "background": self.background}, "refine")


def fixed(refine: Params, background: bool) -> Choice:
    """The recipe's own thresholds."""
    if not background:
        return Choice(FIXED, refine.foreground, refine.foreground, NAN, 0)
    return Choice(FIXED, (refine.foreground + refine.background) / 2, refine.foreground, refine.background, 0)


def on_masks(rule: str, histogram: np.ndarray, refine: Params, background: bool, images: int) -> Choice | None:
    """The threshold of largest mIoU on the images of a histogram; None where none of their pixels has a true label."""
    level = best_level(threshold_curve(histogram, background).miou)
    return None if level is None else around(rule, level, refine, background, images)


def unsupervised(histogram: np.ndarray, refine: Params, background: bool, images: int) -> Choice | None:
    """Otsu's threshold of the scores of the tagged images of a histogram; None where there is none, see `otsu`."""
    level = otsu(tagged_levels(histogram))
    return None if level is None else around(UNSUPERVISED, level, refine, background, images)


def around(rule: str, level: int, refine: Params, background: bool, images: int) -> Choice:
    """The pair that lies around a threshold as the recipe's pair lies around its middle, cut to 0..1."""
    threshold = level / (LEVELS - 1)
    if not background:
        return Choice(rule, threshold, threshold, NAN, images)
    half = (refine.foreground - refine.background) / 2
    return Choice(rule, threshold, min(threshold + half, 1.0), max(threshold - half, 0.0), images)


def otsu(pixels: np.ndarray) -> int | None:
    """Otsu's threshold: the level k that best parts the pixels up to it from those above it.

    Otsu, "A Threshold Selection Method from Gray-Level Histograms", IEEE Transactions on Systems, Man and Cybernetics,
    1979, equation 18: of all k, the one of largest variance between the two classes,

        sigma_B^2(k) = (mu_T * omega(k) - mu(k))^2 / (omega(k) * (1 - omega(k)))

    omega(k) being the share of the pixels on levels 0..k, mu(k) = sum_(i <= k) i * p_i, p_i the share on level i, and
    mu_T the mean level. Where several levels are best, as in a gap between two modes, it is the middle one of them.

    Args:
        pixels: (L,) int64 number on each level.

    Returns:
        The level; None where no two levels hold pixels, since nothing can be parted then.
    """
    below, moment = pixels.cumsum(), (np.arange(pixels.size) * pixels).cumsum()
    total = below[-1]
    parts = (below > 0) & (below < total)
    if not parts.any():
        return None
    omega, mu = below / total, moment / total
    variance = np.full(pixels.size, np.nan)
    variance[parts] = (mu[-1] * omega[parts] - mu[parts]) ** 2 / (omega[parts] * (1 - omega[parts]))
    return best_level(variance)


def best_level(values: np.ndarray) -> int | None:
    """The level of the largest value, the middle one of several; None where all are NaN."""
    if np.isnan(values).all():
        return None
    best = np.flatnonzero(values == np.nanmax(values))
    return int(best[best.size // 2])


def threshold_rows(choices: Sequence[Choice], curves: Mapping[str, Curve], used: str) -> list[dict[str, Any]]:
    """A row per rule, with the mIoU of the labelling by its single threshold, before any CRF.

    The mIoU of a threshold between two levels is that of the nearest one.

    Args:
        choices: of all rules.
        curves: of train and val.
        used: the rule whose pair labelled the pseudo masks.
    """
    rows = []
    for choice in choices:
        level = round(choice.threshold * (LEVELS - 1))
        mious = {f"miou_{split}": curve.miou[level] for split, curve in curves.items()}
        rows.append(choice.__dict__ | mious | {"chosen": int(choice.rule == used)})
    return rows


def curve_rows(curves: Mapping[str, Curve]) -> list[dict[str, Any]]:
    """A row per split and level, of the splits with true labels."""
    return [
        {"split": split, "threshold": level / (LEVELS - 1)}
        | {name: values[level] for name, values in curve.__dict__.items()}
        for split, curve in curves.items()
        if not np.isnan(curve.miou).all()
        for level in range(LEVELS)
    ]
