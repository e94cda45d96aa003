"""Which pixels' labels are reliable, decided in the training step from activation maps and two dense CRFs.

Zhang, Xiao, Wei, Sun and Huang, "Reliability Does Matter: An End-to-End Weakly Supervised Semantic Segmentation
Approach", AAAI 2020, arXiv 1911.08039. Constants and the order of the steps are those of the authors' public code.

With scores M_c in 0..1 of an image's tagged classes and the background's score (1 - max_c M_c)^alpha, a dense CRF runs
twice, at a small and at a large alpha. A pixel is background where the CRF of the large alpha says so, else the class
that the CRF of the small alpha says, and void where that says background. Its label is reliable where

- the CRF that gave the label gives it at least `probability`, and
- the scores alone are sure of the same label: for the background, its score at the large alpha is over
  `background_score`; for a class, it has the highest of all scores (the background's at the large alpha among them),
  and lies in the upper part of those of its scores that are highest and over `floor` (above their `quantile`).

The paper leaves open whether the two conditions must hold for one and the same label; here they must.
"""

from __future__ import annotations

import numpy as np
import torch

from stages.core.dataset import VOID
from stages.core.dense_crf import dense_crf
from stages.core.params import Params
from stages.core.transforms import resize
from stages.core.two_thresholds import resize_maps

LEAST_PEAK = 1e-5  # keeps a map without activation at zero


def activation_scores(cams: torch.Tensor, tags: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
    """Activation maps of the tagged classes over each one's maximum, the others 0: (B, C, H, W) float32 in 0..1.

    Shape:
        cams: (B, C, H, W), at least 0; tags: (B, C), 1 for present classes; valid: (B, H, W) bool, False on padding,
        which neither has a score nor counts for the maximum.
    """
    cams = cams.float() * tags[:, :, None, None] * valid[:, None]
    return cams / (cams.amax((2, 3), keepdim=True) + LEAST_PEAK)


def background_score(scores: np.ndarray, alpha: float) -> np.ndarray:
    """(1 - max_c M_c)^alpha of scores (C, H, W) in 0..1, as (H, W); 1 where there is no class."""
    return (1 - scores.max(axis=0, initial=0)) ** alpha


def smooth_scores(
    image: np.ndarray, scores: np.ndarray, alphas: tuple[float, float], crf: Params, stride: int
) -> np.ndarray:
    """Label probabilities of the two dense CRFs, (2, C + 1, H, W) float32, the background first.

    As in the authors' code the background's score and the classes' enter the CRF as probabilities as they are:
    mean field does not see a factor that all labels of a pixel have.

    Args:
        image: (H, W, 3) uint8 RGB.
        scores: (C, H, W) in 0..1.
        alphas: of the two background scores.
        crf: the section of `core.dense_crf`; its `xy` are pixels of the image whatever the stride.
        stride: the CRF runs on cells of `stride` x `stride` pixels and its result is upsampled; 1 is the paper.
    """
    unaries = np.stack([np.concatenate([background_score(scores, alpha)[None], scores]) for alpha in alphas])
    if stride == 1:
        return dense_crf(image, unaries, crf)
    size = [-(-side // stride) for side in image.shape[:2]]
    coarse = resize_maps(unaries.reshape(-1, *image.shape[:2]), size).reshape(*unaries.shape[:2], *size)
    kernels = {name: kernel.plain() | {"xy": kernel.xy / stride} for name, kernel in crf.kernels.items()}
    smoothed = dense_crf(resize(image, *size), coarse, Params(crf.plain() | {"kernels": kernels}))
    return resize_maps(smoothed.reshape(-1, *size), image.shape[:2]).reshape(unaries.shape)


def reliable_labels(scores: np.ndarray, classes: np.ndarray, smoothed: np.ndarray, rule: Params) -> np.ndarray:
    """The rule of this module for one image: labels (H, W) uint8, 255 where none is reliable.

    Args:
        scores: (C, H, W) in 0..1, of the tagged classes.
        classes: (C,) their labels; none of them is 0, the background.
        smoothed: (2, C + 1, H, W), the CRF's probabilities with `rule.foreground_alpha` and `rule.background_alpha`,
            the background first.
        rule: `background_alpha`, `probability`, `background_score`, `floor` and `quantile`.
    """
    foreground, background = smoothed
    is_background = background.argmax(axis=0) == 0
    label = np.where(is_background, 0, foreground.argmax(axis=0))
    decided = is_background | (label > 0)
    probability = np.where(is_background, background[0], np.take_along_axis(foreground, label[None], 0)[0])
    sure = np.take_along_axis(sure_scores(scores, rule), label[None], 0)[0]
    labels = np.concatenate([[0], classes]).astype(np.uint8)[label]
    return np.where(decided & sure & (probability >= rule.probability), labels, VOID).astype(np.uint8)


def sure_scores(scores: np.ndarray, rule: Params) -> np.ndarray:
    """Where the scores (C, H, W) are sure of a label, the background first: (C + 1, H, W) bool.

    A class with n scores that are highest and over `floor` is sure where it is over the one at position
    floor(quantile * n), from 0, in increasing order.
    """
    background = background_score(scores, rule.background_alpha)
    best = np.concatenate([background[None], scores]).argmax(axis=0)
    inside = (best == np.arange(1, len(scores) + 1)[:, None, None]) & (scores > rule.floor)
    ordered = np.sort(np.where(inside, scores, np.inf).reshape(len(scores), best.size), axis=1)
    position = np.floor(rule.quantile * inside.sum(axis=(1, 2))).astype(int)
    threshold = np.take_along_axis(ordered, position[:, None], 1)[:, :, None]
    return np.concatenate([background[None] > rule.background_score, inside & (scores > threshold)])


def reliable_pixels(
    images: torch.Tensor,
    scores: torch.Tensor,
    tags: torch.Tensor,
    valid: torch.Tensor,
    rule: Params,
    crf: Params,
    stride: int = 1,
) -> torch.Tensor:
    """Labels (B, H, W) int64 of a batch, 255 where none is reliable and on padding; image by image, without gradient.

    An image without tags is background wherever it is valid.

    Shape:
        images: (B, 3, H, W) uint8; scores: (B, C, H, W) in 0..1, see `activation_scores`; tags: (B, C), 1 for present
        classes, class c having label c + 1; valid: (B, H, W) bool, True in a rectangle from the upper left corner.

    Args:
        rule: `foreground_alpha` and those of `reliable_labels`.
        crf, stride: see `smooth_scores`.
    """
    labels = np.full(valid.shape, VOID, np.uint8)
    heights, widths = (valid.any(axis).sum(1).tolist() for axis in (2, 1))
    alphas = rule.foreground_alpha, rule.background_alpha
    for row, (height, width) in enumerate(zip(heights, widths, strict=True)):
        image = images[row, :, :height, :width].permute(1, 2, 0).cpu().numpy()
        present = tags[row].nonzero()[:, 0]
        maps = scores[row, present, :height, :width].detach().cpu().numpy()
        smoothed = smooth_scores(image, maps, alphas, crf, stride)
        labels[row, :height, :width] = reliable_labels(maps, present.cpu().numpy() + 1, smoothed, rule)
    return torch.from_numpy(labels).long().to(images.device)


def energy_gate(probabilities: torch.Tensor, labels: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
    """The weight of a pixel in the dense energy, (B, H, W) float32 in 0..1, a constant for the gradient.

    It is 1 where no label is reliable, 1 - max_k S_k where one is, and 0 on padding: the energy speaks where the
    cross-entropy does not, and little where the network has made up its mind.

    Shape:
        probabilities: (B, K, H, W), a distribution over K; labels: (B, H, W), 255 void; valid: (B, H, W) bool.
    """
    doubt = (1 - probabilities.detach().float().amax(1)).clamp(min=0)
    return torch.where(labels == VOID, torch.ones_like(doubt), doubt) * valid
