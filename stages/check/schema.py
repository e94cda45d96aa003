"""The whole of params.yaml."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Discriminator, Field, Tag

from stages.check.datasets import DataSet
from stages.check.methods import Methods
from stages.check.recipes import Recipe
from stages.check.section import Count, Name, NotNegative, Section, Seed, Text, broken


class SizeTargets(Section):
    """Relative object sizes: how they are measured and how they are corrupted."""

    source: Literal["masks", "pseudo_masks"]
    void: Literal["excluded", "included"]
    corruption: Literal["none", "relative_gaussian"]
    sigma: NotNegative
    renormalise: Literal["background", "joint", "all"]
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
    seed: Seed
    datasets: dict[Name, DataSet]
    recipes: dict[Name, Recipe]
    methods: Methods
    size_targets: SizeTargets
    balance: Balance
    evaluate: Evaluate
