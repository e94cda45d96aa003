"""The sections of each way to supervise: what is equal for all data sets, and what a recipe says.

A new method is a file under stages/segment/methods, a field in both classes here and, where it needs a whole view or a
background, its name in the tuples; a test compares all of them.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Discriminator, Field, Tag, model_validator

from stages.check.crf import Crf
from stages.check.section import (
    MOST,
    Count,
    Dilations,
    NotNegative,
    Positive,
    Scale,
    Section,
    Share,
    ShareBelowOne,
    Width,
    broken,
    none_or,
)

WHOLE_VIEW = ("size_target", "tags")  # a crop would change the sizes that they train on, or lose a tagged class
BACKGROUND = ("single_stage", "rrm")  # these have no meaning where label 0 is an object


def is_all(value: Any) -> Any:
    """The word all."""
    if value != "all":
        raise broken("must be all or a whole number of images")
    return value


AllOrCount = Annotated[
    Annotated[Any, AfterValidator(is_all), Tag("word")] | Annotated[Count, Tag("number")],
    Discriminator(lambda value: "number" if type(value) is int else "word"),
]


class CrossEntropyKind(Section):
    """Which cross-entropy, and the two keys of `ohem`."""

    ce: Literal["plain", "balanced", "ohem"]
    keep_share: Share
    threshold: Annotated[float, Field(gt=0, le=1)]


class CrfTerm(Section):
    """Which CRF term, and the two keys of `grid_potts`."""

    crf: Literal["none", "grid_potts", "dense_energy", "rloss"]
    neighbours: Literal[4, 8]
    relaxation: Literal["bilinear", "quadratic", "collision", "log_quadratic", "normalised_quadratic"]


class Full(CrossEntropyKind):
    """Training on true masks."""

    match_sizes: bool
    images: AllOrCount


class PseudoMask(CrossEntropyKind, CrfTerm):
    """Training on pseudo masks."""

    match_sizes: bool


class SizeTarget(CrfTerm):
    """Training on size targets."""

    size_loss: Literal["forward_kl", "reverse_kl", "squared", "quadratic_barrier", "log_barrier"]
    margin: Share
    t: Positive
    growth: Annotated[float, Field(ge=1, le=1000)]
    seeds: Literal["none", "pseudo_masks", "nested_masks"]
    labelled: Annotated[int, Field(ge=0, le=int(MOST))]


class SizeBalanced(Section):
    """Training on pseudo masks with size-weighted cross-entropy and elastic weight consolidation."""

    labels: Literal["pseudo_masks", "masks"]
    tau: Positive
    reading: Literal["image", "class"]
    normalise_ce: Literal["weights", "pixels"]
    fisher: Literal["per_sample", "batch", "running"]
    fisher_normalise: Literal["none", "tensor", "all"]


class Smoothing(Section):
    """Cross-entropy on label maps."""

    label_smoothing: ShareBelowOne


class CrfWeight(Section):
    """A CRF term's weight and scale, which depend on the resolution."""

    crf_weight: NotNegative
    rloss_weight: NotNegative
    loss_stride: Literal[1, 2, 4, 8]
    xy: Width
    rgb: Width


class PseudoMaskRecipe(Smoothing, CrfWeight):
    """Cross-entropy and a CRF term."""


def is_series(value: str) -> str:
    """The word none, or a regular expression that names a subject and a place."""
    if value == "none":
        return value
    try:
        groups = re.compile(value).groupindex
    except (re.error, OverflowError, RecursionError) as error:
        raise broken(f"must be none or a regular expression ({error})") from None
    if not {"subject", "place"} <= set(groups):
        raise broken("must be none or a regular expression with the groups (?P<subject>...) and (?P<place>...)")
    return value


class Nested(Section):
    """A round object in another one, see `stages.segment.nested_masks`."""

    inner: str
    outer: str
    beside: str
    series: Annotated[str, AfterValidator(is_series)]
    long_side: Annotated[int, Field(ge=32, le=8192)]
    reach: Annotated[float, Field(ge=1, le=1000)]
    trust: Annotated[float, Field(gt=0, le=1)]

    @model_validator(mode="after")
    def names_differ(self) -> Nested:
        """One class has one place."""
        for key, others in (("outer", ("inner",)), ("beside", ("inner", "outer"))):
            same = [other for other in others if getattr(self, key) == getattr(self, other)]
            if same:
                raise broken(f"must be another class than {same[0]}", key, getattr(self, key))
        return self


class SizeTargetRecipe(CrfWeight):
    """Size loss, CRF term and seeds."""

    size_weight: NotNegative
    seed_weight: NotNegative
    nested: none_or(Nested)


class Consolidation(Section):
    """Elastic weight consolidation."""

    ewc_weight: NotNegative
    task_a: Share
    fisher_images: AllOrCount
    fisher_batch: Count


class SingleStage(Section):
    """Training on tags and on the segmenter's own masks."""

    focal_power: Annotated[float, Field(ge=1, le=100)]
    focal_floor: Positive
    foreground: Share
    background: Share
    lowest: Share
    iterations: Count


class SingleStageRecipe(Section):
    """When it begins to learn from its own masks, and on which grid."""

    pretrain: Share
    loss_stride: Literal[1, 2, 4, 8]
    dilations: Dilations


class Reliable(Section):
    """The rule of reliable pixels, see `stages.segment.losses.reliability`."""

    foreground_alpha: Positive
    background_alpha: Positive
    probability: Share
    background_score: Share
    floor: Share
    quantile: ShareBelowOne


class Energy(Section):
    """The gated dense energy, see `stages.segment.losses.dense_energy`."""

    weight: NotNegative
    xy: Width
    rgb: Width
    scale: Annotated[float, Field(gt=0, le=1)]
    normalisation: Literal["per_pixel", "authors"]


class Rrm(Section):
    """Two branches on one encoder."""

    classify_first: Share
    extra_scales: list[Scale]
    reliable: Reliable
    crf: Crf
    crf_stride: Count
    energy: Energy


class Nothing(Section):
    """No keys."""


class Methods(Section):
    """What is equal for all data sets: `methods`."""

    full: Full
    pseudo_mask: PseudoMask
    size_balanced: SizeBalanced
    size_target: SizeTarget
    tags: CrfTerm
    single_stage: SingleStage
    rrm: Nothing


class RecipeMethods(Section):
    """What depends on the data set: `recipes.NAME.methods`."""

    full: Smoothing
    pseudo_mask: PseudoMaskRecipe
    size_balanced: Consolidation
    size_target: SizeTargetRecipe
    tags: CrfWeight
    single_stage: SingleStageRecipe
    rrm: Rrm
