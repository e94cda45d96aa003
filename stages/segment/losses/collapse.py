"""Measures that show when a network meets its size targets without saying where anything is."""

from __future__ import annotations

import math

import torch

from stages.segment.losses.average_prediction import log_average_prediction


@torch.no_grad()
def mean_entropy(logits: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
    """Mean over an image's valid pixels of -sum_k S_pk ln S_pk / ln K, then over images; a scalar in 0..1.

    0 where every pixel is sure of its class, 1 where every pixel is uniform over the classes.

    Shape:
        logits: (B, K, H, W), K >= 2; valid: (B, H, W) bool, an image without a valid pixel counts as 0.
    """
    scores = finite(logits.float().log_softmax(1))
    entropy = -(scores.exp() * scores).sum(1) * valid
    means = entropy.sum((1, 2)) / valid.sum((1, 2)).clamp(min=1)
    return (means / math.log(logits.shape[1])).mean()


@torch.no_grad()
def mutual_information(logits: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
    """Mean over an image's valid pixels of KL(S_p || S), S being their average, then over images; nats, at least 0.

    It is what a pixel's place tells about its class: the entropy of the average minus the mean entropy of the pixels,
    at most ln K. A loss on the average alone is also at its minimum where every pixel predicts the size target itself,
    S_p = v; the size loss looks perfect then. This value is 0 exactly where all pixels predict the same distribution,
    sure or not, and the entropy of the sizes where every pixel is sure and the sizes are met. The mean entropy hardly
    tells S_p = v from sure pixels if v is nearly all background.

    Shape:
        logits: (B, K, H, W); valid: (B, H, W) bool with at least one True per image.
    """
    scores = finite(logits.float().log_softmax(1))
    average = finite(log_average_prediction(logits, valid))
    divergence = (scores.exp() * (scores - average[:, :, None, None])).sum(1) * valid
    means = divergence.sum((1, 2)) / valid.sum((1, 2))
    return means.clamp(min=0).mean()  # rounding leaves about -1e-7 for equal pixels


def finite(logarithms: torch.Tensor) -> torch.Tensor:
    """ln 0 as the smallest float32, so that 0 ln 0 is 0."""
    return logarithms.clamp(min=torch.finfo(torch.float32).min)
