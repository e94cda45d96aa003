"""What one image adds to the metrics, and the same for many in parallel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain

import numpy as np

from stages.core.dataset import Dataset
from stages.core.faults import Fault
from stages.core.files import ZipReader
from stages.core.metrics.confusion import confusion_matrix
from stages.core.metrics.instances import dataset_instances
from stages.core.pool import process_map
from stages.evaluate.ia_miou import background_iou, instance_ious


@dataclass(frozen=True)
class ImageResult:
    """What is kept of an image.

    instances, labels, areas, ious: (N,) id, class, pixels and IoU of each true instance.
    background: IoU of the background, NaN where the image or the data set has none.
    """

    id: str
    instances: np.ndarray
    labels: np.ndarray
    areas: np.ndarray
    ious: np.ndarray
    background: float


def evaluate_image(dataset: Dataset, predictions: ZipReader, image_id: str) -> tuple[np.ndarray, ImageResult]:
    """Compares the prediction masks/ID.png of an image with its truth: the confusion matrix and the rest.

    Raises:
        Fault: the prediction is missing, of another size, or holds a label that is no class.
    """
    mask, prediction = dataset.mask(image_id), predictions.png(f"masks/{image_id}.png")
    try:
        matrix = confusion_matrix(mask, prediction, dataset.num_classes)
    except ValueError as error:
        raise Fault(
            f"the prediction of {image_id} in {predictions.path} does not fit its mask: {error}; "
            "`dvc repro -f -s predict` makes it anew"
        ) from None
    found = dataset_instances(dataset, image_id)
    with_background = dataset.info.background
    return matrix, ImageResult(
        image_id,
        found.ids,
        found.labels,
        found.areas,
        instance_ious(found, prediction, with_background),
        background_iou(mask, prediction, found.void) if with_background else float("nan"),
    )


def evaluate_images(
    dataset: Dataset, predictions: ZipReader, splits: Mapping[str, Sequence[str]]
) -> tuple[dict[str, np.ndarray], dict[str, ImageResult]]:
    """Evaluates every image of the splits once, in worker processes when there are many.

    Returns:
        Each split's confusion matrix (C, C + 1) int64 and each image's result by id.

    Raises:
        Fault: the data set has no masks, or see `evaluate_image`.
    """
    if not dataset.info.masks:
        raise Fault(f"data set {dataset.info.name} has no masks, so predictions cannot be compared with anything")
    matrices = {split: np.zeros((dataset.num_classes, dataset.num_classes + 1), np.int64) for split in splits}
    members = {split: set(ids) for split, ids in splits.items()}
    ids = list(dict.fromkeys(chain.from_iterable(splits.values())))
    results = {}
    for matrix, result in process_map(partial(evaluate_image, dataset, predictions), ids, "evaluate", len(ids)):
        results[result.id] = result
        for split, ids_of_split in members.items():
            if result.id in ids_of_split:
                matrices[split] += matrix
    return matrices, results
