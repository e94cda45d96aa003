"""full: cross-entropy with the true masks, the upper bound of every other method."""

from __future__ import annotations

import torch

from stages.core.samples import Batch
from stages.segment.losses.cross_entropy import cross_entropy
from stages.segment.setting import Setting

LABELS = "masks"
TARGETS = None


def loss(logits: torch.Tensor, batch: Batch, setting: Setting) -> dict[str, torch.Tensor]:
    """Cross-entropy; `label_smoothing` of the recipe."""
    return {"loss": cross_entropy(logits, batch.labels, setting.recipe.label_smoothing)}
