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

The background is a class of the IA-mIoU, with one instance per image, but is in no size bin.

Two modes:

- `exact` is this formula with 8-connected components and real shares, so that sum_j (I_kj + share_kj) = |P_k|: every
  pixel of a component is accounted for once. Void is what either the instance map or, off the instances, the mask
  calls void.
- `paper` is what the authors' code computes (https://github.com/Cheolhyun-Mun/wsss_small_object_matters): a component
  that lies in a hole of another one of its class is merged with it, a share that is not all of U_k is cut to an
  integer, and void is what the instance map calls void. That code fails on an image that is all void and loses the
  background of an image whose instance ids have a gap; here the first adds nothing and the second is as it should be.
"""

from __future__ import annotations

from dataclasses import dataclass

import cc3d
import cv2
import numpy as np

from stages.core.dataset import VOID
from stages.core.metrics.instances import Instances, components, grouped
from stages.core.metrics.runs import Runs, find_runs

EXACT, PAPER = "exact", "paper"
MODES = (EXACT, PAPER)
FEW = 64  # components of a class up to which comparing all their bounding boxes is quick
DENSE = 1 << 20  # table cells up to which counting into a dense table beats sorting


@dataclass(frozen=True)
class InstanceIous:
    """What the IA-mIoU knows of an image.

    ids, labels, areas: (N,) int64 id (1..N without an instance map), class and pixels of each true instance.
    ious: (N,) float64, the IoU of each in 0..1.
    background: IoU of the background, NaN where the truth or the data set has none.
    """

    ids: np.ndarray
    labels: np.ndarray
    areas: np.ndarray
    ious: np.ndarray
    background: float


def instance_ious(
    mask: np.ndarray, instance_map: np.ndarray | None, prediction: np.ndarray, background: bool, mode: str = EXACT
) -> InstanceIous:
    """IoU of each true instance of an image, and of its background.

    All of it comes from one contingency table of predicted components and true instances, counted over runs of equal
    pixels.

    Args:
        mask: (H, W) uint8 labels, 255 void.
        instance_map: (H, W) uint16, 0 none, 65535 void; None for the components of the mask, see `true_instances`.
        prediction: (H, W) uint8 labels, 255 for no decision.
        background: label 0 is the background and forms no components.
        mode: `exact` or `paper`.
    """
    from_map = instance_map is not None
    ids = instance_map if from_map else components(mask, background)
    runs = find_runs(mask, prediction, ids) if from_map else find_runs(mask, prediction)
    true_label, predicted = runs.of(mask), runs.of(prediction)
    instances = grouped(true_label, runs.of(ids), runs.pixels, from_map, background, void_from_map=mode == PAPER)

    parts = runs.of(components(prediction, background))
    part_label = np.full(int(parts.max(initial=0)) + 1, -1)
    part_label[parts] = predicted
    part_label[0] = -1  # what is in no component is of no class
    if mode == PAPER:
        parts = merge_in_holes(prediction, parts, part_label, runs)
    ious = divide(parts, part_label, instances, runs.pixels, mode)
    backgrounds = background_iou(true_label, predicted, instances.void, runs.pixels) if background else float("nan")
    return InstanceIous(instances.ids, instances.labels, instances.areas, ious, backgrounds)


def divide(
    parts: np.ndarray, part_label: np.ndarray, instances: Instances, pixels: np.ndarray, mode: str
) -> np.ndarray:
    """IoU of each instance, (N,), by dividing each component among the instances of its class.

    Args:
        parts: (R,) component of each run, 0 for none.
        part_label: (K + 1,) class of each component, -1 for the first.
        instances: with an index for each run.
        pixels: (R,) of each run.
        mode: `exact` or `paper`.
    """
    part, instance, pixels = overlaps(parts, part_label.size, instances, pixels)
    own = instance > 0
    own[own] = part_label[part[own]] == instances.labels[instance[own] - 1]
    area = np.bincount(part, pixels, part_label.size)  # |P_k|
    on_class = np.bincount(part[own], pixels[own], part_label.size)  # S_k
    part, column, pixels = part[own], instance[own] - 1, pixels[own]
    share = pixels / on_class[part] * (area - on_class)[part]
    if mode == PAPER:
        share = np.where(pixels == on_class[part], share, np.floor(share))
    hits = np.bincount(column, pixels, instances.areas.size)
    return hits / (instances.areas + np.bincount(column, share, instances.areas.size))


def overlaps(
    parts: np.ndarray, count: int, instances: Instances, pixels: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pixels that component k and instance j share: (k, j, pixels) of the pairs that do, each (pairs,).

    j is 0 for what lies on no instance. Pixels that are void are left out, and k is 0 for those in no component. The
    table is counted densely where it is small and by sorting where it is not, so a noisy map with thousands of
    components and instances needs no more memory than its pixels.

    Args:
        parts: (R,) component of each run; count: their number, 0 included.
        instances: with an index for each run.
        pixels: (R,) of each run.
    """
    width = instances.areas.size + 2
    codes = parts.astype(np.int64) * width + (instances.index + 1)
    if count * width <= DENSE:
        sums = np.bincount(codes, pixels)
        pairs = np.flatnonzero(sums)
        sums = sums[pairs]
    else:
        pairs, inverse = np.unique(codes, return_inverse=True)
        sums = np.bincount(inverse, pixels)
    counted = pairs % width > 0
    pairs, sums = pairs[counted], sums[counted]
    return pairs // width, pairs % width - 1, sums


def merge_in_holes(prediction: np.ndarray, parts: np.ndarray, part_label: np.ndarray, runs: Runs) -> np.ndarray:
    """Components with those that lie in a hole of another one of their class merged into one, (R,) like `parts`.

    They are the 8-connected components of each class's mask with its holes filled, cut to the mask. A hole is what is
    4-connected and does not reach the border.

    Args:
        prediction: (H, W) uint8 labels.
        parts: (R,) component of each run.
        part_label: (K + 1,) class of each component, -1 for the first.
        runs: the runs.
    """
    top, left = np.divmod(runs.start, prediction.shape[1])
    boxes = bounding_boxes(parts, part_label.size, top, left, runs.pixels)
    pixel = np.zeros((2, part_label.size), np.int64)  # one of each component
    pixel[:, parts] = top, left
    representative = np.arange(part_label.size)
    for label in np.flatnonzero(np.bincount(part_label[1:], minlength=1)[:VOID] > 1):
        members = np.flatnonzero(part_label == label)
        if members.size <= FEW and not some_nested(boxes[:, members]):
            continue  # a component in a hole of another lies within its bounding box
        window = tuple(
            slice(low, high) for low, high in zip(boxes[:2, members].min(1), boxes[2:, members].max(1), strict=True)
        )
        filled = cc3d.connected_components(fill_holes(prediction[window] == label), connectivity=8)
        rows, columns = pixel[:, members] - boxes[:2, members].min(1, keepdims=True)
        _, leader, inverse = np.unique(filled[rows, columns], return_index=True, return_inverse=True)
        representative[members] = members[leader][inverse]
    return representative[parts]


def bounding_boxes(parts: np.ndarray, count: int, top: np.ndarray, left: np.ndarray, pixels: np.ndarray) -> np.ndarray:
    """Top, left, bottom and right of each component, (4, count), the last two exclusive, from runs (R,)."""
    boxes = np.zeros((4, count), np.int64)
    boxes[:2] = np.iinfo(np.int64).max
    for row, values in enumerate((top, left)):
        np.minimum.at(boxes[row], parts, values)
    for row, values in enumerate((top + 1, left + pixels), start=2):
        np.maximum.at(boxes[row], parts, values)
    return boxes


def some_nested(boxes: np.ndarray) -> bool:
    """Whether one of the boxes (4, N) lies strictly within another."""
    outer, inner = boxes[:, :, None], boxes[:, None, :]
    return bool(((outer[:2] < inner[:2]).all(0) & (outer[2:] > inner[2:]).all(0)).any())


def fill_holes(region: np.ndarray) -> np.ndarray:
    """A region (H, W) bool with its holes: all but what is 4-connected to the outside of the image."""
    canvas = cv2.copyMakeBorder(region.view(np.uint8), 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
    cv2.floodFill(canvas, None, (0, 0), 2, flags=4)
    return canvas[1:-1, 1:-1] != 2


def background_iou(true_label: np.ndarray, predicted: np.ndarray, void: np.ndarray, pixels: np.ndarray) -> float:
    """IoU of label 0 over the pixels that are not void; NaN where the truth has no background.

    Args:
        true_label, predicted: (R,) uint8 labels of each run.
        void: (R,) bool.
        pixels: (R,) of each run.
    """
    true, found = (true_label == 0) & ~void, (predicted == 0) & ~void
    if not true.any():
        return float("nan")
    return float(pixels[true & found].sum() / pixels[true | found].sum())
