"""IA-mIoU by loops over pixels, instances or contours, from its description and independent of the code under test."""

from __future__ import annotations

import math

import cv2
import numpy as np

V, N = 255, 65535
Pixel = tuple[int, int]


def blank(height: int = 20, width: int = 20) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """An empty mask, instance map and prediction."""
    return (
        np.zeros((height, width), np.uint8),
        np.zeros((height, width), np.uint16),
        np.zeros((height, width), np.uint8),
    )


def components(marked: set[Pixel]) -> list[set[Pixel]]:
    """8-connected components of a set of pixels."""
    left, found = set(marked), []
    while left:
        stack = [left.pop()]
        part = set(stack)
        while stack:
            y, x = stack.pop()
            near = {(y + dy, x + dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)} & left
            left -= near
            part |= near
            stack.extend(near)
        found.append(part)
    return found


def without_holes(marked: set[Pixel], shape: tuple[int, int]) -> set[Pixel]:
    """The set with all pixels from which no path through 4 neighbours outside it leaves the image."""
    reached, stack = {(-1, -1)}, [(-1, -1)]
    while stack:
        y, x = stack.pop()
        for pixel in ((y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)):
            inside = -1 <= pixel[0] <= shape[0] and -1 <= pixel[1] <= shape[1]
            if inside and pixel not in reached and pixel not in marked:
                reached.add(pixel)
                stack.append(pixel)
    return set(np.ndindex(shape)) - reached


def instance_ious(mask: np.ndarray, ids: np.ndarray, prediction: np.ndarray, paper: bool) -> dict[int, float]:
    """IoU by instance id, for instances whose pixels show their class; void is what the instance map calls void."""
    pixels = list(np.ndindex(mask.shape))
    valid = {p for p in pixels if ids[p] != N}
    truth = {int(i): {p for p in pixels if ids[p] == i} for i in np.unique(ids) if i not in (0, N)}
    label = {i: max(int(mask[p]) for p in members) for i, members in truth.items()}
    result = {}
    for i, members in truth.items():
        of_class = set().union(*(truth[j] for j in truth if label[j] == label[i]))
        predicted = {p for p in pixels if prediction[p] == label[i]}
        if paper:
            parts = [part & predicted for part in components(without_holes(predicted, mask.shape))]
        else:
            parts = components(predicted)
        hits, union = 0, float(len(members))
        for part in parts:
            own, on_class, rest = len(part & members), len(part & of_class), len((part & valid) - of_class)
            if own == 0:
                continue
            share = own / on_class * rest
            hits += own
            union += math.floor(share) if paper and own != on_class else share
        result[i] = hits / union
    return result


def contour_ious(mask: np.ndarray, ids: np.ndarray, prediction: np.ndarray) -> dict[int, float]:
    """IoU by instance id as the published algorithm finds components: by outlines, one instance and outline at a time.

    An outline of the predicted class is drawn filled, and what it covers of the prediction is a component.
    """
    valid, result = ids != N, {}
    for i in np.unique(ids[(ids > 0) & (ids < N)]):
        instance = ids == i
        label = mask[instance].max()
        predicted = prediction == label
        of_class = (mask == label) & (ids > 0) & valid
        hits, union = 0, float(instance.sum())
        outlines, _ = cv2.findContours(predicted.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        for outline in outlines:
            canvas = np.zeros(mask.shape, np.uint8)
            cv2.drawContours(canvas, [outline], -1, 1, cv2.FILLED)
            part = (canvas > 0) & predicted & valid
            own = np.count_nonzero(part & instance)
            if own == 0:
                continue
            on_class = np.count_nonzero(part & of_class)
            rest = np.count_nonzero(part) - on_class
            hits += own
            union += rest if own == on_class else int(own / on_class * rest)
        result[int(i)] = hits / union
    return result
