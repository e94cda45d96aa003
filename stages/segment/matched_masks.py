"""Label maps that give each object the size it is known to have, from activation maps.

The usual cut of an activation map, at one threshold for all images, makes objects too large or too small; the threshold
is tuned on true masks. Where sizes are known, each image decides its own: among the label maps in which class k covers
the share v_k of the image, the one with the largest sum of scores. It is a transport problem, whose solution is an
argmax of the scores with an offset per class (its dual variables); the background's score is 0.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from stages.core.dataset import VOID, Dataset
from stages.core.files import ZipReader
from stages.core.two_thresholds import read_maps, upsample

TEMPERATURES = 0.3 ** np.arange(1, 8)  # of scores in 0..1; the last is a fifth of a thousandth
STEPS = 30  # at each of them
SLOPE = 0.1  # of scores over the image's diagonal, where a map is 0
SAMPLE = 16384  # pixels that decide on the offsets; more would cost a loader its time


def match_sizes(scores: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """Index of the class of each pixel, (N,) int64, such that class k has about `shares[k]` of the pixels.

    The offsets are those of the entropic transport problem (Cuturi, "Sinkhorn Distances", NIPS 2013, arXiv 1306.0895)
    as its temperature falls, on an even sample of the pixels. With two classes they are exact: a quantile.

    Args:
        scores: (K, N) float, at most 1 apart; the background, where there is one, is a row of zeros.
        shares: (K,) at least 0, with sum 1.
    """
    present = np.flatnonzero(shares)
    wanted, all_scores = np.log(shares[present]), scores[present].astype(np.float64)
    if len(present) == 1:
        return np.full(scores.shape[1], present[0])
    if len(present) == 2:
        lead = all_scores[1] - all_scores[0]
        count = round(float(shares[present[1]]) * len(lead))
        labels = np.zeros(len(lead), np.int64)
        labels[np.argsort(-lead, kind="stable")[:count]] = 1
        return present[labels]
    sample = all_scores[:, :: -(-scores.shape[1] // SAMPLE)]
    offsets = np.zeros((len(present), 1))
    for temperature in TEMPERATURES:
        for _ in range(STEPS):
            energy = (sample + offsets) / temperature
            energy -= energy.max(0)
            soft = np.exp(energy)
            mass = (soft / soft.sum(0)).mean(1)
            offsets += temperature * (wanted - np.log(np.maximum(mass, 1e-12)))[:, None]
    return present[(all_scores + offsets).argmax(0)]


def beyond_zero(maps: np.ndarray) -> np.ndarray:
    """Activation maps (K, H, W) that go on falling, with the distance from where they are active, in place of 0.

    A rectified map is 0 over most of the image; an object larger than its active part would be filled up with whatever
    pixels come first. A map that is 0 everywhere stays so.
    """
    result = maps.copy()
    for plane in result:
        silent = plane <= 0
        if silent.any() and not silent.all():
            distance = cv2.distanceTransform(silent.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
            plane[silent] = -SLOPE * distance[silent] / np.hypot(*plane.shape)
    return result


class MatchedMasks:
    """The matched label maps of the training images, also from worker processes.

    Args:
        dataset: a prepared data set.
        cams: cam.zip of `cam`.
        targets: relative size per image id and label, (K,), see `supervision.target_rows`.
    """

    def __init__(self, dataset: Dataset, cams: Path, targets: dict[str, np.ndarray]) -> None:
        self._dataset, self._cams, self._targets = dataset, ZipReader(cams), targets

    def __call__(self, image_id: str) -> np.ndarray:
        """The label map (H, W) uint8; an image without tags is all background, or void where there is none."""
        record, background = self._dataset.records[image_id], self._dataset.info.background
        size = record.height, record.width
        tags = self._dataset.tags(image_id)
        if not len(tags):
            return np.full(size, 0 if background else VOID, np.uint8)
        maps = upsample(read_maps(self._cams, self._dataset, image_id), size)
        scores = beyond_zero(maps).reshape(len(tags), -1)
        labels = tags
        if background:
            scores, labels = np.concatenate([np.zeros_like(scores[:1]), scores]), np.concatenate([[0], tags])
        shares = self._targets[image_id][labels]
        return labels.astype(np.uint8)[match_sizes(scores, shares / shares.sum())].reshape(size)
