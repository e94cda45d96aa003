"""The scores of one image: its activation maps, spread over the image in one way or another, to be cut to labels."""

from __future__ import annotations

import numpy as np

from stages.core.dataset import VOID
from stages.core.filters.random_walk import random_walk
from stages.core.params import Params
from stages.core.two_thresholds import NONE, resize_maps, upsample

CAM, WALK, PAMR = "cam", "walk", "pamr"  # the steps


def score_steps(image: np.ndarray, cam: np.ndarray, edges: np.ndarray | None, refine: Params) -> dict[str, np.ndarray]:
    """The scores of one image after each step, in order; the last one is what the thresholds cut.

    Args:
        image: (H, W, 3) uint8 RGB.
        cam: (K, h, w) uint8, activation maps of the tagged classes, 255 = the class's maximum in this image.
        edges: (h', w') uint8, the boundaries in which the scores walk, 255 = 1; not read without a walk.
        refine: the scores may walk within boundaries (`walk`: none, or see `walk_scores`) and flow to pixels of like
            colour (`pamr`: none, or a section of `core.filters.pamr`).

    Returns:
        (K, H, W) float32 in 0..1 by step: `cam`, the activation maps at the image's size; `walk` and `pamr`, each where
        the recipe has it.
    """
    size = image.shape[:2]
    steps = {CAM: upsample(cam, size)}
    if refine.walk != NONE:
        steps[WALK] = walk_scores(cam, edges, size, refine.walk) if len(cam) else steps[CAM]
    if refine.pamr != NONE:
        steps[PAMR] = spread(image, last(steps), refine.pamr) if len(cam) else steps[CAM]
    return steps


def last(steps: dict[str, np.ndarray]) -> np.ndarray:
    """The scores after the last step."""
    return steps[next(reversed(steps))]


def best_labels(scores: np.ndarray, classes: np.ndarray, background: bool, floor: float) -> np.ndarray:
    """What scores (K, H, W) of the labels `classes` (K,) say alone, (H, W) uint8.

    It is the class of the highest score, and background where that is not over `floor`. In a data set without
    background every pixel has a class, and an image without tags is void.
    """
    if len(classes) == 0:
        return np.full(scores.shape[1:], 0 if background else VOID, np.uint8)
    best = classes.astype(np.uint8)[scores.argmax(axis=0)]
    return np.where(scores.max(axis=0) > floor, best, 0).astype(np.uint8) if background else best


def walk_scores(cam: np.ndarray, edges: np.ndarray, size: tuple[int, int], walk: Params) -> np.ndarray:
    """Activation maps after the random walk, as scores (K, H, W) float32 in 0..1.

    They are divided by the largest of all, not by each class's own, as in the authors' code: a class whose activation
    was faint stays faint. Their code then cuts them at one score of the background, 0.25; here the two thresholds
    apply as without a walk, and are that one cut where they are equal.

    Args:
        cam: (K, h, w) uint8, see `score_steps`.
        edges: (h', w') uint8, 255 = 1; the walk takes place at this size.
        size: (H, W) of the image.
        walk: `radius`, `beta` and `steps`, see `core.filters.random_walk`.
    """
    maps = resize_maps(cam.astype(np.float32) / 255, edges.shape)
    walked = random_walk(maps, edges.astype(np.float32) / 255, walk.radius, walk.beta, walk.steps)
    scores = resize_maps(walked, size)
    return scores / max(scores.max(), np.finfo(np.float32).tiny)  # nothing is active where a boundary is everywhere


def spread(image: np.ndarray, scores: np.ndarray, pamr: Params) -> np.ndarray:
    """Scores (K, H, W) in 0..1 after pixel-adaptive refinement on the image (H, W, 3), on the CPU."""
    import torch  # noqa: PLC0415 - a second that other recipes need not spend in every worker

    from stages.core.filters.pamr import refine_masks  # noqa: PLC0415

    colours = torch.from_numpy(image.transpose(2, 0, 1).astype(np.float32))[None]
    masks = torch.from_numpy(scores)[None]
    return refine_masks(colours, masks, pamr.iterations, tuple(pamr.dilations), pamr.kernel)[0].numpy()
