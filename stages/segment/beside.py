"""Where an object lies that touches the ring and has the disc's colour, such as the heart's other chamber."""

from __future__ import annotations

import cv2
import numpy as np

from stages.segment.disc_in_ring import Location, Series

CORE = 0.75  # of the disc's radius: what lies within has the disc's colour
LEAST_SPREAD = 0.2  # of that colour, as a share of it: standard deviation at least
FALL = 0.9  # of the subject's radius: standard deviation of the distance from the ring
BLUR = 1.6  # pixels


def colours(series: Series, location: Location) -> tuple[np.ndarray, np.ndarray]:
    """The disc's median grey level and standard deviation in each image, (N,); the subject's medians where it has none.

    Raises nothing: a subject without any disc gets those of all its pixels.
    """
    rows, columns = np.ogrid[: series.images.shape[1], : series.images.shape[2]]
    middle, spread = np.full((2, len(series.images)), np.nan)
    for number in np.flatnonzero(np.isfinite(location.centres[:, 0])):
        row, column = location.centres[number]
        within = max(CORE * np.sqrt(series.inner[number] / np.pi), 1.5)
        pixels = series.images[number][np.hypot(rows - row, columns - column) < within]
        middle[number], spread[number] = np.median(pixels), pixels.std()
    if np.isnan(middle).all():
        middle[:], spread[:] = np.median(series.images), series.images.std()
    middle = np.where(np.isnan(middle), np.nanmedian(middle), middle)
    spread = np.where(np.isnan(spread), np.nanmedian(spread), spread)
    return middle, np.maximum(spread, LEAST_SPREAD * middle).clip(min=1e-3)


def beside(series: Series, location: Location, areas: np.ndarray, reach: float) -> np.ndarray:
    """Rank of each pixel as a share of the object's size, (N, H, W) float32: the object is where it is below 1.

    The score of a pixel outside the ring, and within `reach` radii of the subject's point, is the product of a Gaussian
    of its grey level around the disc's, of the motion (the mean of that of the place and of the subject), and of a
    Gaussian of its distance from the ring; blurred, and multiplied by the subject's mean score, in which an image
    counts as its object's area does: the object lies on one side of the ring in all of a subject's images. The rank is
    the number of pixels with a larger score, divided by the area; inf outside, and where an image has no such object.

    Args:
        areas: (N,) of the object, in pixels.
        reach: of the region in which all objects lie, in radii of `location`.
    """
    count, height, width = series.images.shape
    rows, columns = np.ogrid[:height, :width]
    middle, spread = colours(series, location)
    region = np.hypot(rows - location.subject[0], columns - location.subject[1]) < reach * location.radius
    outside = np.empty((count, height, width), bool)
    scores = np.empty((count, height, width), np.float32)
    for number in range(count):
        centre, ring = location.centres[number], np.sqrt((series.inner[number] + series.outer[number]) / np.pi)
        if np.isnan(centre).any():
            centre, ring = location.subject, 0.0
        distance = np.hypot(rows - centre[0], columns - centre[1]) - ring
        outside[number] = region & (distance > 0)
        likeness = np.exp(-((series.images[number] - middle[number]) ** 2) / (2 * spread[number] ** 2))
        near = np.exp(-(np.maximum(distance, 0) ** 2) / (2 * (FALL * location.radius) ** 2))
        moving = (location.motion[number] + location.mean_motion) / 2
        score = (likeness * moving * near * outside[number]).astype(np.float32)
        scores[number] = cv2.GaussianBlur(score, (0, 0), BLUR, borderType=cv2.BORDER_REFLECT) * outside[number]
    shown = areas > 0
    if shown.any():
        scores = scores * np.average(scores[shown], axis=0, weights=areas[shown])
    ranks = np.full((count, height, width), np.inf, np.float32)
    for number in np.flatnonzero(shown):
        order = np.argsort(-scores[number], axis=None, kind="stable")
        rank = np.empty(height * width, np.float32)
        rank[order] = np.arange(height * width) / areas[number]
        ranks[number] = np.where(outside[number], rank.reshape(height, width), np.inf)
    return ranks
