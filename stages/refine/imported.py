"""The pseudo masks of another method, in place of ours."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from stages.core.dataset import VOID, Dataset
from stages.core.faults import combine
from stages.core.label_files import BadMap, LabelFiles, as_labels, find_maps, listed


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
