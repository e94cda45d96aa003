"""The whole of params.yaml."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Discriminator, Field, Tag

from stages.check.datasets import Archives, DataSet
from stages.check.methods import Methods
from stages.check.recipes import Recipe
from stages.check.section import Count, Name, Section, Seed, Share, Text, broken

LEAST_BOUND = 1e-6  # of the image: sizes have to stay positive in float32


def is_number(value: Any) -> bool:
    """Whether a value is a number; true and false are none."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def is_fill(value: Any) -> Any:
    """A rate, or one for each class."""
    rates = list(value.values()) if isinstance(value, dict) else [value]
    if not rates or not all(is_number(rate) and 0.001 <= rate <= 1 for rate in rates):
        raise broken("must be a number >= 0.001 and <= 1, or a table of such a number for each class")
    return value


def is_bins(value: Any) -> Any:
    """The word none, or the upper bounds of bins."""
    bounds = value if isinstance(value, list) else []
    if value != "none" and not (
        bounds
        and all(is_number(bound) and LEAST_BOUND <= bound < 1 for bound in bounds)
        and all(low < high for low, high in zip(bounds, bounds[1:], strict=False))
    ):
        raise broken("must be none or a list of increasing numbers >= 1e-6 and < 1")
    return value


class SizeTargets(Section):
    """Relative object sizes: where they come from and how they are corrupted."""

    source: Literal["masks", "pseudo_masks", "file", "boxes"]
    void: Literal["excluded", "included"]
    missing: Literal["tags", "class_mean", "image_tags"]
    fill: Annotated[Any, AfterValidator(is_fill)]
    corruption: Literal["none", "relative_gaussian", "lognormal", "human", "quantised", "biased", "swapped", "missing"]
    sigma: Annotated[float, Field(ge=0, le=10)]
    renormalise: Literal["background", "joint", "all"]
    scale: Annotated[float, Field(ge=0, le=10)]
    step: Annotated[float, Field(ge=0.001, le=0.5)]
    bins: Annotated[Any, AfterValidator(is_bins)]
    factor: Annotated[float, Field(ge=0.001, le=1000)]
    share: Share
    seed: Seed


def is_any(value: Any) -> Any:
    """The word any."""
    if value != "any":
        raise broken("must be any or a whole number of images")
    return value


class Balance(Section):
    """The size-balanced evaluation set."""

    instances_per_cell: Count
    images: Annotated[
        Annotated[Any, AfterValidator(is_any), Tag("word")] | Annotated[Count, Tag("number")],
        Discriminator(lambda value: "number" if type(value) is int else "word"),
    ]
    seed: Seed


class PascalB(Section):
    """The annotations that the rebuild of PASCAL-B is made of."""

    archives: Archives


class Evaluate(Section):
    """How predictions are scored, and pictures beside the numbers."""

    mode: Literal["exact", "paper"]
    bootstrap: Annotated[int, Field(ge=100, le=100_000)]
    samples: Annotated[int, Field(ge=1, le=100)]


class Everything(Section):
    """The top level of params.yaml; what relates its sections is in `relations`."""

    dataset: str
    method: str
    source: Text
    pseudo_masks: Text
    size_file: Text
    seed: Seed
    datasets: dict[Name, DataSet]
    recipes: dict[Name, Recipe]
    methods: Methods
    size_targets: SizeTargets
    balance: Balance
    pascal_b: PascalB
    evaluate: Evaluate
