"""The keys that the trainings have in common, and how they augment."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Discriminator, Field, Tag, model_validator

from stages.check.section import Count, NotNegative, Positive, Scale, Section, Share, ShareBelowOne, broken


def is_keep(value: Any) -> Any:
    """The word keep."""
    if value != "keep":
        raise broken("must be keep or the range [low, high] of the long side in pixels")
    return value


def is_range(values: list[int]) -> list[int]:
    """Low and high, which may be equal."""
    if values[0] > values[1]:
        raise broken("must be [low, high]")
    return values


def no_crop(value: Any) -> Any:
    """The word none."""
    if value != "none":
        raise broken("must be none or a whole number of pixels")
    return value


class Augment(Section):
    """How a training image is changed at random, see `stages.core.transforms.augment`."""

    resize: Annotated[
        Annotated[Any, AfterValidator(is_keep), Tag("word")]
        | Annotated[list[Count], Field(min_length=2, max_length=2), AfterValidator(is_range), Tag("range")],
        Discriminator(lambda value: "range" if isinstance(value, list) else "word"),
    ]
    crop: Annotated[
        Annotated[Any, AfterValidator(no_crop), Tag("word")] | Annotated[Count, Tag("side")],
        Discriminator(lambda value: "side" if type(value) is int else "word"),
    ]
    flip: bool
    rotate90: bool
    jitter: Share


class Optimisation(Section):
    """An optimiser, its schedule and its length: what `stages.core.training.train` reads, and the samples' views."""

    epochs: Count
    batch_size: Count
    optimizer: Literal["adamw", "sgd"]
    lr: Positive
    head_lr_factor: Positive
    biases: Literal["as_weights", "caffe"]
    momentum: ShareBelowOne
    weight_decay: NotNegative
    schedule: Literal["one_cycle", "poly"]
    warmup: ShareBelowOne
    precision: Literal["float32", "bfloat16", "float16"]
    accumulate: Count
    ema: ShareBelowOne
    compile: bool
    batch_norm: Literal["train", "frozen"]
    augment: Augment

    @model_validator(mode="after")
    def divides(self) -> Optimisation:
        """A batch has equal parts."""
        if self.batch_size % self.accumulate:
            raise broken(f"must divide batch_size ({self.batch_size})", "accumulate", self.accumulate)
        return self


class Training(Optimisation):
    """Training of a network with its encoder, and at which scale it is validated."""

    output_stride: Literal[8, 16, 32]
    validate_scale: Scale
