"""Activation maps of a data set -> its pseudo masks, and the scores of both; or the pseudo masks of another method."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from stages.core.dataset import LABELLED_SPLITS, VOID, Dataset
from stages.core.faults import combine
from stages.core.files import ZipReader, encode_png, write_zip
from stages.core.label_files import BadMap, LabelFiles, as_labels, find_maps, listed
from stages.core.params import Params
from stages.core.pool import process_map
from stages.core.two_thresholds import NONE, read_maps
from stages.refine.one_image import activation_labels, pseudo_mask
from stages.refine.scores import LabelScore, score_labels, score_rows


@dataclass(frozen=True)
class Refined:
    """One image's result: its pseudo mask as PNG bytes, and the scores of its activation maps and its pseudo mask.

    png, pseudo_mask: None where another method made the masks, and none for this image, or one with a `fault`.
    """

    png: bytes | None
    cam: LabelScore
    pseudo_mask: LabelScore | None
    fault: str = ""


@dataclass(frozen=True)
class Refinement:
    """The work on one image, as an object that a worker process can be sent.

    dataset: with images; cams: cam.zip; refine: the section of params.yaml.
    edges: edges.zip, read where `refine` has a walk.
    imported: the pseudo masks of another method; None to make them.
    """

    dataset: Dataset
    cams: ZipReader
    refine: Params
    edges: ZipReader
    imported: LabelFiles | None = None

    def __call__(self, image_id: str) -> Refined:
        """The pseudo mask of an image, and what it adds to the scores.

        Raises:
            Fault: the image has no activation maps, or not one for each tag, or no boundaries to walk in.
        """
        info, tags = self.dataset.info, self.dataset.tags(image_id)
        cam = read_maps(self.cams, self.dataset, image_id)
        record = self.dataset.records[image_id]
        size = record.height, record.width
        labels = activation_labels(cam, size, tags, info.background, self.refine.foreground)
        cam_score = score_labels(self.dataset, image_id, labels)
        if self.imported is None:
            edges = None if self.refine.walk == NONE else self.edges.array(f"{image_id}.npy")
            mask = pseudo_mask(self.dataset.image(image_id), cam, tags, info.background, self.refine, edges)
        elif image_id not in self.imported.members:
            return Refined(None, cam_score, None)
        else:
            try:
                mask = imported_mask(self.imported, image_id, size, self.dataset.num_classes)
            except BadMap as error:
                return Refined(None, cam_score, None, f"{self.imported.members[image_id]}: {error}")
        return Refined(encode_png(mask, info.palette), cam_score, score_labels(self.dataset, image_id, mask))


def write_pseudo_masks(
    path: Path, dataset: Dataset, cams: Path, edges: Path, refine: Params, imported: Path | None = None
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Writes masks/ID.png for every image of train and val, in their order; imported ones of val may be missing.

    The bytes are the same for any number of worker processes.

    Args:
        path: the zip to write.
        dataset: with images.
        cams: cam.zip.
        edges: edges.zip of `affinity`.
        refine: the section of params.yaml, see `one_image.pseudo_mask`.
        imported: a folder or zip of another method's label maps, see `imported_mask`; None to make them.

    Returns:
        The rows of the scores of the activation maps, cut at the threshold `foreground`, and of the pseudo masks.

    Raises:
        Fault: activation maps are missing or do not fit the data set, or imported masks do; all of these are named.
    """
    source = import_masks(imported, dataset) if imported else None
    members = {split: set(dataset.ids(split)) for split in LABELLED_SPLITS}
    ids = list(dict.fromkeys(image_id for split in LABELLED_SPLITS for image_id in dataset.ids(split)))
    found: dict[str, list[Refined]] = {split: [] for split in LABELLED_SPLITS}
    results = process_map(
        Refinement(dataset, ZipReader(cams), refine, ZipReader(edges), source), ids, "refine", len(ids)
    )
    faults = []
    with write_zip(path) as archive:
        for image_id, result in zip(ids, results, strict=True):
            faults += [result.fault] if result.fault else []
            if result.png:
                archive.bytes(f"masks/{image_id}.png", result.png)
            for split in LABELLED_SPLITS:
                if image_id in members[split]:
                    found[split].append(result)
        if faults:
            raise combine(f"pseudo_masks: {imported} does not fit data set {dataset.info.name}", faults)
    cam_rows, mask_rows = [], []
    for split in LABELLED_SPLITS:
        cam_rows += score_rows(split, [result.cam for result in found[split]], dataset.info)
        masks = [result.pseudo_mask for result in found[split] if result.pseudo_mask]
        mask_rows += score_rows(split, masks, dataset.info) if masks else []
    return cam_rows, mask_rows


def import_masks(path: Path, dataset: Dataset) -> LabelFiles:
    """The label maps of another method, by image id.

    Raises:
        Fault: there are none, or some training images have none or two.
    """
    train = dataset.ids("train")
    files = find_maps(path, set(train))
    faults = [f"{image_id}: no label map" for image_id in train if image_id not in files.members]
    faults += [f"{image_id}: two label maps" for image_id in files.twice]
    if faults:
        raise combine(f"pseudo_masks: {path} does not fit data set {dataset.info.name}", faults)
    return files


def imported_mask(files: LabelFiles, image_id: str, size: tuple[int, int], num_classes: int) -> np.ndarray:
    """Another method's label map of an image, (H, W) uint8: labels as in the data set, 255 where it is uncertain.

    Raises:
        BadMap: it cannot be read, is of another size, or holds a label that is no class.
    """
    labels = as_labels(files.read(image_id))
    if labels.shape != size:
        raise BadMap("size", f"{labels.shape[0]} x {labels.shape[1]} pixels, the image has {size[0]} x {size[1]}")
    wrong = np.unique(labels[(labels >= num_classes) & (labels != VOID)])
    if wrong.size:
        raise BadMap("beyond", f"label {listed(wrong)}, beyond the {num_classes} classes")
    return labels
