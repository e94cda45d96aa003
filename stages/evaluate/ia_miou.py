"""IA-mIoU, which counts a small object as much as a large one.

Mun, Lee, Uh, Choe, Byun: Small Objects Matters in Weakly-supervised Semantic Segmentation, WACV 2024, arXiv 2309.14117,
equations 1 and 2: the IoU of every true instance, averaged over the instances of a class, then over the classes.

A label map has no instances, so each connected component of the prediction is divided among the true instances of its
class that it touches, by their shares of the overlap. For instance j of class c with area |G_j|, over the components k
of class c that touch it:

    IoU_j = sum_k I_kj / (|G_j| + sum_k share_kj),    share_kj = I_kj / S_k * U_k

I_kj pixels of k on j, S_k pixels of k on any instance of class c, U_k = |P_k| - S_k its other pixels, which lie on
background or on other classes. What k covers of another instance of class c is neither for nor against j. Components
that touch no instance of their class cost only the background's IoU (and the mIoU). Void pixels count nowhere, though
they join components.

Mode `exact` is this formula with 8-connected components and real shares. The authors' code differs in two small ways:
it cuts each share to an integer, and merges a component that lies in a hole of another one of its class with that one.
The background is a class of the IA-mIoU, with one instance per image, but is in no size bin.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from stages.core.dataset import VOID
from stages.core.metrics.confusion import mean_defined
from stages.core.metrics.instances import Instances, components
from stages.core.metrics.sizes import SIZES, size_bin

MODE = "exact"


@dataclass(frozen=True)
class Scores:
    """Means of instance IoUs, all in 0..1 and NaN where there is nothing to average.

    per_class: (C,) mean over the instances of each class; of label 0, where it is the background, over the images.
    per_class_size: (C, 3) over the small, medium and large instances of each class.
    instances: (C,) number of instances; of the background, of images that have some.
    """

    per_class: np.ndarray
    per_class_size: np.ndarray
    instances: np.ndarray

    def mean(self) -> float:
        """IA-mIoU: mean over the classes that have instances."""
        return mean_defined(self.per_class)

    def by_size(self) -> np.ndarray:
        """IA_S, IA_M and IA_L, (3,): mean over the classes that have instances of the size."""
        return np.array([mean_defined(column) for column in self.per_class_size.T])


def instance_ious(instances: Instances, prediction: np.ndarray, background: bool) -> np.ndarray:
    """IoU of each true instance of an image, (N,) float64 in 0..1.

    Args:
        instances: the true instances.
        prediction: (H, W) uint8 labels, 255 for no decision.
        background: label 0 is the background and forms no components.
    """
    nothing = (prediction == VOID) | (prediction == 0) if background else prediction == VOID
    parts = components(prediction, nothing)
    part, instance, pixels = overlaps(parts, instances)

    part_label = np.zeros(parts.max(initial=0) + 1, np.int64)
    part_label[parts.ravel()] = prediction.ravel()  # every pixel of a component has the same label
    own = instance > 0
    own[own] = part_label[part[own]] == instances.labels[instance[own] - 1]

    area = np.bincount(part, pixels, part_label.size)  # |P_k|
    on_class = np.bincount(part[own], pixels[own], part_label.size)  # S_k
    part, column, pixels = part[own], instance[own] - 1, pixels[own]
    share = pixels / on_class[part] * (area - on_class)[part]
    hits = np.bincount(column, pixels, instances.areas.size)
    return hits / (instances.areas + np.bincount(column, share, instances.areas.size))


def overlaps(parts: np.ndarray, instances: Instances) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pixels that component k and instance j share: (k, j, pixels) of the pairs that do, each (pairs,) int64.

    j is 0 for what lies on no instance. Pixels that are void or in no component are left out. The pairs are a sparse
    contingency table, so that a noisy map with thousands of components needs no more memory than its pixels.
    """
    counted = (parts > 0) & ~instances.void
    width = instances.areas.size + 1
    pairs, pixels = np.unique(parts[counted].astype(np.int64) * width + instances.index[counted], return_counts=True)
    return pairs // width, pairs % width, pixels


def background_iou(mask: np.ndarray, prediction: np.ndarray, void: np.ndarray) -> float:
    """IoU of label 0 in one image over the pixels that are not void; NaN where the truth has no background.

    Args:
        mask: (H, W) uint8 true labels.
        prediction: (H, W) uint8 labels.
        void: (H, W) bool.
    """
    true, predicted = (mask == 0) & ~void, (prediction == 0) & ~void
    if not true.any():
        return float("nan")
    return float(np.count_nonzero(true & predicted) / np.count_nonzero(true | predicted))


def scores(
    labels: np.ndarray,
    areas: np.ndarray,
    ious: np.ndarray,
    backgrounds: np.ndarray,
    *,
    bounds: tuple[int, int],
    num_classes: int,
) -> Scores:
    """The scores of a set of images from all its instances.

    Args:
        labels: (N,) class of each instance.
        areas: (N,) pixels of each.
        ious: (N,) IoU of each.
        backgrounds: the background's IoU of each image, NaN where it has none; empty for a data set without background.
        bounds: the two areas that divide small, medium and large.
        num_classes: number of labels.
    """
    cells = labels * len(SIZES) + size_bin(areas, bounds)
    count, total = (
        np.bincount(cells, weights, num_classes * len(SIZES)).reshape(num_classes, len(SIZES))
        for weights in (None, ious)
    )
    class_count, class_total = count.sum(1), total.sum(1)
    defined = backgrounds[~np.isnan(backgrounds)]
    class_count[0] += defined.size
    class_total[0] += defined.sum()
    with np.errstate(invalid="ignore"):  # 0 / 0 is NaN: nothing to average
        return Scores(class_total / class_count, total / count, class_count.astype(np.int64))
