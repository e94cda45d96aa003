"""full: cross-entropy with the true masks, the upper bound of every other method."""

from __future__ import annotations

import torch

from stages.core.samples import Batch
from stages.segment.losses.cross_entropy import named_cross_entropy
from stages.segment.setting import Setting

LABELS = "masks"
TARGETS = None


def loss(logits: torch.Tensor, batch: Batch, setting: Setting) -> dict[str, torch.Tensor]:
    """Cross-entropy of the kind that the method's `ce` names, see `named_cross_entropy`."""
    return {"loss": named_cross_entropy(logits, batch.labels, setting)}
