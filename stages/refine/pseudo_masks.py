"""Activation maps of a data set -> its pseudo masks, and the scores of both."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stages.core.dataset import Dataset
from stages.core.faults import Fault
from stages.core.files import ZipReader, encode_png, write_zip
from stages.core.params import Params
from stages.core.pool import process_map
from stages.refine.scores import LabelScore, score_labels, score_rows
from stages.refine.two_thresholds import activation_labels, pseudo_mask

SPLITS = ("train", "val")


@dataclass(frozen=True)
class Refined:
    """One image's result: its pseudo mask as PNG bytes, and the scores of its activation maps and its pseudo mask."""

    png: bytes
    cam: LabelScore
    pseudo_mask: LabelScore


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
        image = self.dataset.image(image_id)
        mask = pseudo_mask(image, cam, tags, info.background, self.refine)
        labels = activation_labels(cam, image.shape[:2], tags, info.background, self.refine.foreground)
        scores = (score_labels(self.dataset, image_id, found) for found in (labels, mask))
        return Refined(encode_png(mask, info.palette), *scores)


def write_pseudo_masks(
    path: Path, dataset: Dataset, cams: Path, refine: Params
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Writes masks/ID.png for every image of train and val, in their order.

    The bytes are the same for any number of worker processes.

    Args:
        path: the zip to write.
        dataset: with images.
        cams: cam.zip.
        refine: the section of params.yaml, see `two_thresholds.pseudo_mask`.

    Returns:
        The rows of the scores of the activation maps, cut at the threshold `foreground`, and of the pseudo masks.

    Raises:
        Fault: activation maps are missing or do not fit the data set.
    """
    members = {split: set(dataset.ids(split)) for split in SPLITS}
    ids = list(dict.fromkeys(image_id for split in SPLITS for image_id in dataset.ids(split)))
    found: dict[str, list[Refined]] = {split: [] for split in SPLITS}
    results = process_map(Refinement(dataset, ZipReader(cams), refine), ids, "refine", len(ids))
    with write_zip(path) as archive:
        for image_id, result in zip(ids, results, strict=True):
            archive.bytes(f"masks/{image_id}.png", result.png)
            for split in SPLITS:
                if image_id in members[split]:
                    found[split].append(result)
    cam_rows, mask_rows = [], []
    for split in SPLITS:
        cam_rows += score_rows(split, [result.cam for result in found[split]], dataset.info)
        mask_rows += score_rows(split, [result.pseudo_mask for result in found[split]], dataset.info)
    return cam_rows, mask_rows
