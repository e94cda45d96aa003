"""full: cross-entropy with the true masks, the upper bound of every other method."""

from __future__ import annotations

import torch

from stages.core.params import Params
from stages.core.samples import Batch
from stages.segment.losses.cross_entropy import cross_entropy

LABELS = "masks"
TARGETS = None


def loss(logits: torch.Tensor, batch: Batch, recipe: Params, method: Params) -> dict[str, torch.Tensor]:
    """Cross-entropy; `label_smoothing` of the recipe."""
    return {"loss": cross_entropy(logits, batch.labels, recipe.label_smoothing)}
