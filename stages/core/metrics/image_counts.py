"""What one image adds to every metric: a few kilobytes from which all scores, and their intervals, are computed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from stages.core.dataset import VOID
from stages.core.metrics.boundary import boundary_counts
from stages.core.metrics.ia_miou import EXACT, instance_ious


@dataclass(frozen=True)
class ImageCounts:
    """One image's pixel counts by class and IoUs by instance.

    labels: (P,) uint8, the classes that the truth or the prediction shows, ascending.
    true, predicted, hits: (P,) int32 pixels of each, void left out.
    boundary_hits, boundary_union: (P,) int32 pixels, see `boundary_counts`.
    instances, instance_labels, areas: (N,) int32 id, uint8 class and int32 pixels of each true instance.
    ious: (N,) float64 IoU of each, see `ia_miou`.
    background: IoU of the background, NaN where there is none.
    """

    id: str
    labels: np.ndarray
    true: np.ndarray
    predicted: np.ndarray
    hits: np.ndarray
    boundary_hits: np.ndarray
    boundary_union: np.ndarray
    instances: np.ndarray
    instance_labels: np.ndarray
    areas: np.ndarray
    ious: np.ndarray
    background: float


def count_image(
    image_id: str,
    matrix: np.ndarray,
    mask: np.ndarray,
    instance_map: np.ndarray | None,
    prediction: np.ndarray,
    background: bool,
    mode: str = EXACT,
) -> ImageCounts:
    """Compares a prediction with its truth.

    Args:
        image_id: goes into the result.
        matrix: (C, C + 1), `confusion_matrix` of the two label maps.
        mask: (H, W) uint8 true labels, 255 void.
        instance_map: (H, W) uint16, 0 none, 65535 void; None where there is none, see `true_instances`.
        prediction: (H, W) uint8 labels, 255 for no decision.
        background: label 0 is the background.
        mode: of the IA-mIoU, `exact` or `paper`.
    """
    true, predicted, hits = matrix.sum(1), matrix[:, :-1].sum(0), np.diagonal(matrix)
    labels = np.flatnonzero(true + predicted)
    boundary_hits, boundary_union = boundary_counts(mask, prediction)
    found = instance_ious(mask, instance_map, prediction, background, mode)
    return ImageCounts(
        image_id,
        labels.astype(np.uint8),
        *(
            values[labels].astype(np.int32)
            for values in (true, predicted, hits, boundary_hits[:VOID], boundary_union[:VOID])
        ),
        found.ids.astype(np.int32),
        found.labels.astype(np.uint8),
        found.areas.astype(np.int32),
        found.ious,
        found.background,
    )
