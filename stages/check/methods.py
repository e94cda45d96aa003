"""The sections of each way to supervise: what is equal for all data sets, and what a recipe says.

A new method is a file under stages/segment/methods, a field in both classes here and, where it needs a whole view or a
background, its name in the tuples; a test compares all of them.
"""

from __future__ import annotations

from typing import Literal

from stages.check.section import NotNegative, Section, ShareBelowOne

WHOLE_VIEW = ("size_target",)  # a crop would change the sizes that they train on
BACKGROUND: tuple[str, ...] = ()  # these have no meaning where label 0 is an object


class Nothing(Section):
    """No keys."""


class PseudoMask(Section):
    """Training on pseudo masks."""

    match_sizes: bool


class GridPotts(Section):
    """The CRF term of training without label maps."""

    neighbours: Literal[4, 8]
    relaxation: Literal["bilinear", "quadratic"]


class CrossEntropy(Section):
    """Training on label maps."""

    label_smoothing: ShareBelowOne


class AveragePrediction(Section):
    """Losses on the average prediction with a CRF term, whose weight and grid depend on the resolution."""

    crf_weight: NotNegative
    loss_stride: Literal[1, 2, 4, 8]


class Methods(Section):
    """What is equal for all data sets: `methods`."""

    full: Nothing
    pseudo_mask: PseudoMask
    size_target: GridPotts
    tags: GridPotts


class RecipeMethods(Section):
    """What depends on the data set: `recipes.NAME.methods`."""

    full: CrossEntropy
    pseudo_mask: CrossEntropy
    size_target: AveragePrediction
    tags: AveragePrediction
