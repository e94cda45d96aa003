"""Pseudo mask of one image by two thresholds on its activation maps, each smoothed by a dense CRF: IRN's label rule.

Ahn, Cho & Kwak, "Weakly Supervised Learning of Instance Segmentation with Inter-pixel Relations", CVPR 2019, arXiv
1904.05044, section 4 (confident foreground and background; the thresholds and CRF settings are those of the authors'
code). Differences: the maps are 8 bit and coarse (at the stride of the `cam` room) and are upsampled here, where the
authors threshold maps of full resolution; and there is a rule for data sets without a background.
"""

from __future__ import annotations

import multiprocessing

import cv2
import numpy as np

from stages.core.dataset import VOID
from stages.core.dense_crf import dense_crf_labels
from stages.core.params import Params

NONE = "none"


def pseudo_mask(
    image: np.ndarray, cam: np.ndarray, classes: np.ndarray, background: bool, refine: Params
) -> np.ndarray:
    """The pseudo mask of one image.

    Args:
        image: (H, W, 3) uint8 RGB.
        cam: (K, h, w) uint8, activation maps of the tagged classes, 255 = the class's maximum in this image.
        classes: (K,) the maps' labels; none of them is the background.
        background: label 0 is the background.
        refine: `foreground` and `background`, scores in 0..1; `crf`, none or the section of `core.dense_crf` with
            `confidence`, the probability of a label before smoothing; `pamr`, none or a section of `core.filters.pamr`
            by which the scores flow to pixels of like colour before they are cut.

    Returns:
        (H, W) uint8 labels, 255 (void) where the activation decides nothing. An image without tags is all background,
        or all void in a data set without background.
    """
    if len(classes) == 0:
        return np.full(image.shape[:2], 0 if background else VOID, np.uint8)
    scores = upsample(cam, image.shape[:2])
    if refine.pamr != NONE:
        scores = spread(image, scores, refine.pamr)
    rule = two_thresholds if background else one_threshold
    return rule(image, scores, classes.astype(np.uint8), refine)


def activation_labels(
    cam: np.ndarray, size: tuple[int, int], classes: np.ndarray, background: bool, floor: float
) -> np.ndarray:
    """What the activation maps say alone, (H, W) uint8; arguments as for `pseudo_mask`.

    It is the class of the highest map, and background where that is not over `floor`. In a data set without background
    every pixel has a class.
    """
    if len(classes) == 0:
        return np.full(size, 0 if background else VOID, np.uint8)
    scores = upsample(cam, size)
    best = classes.astype(np.uint8)[scores.argmax(axis=0)]
    return np.where(scores.max(axis=0) > floor, best, 0).astype(np.uint8) if background else best


def upsample(cam: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Maps (K, h, w) uint8 as scores (K, H, W) float32 in 0..1, bilinear; the corners of the two grids coincide."""
    height, width = size
    planes = [cv2.resize(plane, (width, height), interpolation=cv2.INTER_LINEAR) for plane in cam.astype(np.float32)]
    return np.stack(planes) / np.float32(255)


def spread(image: np.ndarray, scores: np.ndarray, pamr: Params) -> np.ndarray:
    """Scores (K, H, W) in 0..1 after pixel-adaptive refinement on the image (H, W, 3), on the CPU."""
    import torch  # noqa: PLC0415 - a second that other recipes need not spend in every worker

    from stages.core.filters.pamr import refine_masks  # noqa: PLC0415

    if multiprocessing.parent_process():
        torch.set_num_threads(1)  # a worker is one of as many as there are CPUs
    colours = torch.from_numpy(image.transpose(2, 0, 1).astype(np.float32))[None]
    masks = torch.from_numpy(scores)[None]
    return refine_masks(colours, masks, pamr.iterations, tuple(pamr.dilations), pamr.kernel)[0].numpy()


def two_thresholds(image: np.ndarray, scores: np.ndarray, classes: np.ndarray, refine: Params) -> np.ndarray:
    """The rule for data sets with a background.

    The image is labelled twice, by the best of the scores and a constant score of the background, once `foreground`
    and once `background`; either label map is smoothed. A pixel that is foreground in the first has that class, one
    that is background in both is background, the others are void.
    """
    best, best_score = scores.argmax(axis=0) + 1, scores.max(axis=0)
    twice = np.stack([np.where(best_score > floor, best, 0) for floor in (refine.foreground, refine.background)])
    certain, possible = smooth(image, twice, len(classes) + 1, refine.crf)
    labels = np.concatenate([[0], classes]).astype(np.uint8)
    return np.where(certain > 0, labels[certain], np.where(possible > 0, VOID, 0)).astype(np.uint8)


def one_threshold(image: np.ndarray, scores: np.ndarray, classes: np.ndarray, refine: Params) -> np.ndarray:
    """The rule for data sets without background: the best class, void where its score is below `foreground`.

    The CRF smooths the labels among the pixels that keep one; the others enter it as unknown and stay void.
    """
    sure = scores.max(axis=0) >= refine.foreground
    best = smooth(image, np.where(sure, scores.argmax(axis=0), VOID), len(classes), refine.crf)
    return np.where(sure, classes[np.where(sure, best, 0)], VOID).astype(np.uint8)


def smooth(image: np.ndarray, labels: np.ndarray, n_labels: int, crf: Params | str) -> np.ndarray:
    """The label maps (..., H, W) of largest probability after the label CRF; unchanged for `crf: none`."""
    if crf == NONE:
        return labels
    return dense_crf_labels(image, labels, n_labels, crf.confidence, crf).argmax(axis=-3)
