"""Activation maps of a data set -> its pseudo masks and their scores."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from stages.core.dataset import VOID, Dataset
from stages.core.faults import Fault
from stages.core.files import ZipReader, encode_png, write_zip
from stages.core.metrics.confusion import confusion_matrix
from stages.core.params import Params
from stages.core.pool import process_map
from stages.refine.scores import score_rows
from stages.refine.two_thresholds import pseudo_mask

SPLITS = ("train", "val")


@dataclass(frozen=True)
class Refined:
    """One image's result: its pseudo mask as PNG bytes, its pixels, those left void, and its confusion matrix."""

    png: bytes
    pixels: int
    void: int
    confusion: np.ndarray


@dataclass(frozen=True)
class Refinement:
    """The work on one image, as an object that a worker process can be sent.

    dataset: with images; cams: cam.zip; refine: the section of params.yaml.
    """

    dataset: Dataset
    cams: ZipReader
    refine: Params

    def __call__(self, image_id: str) -> Refined:
        """The pseudo mask of an image, and what it adds to the scores.

        Raises:
            Fault: the image has no activation maps, or not one for each tag.
        """
        info, tags = self.dataset.info, self.dataset.tags(image_id)
        cam = self.cams.array(f"{image_id}.npy")
        if len(cam) != len(tags):
            raise Fault(
                f"{self.cams.path} holds {len(cam)} maps of image {image_id}, which has {len(tags)} tags; "
                "it was made from another data set: `dvc repro cam` makes it again"
            )
        mask = pseudo_mask(self.dataset.image(image_id), cam, tags, info.background, self.refine)
        classes = self.dataset.num_classes
        if info.masks:
            confusion = confusion_matrix(self.dataset.mask(image_id), mask, classes)
        else:
            confusion = np.zeros((classes, classes + 1), np.int64)
        return Refined(encode_png(mask, info.palette), mask.size, int((mask == VOID).sum()), confusion)


def write_pseudo_masks(path: Path, dataset: Dataset, cams: Path, refine: Params) -> list[dict[str, Any]]:
    """Writes masks/ID.png for every image of train and val, in their order, and returns the rows of the scores.

    The bytes are the same for any number of worker processes.

    Args:
        path: the zip to write.
        dataset: with images.
        cams: cam.zip.
        refine: the section of params.yaml, see `two_thresholds.pseudo_mask`.

    Raises:
        Fault: activation maps are missing or do not fit the data set.
    """
    members = {split: set(dataset.ids(split)) for split in SPLITS}
    ids = list(dict.fromkeys(image_id for split in SPLITS for image_id in dataset.ids(split)))
    shape = (dataset.num_classes, dataset.num_classes + 1)
    confusion = {split: np.zeros(shape, np.int64) for split in SPLITS}
    counts = {split: np.zeros(2, np.int64) for split in SPLITS}  # void pixels, all pixels
    results = process_map(Refinement(dataset, ZipReader(cams), refine), ids, "refine", len(ids))
    with write_zip(path) as archive:
        for image_id, result in zip(ids, results, strict=True):
            archive.bytes(f"masks/{image_id}.png", result.png)
            for split in SPLITS:
                if image_id in members[split]:
                    confusion[split] += result.confusion
                    counts[split] += (result.void, result.pixels)
    return [
        row
        for split in SPLITS
        for row in score_rows(split, confusion[split], counts[split][0] / counts[split][1], dataset.info)
    ]
