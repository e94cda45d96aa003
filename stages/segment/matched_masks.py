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


def match_sizes(scores: np.ndarray, shares: np.ndarray, offsets: np.ndarray | None = None) -> np.ndarray:
    """Index of the class of each pixel, (N,) int64, such that class k has about `shares[k]` of the pixels.

    With two classes it is exact: the pixels that lead most, up to the share. With more it is the argmax of the scores
    with `offsets_of` added.

    Args:
        scores: (K, N) float, at most 1 apart; the background, where there is one, is a row of zeros.
        shares: (K,) at least 0, with sum 1.
        offsets: those of `offsets_of`, where they are known already.
    """
    present = np.flatnonzero(shares)
    if len(present) != 2:
        offsets = offsets_of(scores, shares) if offsets is None else offsets
        return (scores + offsets[:, None]).argmax(0)
    lead = scores[present[1]] - scores[present[0]]
    labels = np.full(len(lead), present[0])
    labels[highest(lead, round(float(shares[present[1]]) * len(lead)))] = present[1]
    return labels


def highest(values: np.ndarray, count: int) -> np.ndarray:
    """True at the `count` highest of the values (N,); of equal ones the first count. All of them if there are fewer."""
    if count <= 0 or count >= len(values):
        return np.full(len(values), count > 0)
    level = np.partition(values, len(values) - count)[len(values) - count]
    chosen = values > level
    chosen[np.flatnonzero(values == level)[: count - np.count_nonzero(chosen)]] = True
    return chosen


def offsets_of(scores: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """What to add to each class's scores, (K,), so that the best class has about its share; -inf where that is 0.

    They are those of the entropic transport problem (Cuturi, "Sinkhorn Distances", NIPS 2013, arXiv 1306.0895) as its
    temperature falls, on an even sample of the pixels. Arguments as for `match_sizes`.
    """
    result = np.full(len(shares), -np.inf)
    present = np.flatnonzero(shares)
    wanted = np.log(shares[present])
    sample = scores[present, :: -(-scores.shape[1] // SAMPLE)].astype(np.float64)
    offsets = np.zeros((len(present), 1))
    for temperature in TEMPERATURES:
        for _ in range(STEPS):
            energy = (sample + offsets) / temperature
            energy -= energy.max(0)
            soft = np.exp(energy)
            mass = (soft / soft.sum(0)).mean(1)
            offsets += temperature * (wanted - np.log(np.maximum(mass, 1e-12)))[:, None]
    result[present] = offsets[:, 0]
    return result


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
        self._offsets: dict[str, np.ndarray] = {}  # they take long to find, and every epoch asks again

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
        shares = shares / shares.sum()
        if np.count_nonzero(shares) > 2 and image_id not in self._offsets:
            self._offsets[image_id] = offsets_of(scores, shares)
        chosen = match_sizes(scores, shares, self._offsets.get(image_id))
        return labels.astype(np.uint8)[chosen].reshape(size)
