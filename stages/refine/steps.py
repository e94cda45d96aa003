"""metrics/refine_steps.csv: what each step from the activation maps to the pseudo masks is worth."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stages.core.metrics.summary import IA_SIZES

COLUMNS = ("split", "step", "miou", "precision", "recall", "ia_miou", *IA_SIZES, "void", "ece")


def step_row(split: str, step: str, mean: Mapping[str, Any], ece: float) -> dict[str, Any]:
    """The row of a step.

    Every step is labelled in one way, by the best class where its score is above the `foreground` in use and by the
    background elsewhere (in a data set without background, by the best class everywhere); the pseudo masks are taken as
    they are, void for background. Without a CRF, and with a background, the last step before them has their mIoU.

    Args:
        split: name of the split.
        step: `cam`, `walk`, `pamr` or `pseudo_mask`.
        mean: the last row of `score_rows`.
        ece: expected calibration error of the step's scores in 0..1; NaN for labels, which have none.
    """
    scores = {"miou": mean["iou"], "ia_miou": mean.get("ia_iou", float("nan")), "ece": ece}
    same = {name: mean.get(name, float("nan")) for name in COLUMNS if name not in scores}
    return same | scores | {"split": split, "step": step}
