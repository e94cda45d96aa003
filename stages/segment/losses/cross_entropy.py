"""Cross-entropy with label maps."""

from __future__ import annotations

import torch
from torch.nn import functional as F

from stages.core.dataset import VOID


def cross_entropy(logits: torch.Tensor, labels: torch.Tensor, label_smoothing: float = 0.0) -> torch.Tensor:
    """Mean cross-entropy over all labelled pixels of the batch; 0 where every pixel is void.

    Shape:
        logits: (B, K, H, W); labels: (B, H, W) int64, 255 void; returns a scalar float32.
    """
    total = F.cross_entropy(logits.float(), labels, ignore_index=VOID, label_smoothing=label_smoothing, reduction="sum")
    return total / (labels != VOID).sum().clamp(min=1)
