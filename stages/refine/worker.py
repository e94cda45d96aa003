"""The work on one image, as objects that a worker process can be sent."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from stages.core.dataset import Dataset
from stages.core.files import ZipReader, encode_png
from stages.core.label_files import BadMap, LabelFiles
from stages.core.params import Params
from stages.core.two_thresholds import NONE, label_scores, read_maps, upsample
from stages.refine.histogram import ScoreCounts, count_scores
from stages.refine.imported import imported_mask
from stages.refine.one_image import CAM, best_labels, last, score_steps
from stages.refine.score_files import scores_of
from stages.refine.scores import LabelScore, score_labels

PSEUDO_MASK = "pseudo_mask"  # the step after the score maps


@dataclass(frozen=True)
class Sources:
    """What an image's scores are made of.

    dataset: with images; cams: cam.zip; edges: edges.zip, read where `refine` has a walk.
    refine: the section of params.yaml.
    scores: another method's score maps, in the place of cam.zip; None to read that.
    """

    dataset: Dataset
    cams: ZipReader
    edges: ZipReader
    refine: Params
    scores: LabelFiles | None = None

    def ids(self, split: str) -> list[str]:
        """The images of a split that have score maps; another method need not have made those of val."""
        ids = self.dataset.ids(split)
        return ids if self.scores is None else [image_id for image_id in ids if image_id in self.scores.members]

    def maps(self, image_id: str) -> np.ndarray:
        """The score maps of an image's tags, (K, h, w) uint8, 255 = 1.

        Raises:
            Fault: the image has no activation maps, or not one for each tag.
            BadMap: another method's file is no score map of this image.
        """
        if self.scores is None:
            return read_maps(self.cams, self.dataset, image_id)
        record, tags = self.dataset.records[image_id], self.dataset.tags(image_id)
        return scores_of(self.scores, image_id, self.dataset.foreground, tags, (record.height, record.width))

    def steps(self, image_id: str) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """The image (H, W, 3) and its scores after each step, see `score_steps`.

        Raises:
            Fault, BadMap: see `maps`; or there are no boundaries to walk in.
        """
        image, cam = self.dataset.image(image_id), self.maps(image_id)
        edges = None if self.refine.walk == NONE else self.edges.array(f"{image_id}.npy")
        return image, score_steps(image, cam, edges, self.refine)

    def fault(self, image_id: str, error: BadMap) -> str:
        """What is wrong with another method's file of an image."""
        return f"{self.scores.members[image_id]}: {error}"

    def count(self, image_id: str, scores: np.ndarray) -> ScoreCounts:
        """An image's part of the histogram of its scores (K, H, W)."""
        truth = self.dataset.mask(image_id) if self.dataset.has_mask(image_id) else None
        return count_scores(scores, self.dataset.tags(image_id), truth, self.dataset.num_classes)


@dataclass(frozen=True)
class Counting:
    """The first pass, where a threshold is chosen: an image's part of the histogram of what the thresholds cut."""

    sources: Sources

    def __call__(self, image_id: str) -> ScoreCounts | str:
        """See the class, and `Sources.steps` for what it raises; a text where another method's file is at fault."""
        try:
            return self.sources.count(image_id, last(self.sources.steps(image_id)[1]))
        except BadMap as error:
            return self.sources.fault(image_id, error)


@dataclass(frozen=True)
class Refined:
    """One image's result.

    png: its pseudo mask; None where another method made the masks, and none for this image, or one with a `fault`.
    scores: by step, how good its labels are, `pseudo_mask` among them where there is one.
    counts: by step before that, its part of the histogram.
    """

    png: bytes | None
    scores: dict[str, LabelScore]
    counts: dict[str, ScoreCounts]
    fault: str = ""


@dataclass(frozen=True)
class Refinement:
    """The pseudo mask of an image, and what it adds to the scores of each step.

    The labels of a step before the pseudo mask are the best class where the score is above `foreground`, whatever the
    step, so the steps differ by their maps alone. With a background that is the pseudo mask without its CRF, void taken
    for background; without one, every pixel has a class, where the pseudo mask leaves the doubtful ones void.

    imported: the pseudo masks of another method; None to make them.
    """

    sources: Sources
    imported: LabelFiles | None = None

    def __call__(self, image_id: str) -> Refined:
        """See the class, and `Sources.steps` for what it raises."""
        sources, dataset, refine = self.sources, self.sources.dataset, self.sources.refine
        info, tags = dataset.info, dataset.tags(image_id)
        mask, fault = None, ""
        if self.imported is None:
            try:
                image, steps = sources.steps(image_id)
            except BadMap as error:
                return Refined(None, {}, {}, sources.fault(image_id, error))
            mask = label_scores(image, last(steps), tags, info.background, refine)
        else:
            record = dataset.records[image_id]
            size = record.height, record.width
            steps = {CAM: upsample(read_maps(sources.cams, dataset, image_id), size)}
            if image_id in self.imported.members:
                try:
                    mask = imported_mask(self.imported, image_id, size, dataset.num_classes)
                except BadMap as error:
                    fault = f"{self.imported.members[image_id]}: {error}"
        labels = {step: best_labels(scores, tags, info.background, refine.foreground) for step, scores in steps.items()}
        if mask is not None:
            labels[PSEUDO_MASK] = mask
        return Refined(
            None if mask is None else encode_png(mask, info.palette),
            {step: score_labels(dataset, image_id, found) for step, found in labels.items()},
            {step: sources.count(image_id, scores) for step, scores in steps.items()},
            fault,
        )
