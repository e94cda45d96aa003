"""True masks as wrong as size targets are: objects grown or shrunk until they have the sizes they are said to have.

A person who draws outlines errs at the boundary. Here the region of each class is cut at another level of its signed
Euclidean distance, so that it gains or loses pixels evenly all around. All objects of a class in an image are one
region, as they are one size. Where regions collide, the class with the lower label has the first choice, and the next
ones take the nearest pixels that are left: each region has its size wherever the image has the room. Void stays void.
"""

from __future__ import annotations

import cv2
import numpy as np

from stages.core.dataset import VOID, Dataset
from stages.segment.matched_masks import highest


def resize_regions(mask: np.ndarray, factors: np.ndarray, background: bool) -> np.ndarray:
    """A label map (H, W) uint8 in which the region of class k has round(factors[k] * its pixels) pixels.

    A region with a factor above 0 keeps a pixel at least. Factors of 1 change nothing. What no region covers is
    background; where there is none, class 0 is a region like the others and what none covers is void.

    Args:
        mask: (H, W) uint8, 255 void.
        factors: (K,) at least 0; of classes that the mask has not, and of a background, they have no meaning.
        background: label 0 is the background.
    """
    labelled = mask != VOID
    result = np.where(labelled, 0 if background else VOID, VOID).astype(np.uint8)
    free = labelled.copy()
    counts = np.bincount(mask[labelled], minlength=len(factors))
    for label in np.flatnonzero(counts[: len(factors)]):
        if label == 0 and background:
            continue
        wanted = max(round(float(factors[label]) * int(counts[label])), int(factors[label] > 0))
        places = np.flatnonzero(free)
        taken = places[highest(depth(mask == label).ravel()[places], wanted)]
        result.ravel()[taken] = label
        free.ravel()[taken] = False
    return result


def depth(region: np.ndarray) -> np.ndarray:
    """Signed distance in pixels, (H, W) float32: inside to the nearest pixel outside, outside minus that to the region.

    A region that fills the image is deep by its distance to the frame, which otherwise is no boundary.
    """
    inside, outside = region.astype(np.uint8), (~region).astype(np.uint8)
    if region.all():
        return distance(np.pad(inside, 1))[1:-1, 1:-1]
    return distance(inside) - distance(outside)


def distance(inside: np.ndarray) -> np.ndarray:
    """Euclidean distance of each pixel of (H, W) uint8 to the nearest 0, (H, W) float32."""
    return cv2.distanceTransform(inside, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)


class ResizedMasks:
    """The resized masks of the training images, also from worker processes.

    Args:
        dataset: a prepared data set with masks.
        factors: target size over true size per image id and label, (K,).
    """

    def __init__(self, dataset: Dataset, factors: dict[str, np.ndarray]) -> None:
        self._dataset, self._factors = dataset, factors

    def __call__(self, image_id: str) -> np.ndarray:
        """The label map (H, W) uint8, see `resize_regions`."""
        return resize_regions(
            self._dataset.mask(image_id), self._factors[image_id], background=self._dataset.info.background
        )
