"""Cross-entropy with label maps."""

from __future__ import annotations

import torch
from torch.nn import functional as F

from stages.core.dataset import VOID
from stages.core.distributed import mean_over_processes


def cross_entropy(logits: torch.Tensor, labels: torch.Tensor, label_smoothing: float = 0.0) -> torch.Tensor:
    """Mean cross-entropy over all labelled pixels of the batch; 0 where every pixel is void.

    Shape:
        logits: (B, K, H, W); labels: (B, H, W) int64, 255 void; returns a scalar float32.
    """
    total = F.cross_entropy(logits.float(), labels, ignore_index=VOID, label_smoothing=label_smoothing, reduction="sum")
    return total / (labels != VOID).sum().clamp(min=1)


def weighted_cross_entropy(
    logits: torch.Tensor, labels: torch.Tensor, weights: torch.Tensor, normalise: str = "weights"
) -> torch.Tensor:
    """-sum w ln p / sum w over the batch's labelled pixels, or / their number; 0 where every pixel is void.

    With several processes the divisor is its mean over them, so that the mean of their gradients is the gradient of
    the whole batch's loss.

    Args:
        logits: (B, K, H, W).
        labels: (B, H, W) int64, 255 void.
        weights: (B, H, W) float32, not negative.
        normalise: the divisor, `weights` or `pixels`.
    """
    labelled = labels != VOID
    weights = weights.float() * labelled
    costs = F.cross_entropy(logits.float(), labels, ignore_index=VOID, reduction="none")
    divisor = mean_over_processes((weights if normalise == "weights" else labelled.float()).sum())
    return (weights * costs).sum() / divisor.clamp(min=torch.finfo(divisor.dtype).tiny)
