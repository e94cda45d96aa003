"""pseudo_mask: cross-entropy with the pseudo masks of `refine`, the second stage of most WSSS methods."""

from __future__ import annotations

import torch

from stages.core.samples import Batch
from stages.segment.losses.cross_entropy import cross_entropy
from stages.segment.setting import Setting

TARGETS = None


def labels(setting: Setting) -> str:
    """The masks of `refine`, or with `match_sizes` activation maps cut so that each object has its target size."""
    return "matched_masks" if setting.method.match_sizes else "pseudo_masks"


def loss(logits: torch.Tensor, batch: Batch, setting: Setting) -> dict[str, torch.Tensor]:
    """Cross-entropy over the pixels that the pseudo mask labels; `label_smoothing` of the recipe."""
    return {"loss": cross_entropy(logits, batch.labels, setting.recipe.label_smoothing)}
