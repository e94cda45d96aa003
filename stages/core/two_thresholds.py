"""Labels of one image by two thresholds on scores of its classes, each smoothed by a dense CRF: IRN's label rule.

Ahn, Cho & Kwak, "Weakly Supervised Learning of Instance Segmentation with Inter-pixel Relations", CVPR 2019, arXiv
1904.05044, section 4 (confident foreground and background; the thresholds and CRF settings are those of the authors'
code). Differences: the maps are 8 bit and coarse (at the stride of the `cam` room) and are upsampled here, where the
authors threshold maps of full resolution; and there is a rule for data sets without a background.

Two rooms label so: `affinity` for the pixels that its network learns from, `refine` for the pseudo masks.
"""

from __future__ import annotations

import cv2
import numpy as np

from stages.core.dataset import VOID, Dataset
from stages.core.dense_crf import dense_crf_labels
from stages.core.faults import Fault
from stages.core.files import ZipReader
from stages.core.params import Params

NONE = "none"


def read_maps(cams: ZipReader, dataset: Dataset, image_id: str) -> np.ndarray:
    """The activation maps of an image's tags, (K, h, w) uint8 in the order of its tags.

    Raises:
        Fault: cam.zip has none of the image, or not one for each tag.
    """
    maps, tags = cams.array(f"{image_id}.npy"), dataset.tags(image_id)
    if len(maps) != len(tags):
        raise Fault(
            f"{cams.path} holds {len(maps)} maps of image {image_id}, which has {len(tags)} tags; "
            "it was made from another data set: `dvc repro cam` makes it again"
        )
    return maps


def label_scores(
    image: np.ndarray, scores: np.ndarray, classes: np.ndarray, background: bool, thresholds: Params
) -> np.ndarray:
    """The labels of one image.

    Args:
        image: (H, W, 3) uint8 RGB.
        scores: (K, H, W) in 0..1, of the tagged classes.
        classes: (K,) their labels; none of them is the background.
        background: label 0 is the background.
        thresholds: `foreground` and `background`, scores in 0..1; `crf`, none or the section of `core.dense_crf` with
            `confidence`, the probability of a label before smoothing.

    Returns:
        (H, W) uint8 labels, 255 (void) where the scores decide nothing. An image without tags is all background, or
        all void in a data set without background.
    """
    if len(classes) == 0:
        return np.full(image.shape[:2], 0 if background else VOID, np.uint8)
    rule = two_thresholds if background else one_threshold
    return rule(image, scores, classes.astype(np.uint8), thresholds)


def upsample(cam: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Maps (K, h, w) uint8 as scores (K, H, W) float32 in 0..1, see `resize_maps`."""
    return resize_maps(cam.astype(np.float32), size) / np.float32(255)


def resize_maps(maps: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Maps (K, h, w) float32 at another size (H, W): bilinear; the corners of the two grids coincide.

    A finer map is averaged over areas where it shrinks, so that no pixel of it is passed over.
    """
    height, width = size
    mode = cv2.INTER_AREA if height < maps.shape[1] else cv2.INTER_LINEAR
    planes = [cv2.resize(plane, (width, height), interpolation=mode) for plane in maps]
    return np.stack(planes) if planes else np.zeros((0, height, width), np.float32)


def two_thresholds(image: np.ndarray, scores: np.ndarray, classes: np.ndarray, thresholds: Params) -> np.ndarray:
    """The rule for data sets with a background.

    The image is labelled twice, by the best of the scores and a constant score of the background, once `foreground`
    and once `background`; either label map is smoothed. A pixel that is foreground in the first has that class, one
    that is background in both is background, the others are void.
    """
    best, best_score = scores.argmax(axis=0) + 1, scores.max(axis=0)
    floors = thresholds.foreground, thresholds.background
    twice = np.stack([np.where(best_score > floor, best, 0) for floor in floors])
    certain, possible = smooth(image, twice, len(classes) + 1, thresholds.crf)
    labels = np.concatenate([[0], classes]).astype(np.uint8)
    return np.where(certain > 0, labels[certain], np.where(possible > 0, VOID, 0)).astype(np.uint8)


def one_threshold(image: np.ndarray, scores: np.ndarray, classes: np.ndarray, thresholds: Params) -> np.ndarray:
    """The rule for data sets without background: the best class, void where its score is below `foreground`.

    The CRF smooths the labels among the pixels that keep one; the others enter it as unknown and stay void.
    """
    sure = scores.max(axis=0) >= thresholds.foreground
    best = smooth(image, np.where(sure, scores.argmax(axis=0), VOID), len(classes), thresholds.crf)
    return np.where(sure, classes[np.where(sure, best, 0)], VOID).astype(np.uint8)


def smooth(image: np.ndarray, labels: np.ndarray, n_labels: int, crf: Params | str) -> np.ndarray:
    """The label maps (..., H, W) of largest probability after the label CRF; unchanged for `crf: none`."""
    if crf == NONE:
        return labels
    return dense_crf_labels(image, labels, n_labels, crf.confidence, crf).argmax(axis=-3)
