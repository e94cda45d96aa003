"""full: cross-entropy with the true masks, the upper bound of every other method.

With `match_sizes` the masks are as wrong as size targets are, for a comparison at the same error: what size_target
learns from sizes that are 16 % off, full learns from masks whose areas are 16 % off.

`images` says how many images have masks at all, for a comparison at the same effort: the time of a few masks buys many
sizes. They are spread evenly over train's list and repeated, with other augmentation each time, so that the schedule
stays what it is for all.
"""

from __future__ import annotations

import torch

from stages.core.samples import Batch
from stages.segment.losses.cross_entropy import named_cross_entropy
from stages.segment.setting import Setting
from stages.segment.supervision import repeated, spread

TARGETS = None


def labels(setting: Setting) -> str:
    """The true masks, or with `match_sizes` the masks whose objects are grown or shrunk to their target sizes."""
    return "resized_masks" if setting.method.match_sizes else "masks"


def images(ids: list[str], setting: Setting) -> list[str]:
    """The images of an epoch: all, or `images` of them again and again, as many in sum.

    Args:
        ids: train's.
        setting: whose `method.images` is `all` or a number, at least 1; a number over that of `ids` is all.
    """
    count = setting.method.images
    if count == "all" or count >= len(ids):
        return ids
    return repeated(spread(ids, count), len(ids))


def loss(logits: torch.Tensor, batch: Batch, setting: Setting) -> dict[str, torch.Tensor]:
    """Cross-entropy of the kind that the method's `ce` names, see `named_cross_entropy`."""
    return {"loss": named_cross_entropy(logits, batch.labels, setting)}
