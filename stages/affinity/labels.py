"""The labels that the boundary network learns from: confident ones, void where the activation maps are in doubt."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from stages.core.dataset import Dataset
from stages.core.files import ZipReader, encode_png, write_zip
from stages.core.params import Params
from stages.core.pool import process_map
from stages.core.two_thresholds import label_scores, read_maps, upsample


class ConfidentLabels:
    """Random access to what `write_labels` wrote, also from worker processes."""

    def __init__(self, path: Path) -> None:
        self._zip = ZipReader(path)

    def __call__(self, image_id: str) -> np.ndarray:
        """The label map (H, W) uint8, 255 where it is uncertain."""
        return self._zip.png(f"{image_id}.png")


@dataclass(frozen=True)
class Labelling:
    """The work on one image, as an object that a worker process can be sent.

    dataset: with images; cams: cam.zip; recipe: the section of params.yaml.
    """

    dataset: Dataset
    cams: ZipReader
    recipe: Params

    def __call__(self, image_id: str) -> bytes:
        """The label map of an image, as PNG bytes.

        Raises:
            Fault: the image has no activation maps, or not one for each tag.
        """
        tags, cam = self.dataset.tags(image_id), read_maps(self.cams, self.dataset, image_id)
        image = self.dataset.image(image_id)
        scores = upsample(cam, image.shape[:2])
        return encode_png(label_scores(image, scores, tags, self.dataset.info.background, self.recipe))


def write_labels(path: Path, dataset: Dataset, cams: Path, recipe: Params) -> None:
    """Writes ID.png for every training image; the bytes are the same for any number of worker processes.

    Args:
        path: the zip to write.
        dataset: with images.
        cams: cam.zip.
        recipe: the section of params.yaml; `foreground`, `background` and `crf` are those of `label_scores`.

    Raises:
        Fault: activation maps are missing or do not fit the data set.
    """
    ids = dataset.ids("train")
    results = process_map(Labelling(dataset, ZipReader(cams), recipe), ids, "confident labels", len(ids))
    with write_zip(path) as archive:
        for image_id, png in zip(ids, results, strict=True):
            archive.bytes(f"{image_id}.png", png)
