"""The sections under `recipes`: all that depends on a data set's resolution or classes."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from stages.check.crf import Crf
from stages.check.methods import RecipeMethods
from stages.check.networks import ONE_LEVEL, Architecture, Encoder, is_plain_vit, shares_encoder
from stages.check.section import (
    Count,
    Dilations,
    Positive,
    Radius,
    Scales,
    Section,
    Share,
    ShareBelowOne,
    SplitName,
    all_different,
    broken,
    none_or,
)
from stages.check.training import Optimisation, Training


def is_weights(value: str) -> str:
    """Where an encoder's first weights come from."""
    if value not in ("none", "imagenet") and not value.startswith("/"):
        raise broken("must be none, imagenet or the absolute path of a state dict", choices=("none", "imagenet"))
    return value


class LabelCrf(Crf):
    """Dense CRF inference on labels that are trusted only so far."""

    confidence: Annotated[float, Field(gt=0, lt=1)]


class Thresholds(Section):
    """Activation maps -> labels, see `stages.core.two_thresholds`."""

    foreground: Share
    background: Share
    crf: none_or(LabelCrf)

    @model_validator(mode="after")
    def is_ordered(self) -> Thresholds:
        """Between the two thresholds a pixel is void; equal ones leave none so."""
        if self.background > self.foreground:
            raise broken(f"must be <= foreground ({self.foreground})", "background", self.background)
        return self


class Classifier(Training):
    """Image tags -> classifier."""

    encoder: Encoder
    weights: Annotated[str, AfterValidator(is_weights)]
    dropout: ShareBelowOne
    loss: Literal["multilabel_soft_margin", "bce"]


class Cam(Section):
    """Classifier -> class activation maps."""

    extractor: Literal["cam", "grad_cam_pp", "layer_cam"]
    level: Annotated[int, Field(ge=-5, lt=0)]
    scales: Scales
    flip: bool
    stride: Count
    batch_size: Count

    @model_validator(mode="after")
    def reads_the_last_level(self) -> Cam:
        """The head's weights are those of the last level's channels."""
        if self.extractor == "cam" and self.level != -1:
            raise broken("must be -1 for extractor cam", "level", self.level)
        return self


class NoAffinity(Section):
    """No boundary network: `refine` cannot walk."""

    kind: Literal["none"]


class Irn(Optimisation, Thresholds):
    """The boundary network of the random walk, on the classifier's encoder, which stays as it is."""

    kind: Literal["irn"]
    stride: Count
    radius: Radius
    batch_norm: Literal["frozen"]


class Walk(Section):
    """The random walk of the activation maps, see `stages.core.filters.random_walk`."""

    radius: Radius
    beta: Positive
    steps: Count


class Pamr(Section):
    """Pixel-adaptive refinement of the activation maps, see `stages.core.filters.pamr`."""

    kernel: Literal["pamr", "par"]
    dilations: Dilations
    iterations: Count


class Refine(Thresholds):
    """Activation maps -> pseudo masks."""

    threshold: Literal["fixed", "validation", "unsupervised"]
    validation_images: Count
    walk: none_or(Walk)
    pamr: none_or(Pamr)


class Segmenter(Training):
    """Training of the segmentation network, whatever the method."""

    architecture: Architecture
    validate_every: Count


class Predict(Section):
    """Segmenter -> predictions."""

    splits: Annotated[list[SplitName], Field(min_length=1), AfterValidator(all_different)]
    model: Literal["last", "best"]
    scales: Scales
    flip: bool
    batch_size: Count
    crf: none_or(Crf)


class Recipe(Section):
    """All rooms of one data set."""

    classifier: Classifier
    cam: Cam
    affinity: Annotated[NoAffinity | Irn, Field(discriminator="kind")]
    refine: Refine
    segmenter: Segmenter
    predict: Predict
    methods: RecipeMethods

    @model_validator(mode="after")
    def fits_a_transformer(self) -> Recipe:
        """A plain vision transformer has one level, at the stride of its patches."""
        if is_plain_vit(self.classifier.encoder):
            if self.segmenter.architecture not in ONE_LEVEL:
                rule = f"must be {', '.join(ONE_LEVEL)} on a plain vision transformer"
                raise broken(rule, "segmenter.architecture", self.segmenter.architecture)
            if self.segmenter.output_stride != self.classifier.output_stride:
                rule = f"must be the classifier's ({self.classifier.output_stride}), the patches of the transformer"
                raise broken(rule, "segmenter.output_stride", self.segmenter.output_stride)
        return self

    @model_validator(mode="after")
    def shares_the_encoder(self) -> Recipe:
        """The segmenter starts from the classifier's encoder, so it must have the same one."""
        architecture, encoder = self.segmenter.architecture, self.classifier.encoder
        if not shares_encoder(architecture, encoder):
            rule = f"must be built on the classifier's encoder ({encoder})"
            raise broken(rule, "segmenter.architecture", architecture)
        return self
