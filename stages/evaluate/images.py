"""What one image adds to the metrics, and the same for many in parallel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np

from stages.core.dataset import Dataset
from stages.core.faults import Fault
from stages.core.files import ZipReader
from stages.core.metrics.confusion import confusion_matrix
from stages.core.metrics.image_counts import ImageCounts, count_image
from stages.core.pool import process_map


@dataclass(frozen=True)
class Comparison:
    """The work on one image, as an object that a worker process can be sent.

    predictions: archive with masks/ID.png; mode: of the IA-mIoU, `exact` or `paper`.
    """

    dataset: Dataset
    predictions: ZipReader
    mode: str

    def __call__(self, image_id: str) -> tuple[np.ndarray, ImageCounts]:
        """The confusion matrix (C, C + 1) of an image, and its counts.

        Raises:
            Fault: the prediction is missing, of another size, or holds a label that is no class.
        """
        dataset = self.dataset
        mask, prediction = dataset.mask(image_id), self.predictions.png(f"masks/{image_id}.png")
        try:
            matrix = confusion_matrix(mask, prediction, dataset.num_classes)
        except ValueError as error:
            raise Fault(
                f"the prediction of {image_id} in {self.predictions.path} does not fit its mask: {error}; "
                "`dvc repro -f -s predict` makes it anew"
            ) from None
        instance_map = dataset.instances(image_id)
        return matrix, count_image(image_id, matrix, mask, instance_map, prediction, dataset.info.background, self.mode)


def evaluate_images(
    dataset: Dataset, predictions: ZipReader, splits: Mapping[str, Sequence[str]], mode: str
) -> tuple[dict[str, np.ndarray], dict[str, ImageCounts]]:
    """Evaluates every image of the splits once, in worker processes when there are many.

    Returns:
        Each split's confusion matrix (C, C + 1) int64 and each image's counts by id.

    Raises:
        Fault: an image has no mask, or see `Comparison`.
    """
    matrices = {split: np.zeros((dataset.num_classes, dataset.num_classes + 1), np.int64) for split in splits}
    members = {split: set(ids) for split, ids in splits.items()}
    ids = list(dict.fromkeys(chain.from_iterable(splits.values())))
    results = {}
    for matrix, counts in process_map(Comparison(dataset, predictions, mode), ids, "evaluate", len(ids)):
        results[counts.id] = counts
        for split, ids_of_split in members.items():
            if counts.id in ids_of_split:
                matrices[split] += matrix
    return matrices, results
