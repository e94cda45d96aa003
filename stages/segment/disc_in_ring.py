"""Where a round object lies inside another, found without a label: by their sizes, and by what moves.

Sizes alone do not say where an object is, but two sizes say how a disc and the ring around it would look if the one
object encloses the other: its radius sqrt(a / pi) and that of both, sqrt((a + b) / pi). The one filter of that shape
finds its place in an image. Where several images show the same place at different times (phases), what differs between
them moved; where they show neighbouring places of one subject, the object lies at nearly the same point.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

LEAST_AREA = 10  # pixels; a smaller disc or ring has no shape
SOFTEN = 0.05  # grey levels of 0..1 that are added to the standard deviation: a flat region shows nothing
HEART = 0.5  # of an object's radius: standard deviation of the blur of the motion, and of how far a centre may lie
LARGEST = 0.9  # quantile of a subject's areas that stands for the largest: noisy sizes have outliers


@dataclass(frozen=True)
class Series:
    """The images of one subject, at one size.

    images: (N, H, W) float32 in 0..1.
    place: (N,) int64, the same number where images differ only in their phase.
    inner, outer: (N,) areas in pixels of the disc and of the ring around it, 0 where there is none.
    total: (N,) area in pixels of all objects.
    """

    images: np.ndarray
    place: np.ndarray
    inner: np.ndarray
    outer: np.ndarray
    total: np.ndarray


@dataclass(frozen=True)
class Location:
    """What is known of a subject's objects.

    subject: (2,) row and column of the point around which its objects lie.
    radius: that of a disc as large as all objects together, where they are largest; pixels.
    centres: (N, 2) row and column of the disc's centre; NaN where an image has no disc or no ring.
    motion: (N, H, W) float32, 0..1, the motion at an image's place; 1 everywhere without a second phase.
    mean_motion: (H, W) float32, 0..1, its mean over the places, blurred alike.
    """

    subject: np.ndarray
    radius: float
    centres: np.ndarray
    motion: np.ndarray
    mean_motion: np.ndarray


def disc(radius: float, reach: int) -> np.ndarray:
    """A disc in the middle of a square of 2 * reach + 1 pixels, float32, with an edge of one pixel from 1 to 0."""
    rows, columns = np.ogrid[-reach : reach + 1, -reach : reach + 1]
    return np.clip(radius + 0.5 - np.hypot(rows, columns), 0, 1).astype(np.float32)


def contrast(image: np.ndarray, inner: float, outer: float) -> np.ndarray:
    """How much brighter the disc around each pixel is than the ring around the disc, (H, W) float32 in -1..1.

    It is the correlation of the image, over disc and ring, with a picture that is 1 in the disc and 0 in the ring (the
    point-biserial correlation): (mean of the disc - mean of the ring) * sqrt(share of the disc * share of the ring) /
    (standard deviation + SOFTEN, added in squares). Beyond its border the image is mirrored.

    Args:
        image: (H, W) float32 in 0..1.
        inner, outer: areas of disc and ring in pixels, above 0.
    """
    first, second = np.sqrt(inner / np.pi), np.sqrt((inner + outer) / np.pi)
    reach = int(np.ceil(second + 0.5))
    core = disc(first, reach)
    ring = disc(second, reach) - core
    weights = core.sum(), ring.sum()

    def mean(picture: np.ndarray, kernel: np.ndarray) -> np.ndarray:
        return cv2.filter2D(picture, cv2.CV_32F, kernel / kernel.sum(), borderType=cv2.BORDER_REFLECT)

    inside, around = mean(image, core), mean(image, ring)
    average = (weights[0] * inside + weights[1] * around) / sum(weights)
    variance = np.maximum(mean(image**2, core + ring) - average**2, 0)
    balance = np.sqrt(weights[0] * weights[1]) / sum(weights)
    return balance * (inside - around) / np.sqrt(variance + SOFTEN**2)


def blurred(picture: np.ndarray, deviation: float) -> np.ndarray:
    """A Gaussian blur, scaled so that its largest value is 1; all 1 where the picture is all 0."""
    result = cv2.GaussianBlur(picture, (0, 0), max(deviation, 0.5), borderType=cv2.BORDER_REFLECT)
    return result / result.max() if result.max() > 0 else np.ones_like(result)


def differences(series: Series) -> np.ndarray:
    """Largest minus least grey level over the phases, (N, H, W) float32, the same for all images of a place."""
    result = np.empty_like(series.images)
    for place in np.unique(series.place):
        here = series.place == place
        result[here] = np.ptp(series.images[here], axis=0)
    return result


def locate(series: Series) -> Location:
    """Finds the disc in each image of a subject.

    1. The subject's point is where m^2 * (sum over its images of max(contrast, 0)) is largest, m being the mean motion
       blurred with half its radius.
    2. An image's centre is where (its own contrast + half of that of its place's other phases, each at least 0) * a
       Gaussian around the subject's point, of half its radius, is largest.

    Where no image has a disc and a ring, the subject's point is that of the largest motion.
    """
    count, size = len(series.images), series.images.shape[1:]
    radius = float(np.sqrt(max(np.quantile(series.total, LARGEST), 1) / np.pi))
    moved = differences(series)
    motion = np.stack([blurred(picture, HEART * radius / 3) for picture in moved])
    responses = np.zeros((count, *size), np.float32)
    shaped = (series.inner >= LEAST_AREA) & (series.outer >= LEAST_AREA)
    for number in np.flatnonzero(shaped):
        found = contrast(series.images[number], series.inner[number], series.outer[number])
        responses[number] = np.maximum(found, 0)
    everywhere = responses.sum(0) if shaped.any() else np.ones(size, np.float32)
    everywhere = everywhere * blurred(moved.mean(0), HEART * radius) ** 2
    subject = np.array(np.unravel_index(everywhere.argmax(), size), float)
    rows, columns = np.ogrid[: size[0], : size[1]]
    near = np.exp(-((rows - subject[0]) ** 2 + (columns - subject[1]) ** 2) / (2 * (HEART * radius) ** 2))
    centres = np.full((count, 2), np.nan)
    for number in np.flatnonzero(shaped):
        phases = responses[series.place == series.place[number]].sum(0)
        score = (responses[number] + phases) / 2 * near
        centres[number] = np.unravel_index(score.argmax(), size)
    mean_motion = blurred(moved.mean(0), HEART * radius / 2.5)
    return Location(subject, radius, centres, motion, mean_motion)
