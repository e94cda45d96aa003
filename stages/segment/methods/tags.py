"""tags: the lower bound, an image's tags and a CRF term.

The same average prediction and the same CRF term as `size_target`, with the one thing removed that it is about: every
present class is worth the same, whatever its size.
"""

from __future__ import annotations

import torch

from stages.core.samples import Batch
from stages.segment.losses.average_prediction import tag_likelihood
from stages.segment.losses.crf_term import with_crf
from stages.segment.setting import Setting

LABELS = None
TARGETS = "tags"


def loss(logits: torch.Tensor, batch: Batch, setting: Setting) -> dict[str, torch.Tensor]:
    """tag + crf_weight * crf, see `losses.crf_term`."""
    tag = tag_likelihood(logits, batch.valid, batch.targets)
    return with_crf({"loss": tag, "tag": tag}, logits, batch, setting)
