"""full: cross-entropy with the true masks, the upper bound of every other method.

With `match_sizes` the masks are as wrong as size targets are, for a comparison at the same error: what size_target
learns from sizes that are 16 % off, full learns from masks whose areas are 16 % off.
"""

from __future__ import annotations

import torch

from stages.core.samples import Batch
from stages.segment.losses.cross_entropy import named_cross_entropy
from stages.segment.setting import Setting

TARGETS = None


def labels(setting: Setting) -> str:
    """The true masks, or with `match_sizes` the masks whose objects are grown or shrunk to their target sizes."""
    return "resized_masks" if setting.method.match_sizes else "masks"


def loss(logits: torch.Tensor, batch: Batch, setting: Setting) -> dict[str, torch.Tensor]:
    """Cross-entropy of the kind that the method's `ce` names, see `named_cross_entropy`."""
    return {"loss": named_cross_entropy(logits, batch.labels, setting)}
