"""pseudo_mask: cross-entropy with the pseudo masks of `refine`, the second stage of most WSSS methods.

Pseudo masks that hold labels on scribbles, points or seeds alone and void elsewhere make it the method of Tang et al.,
"On Regularized Losses for Weakly-supervised CNN Segmentation" (ECCV 2018, arXiv 1803.09569): partial cross-entropy
and a CRF term, with `crf` set to rloss, dense_energy or grid_potts.
"""

from __future__ import annotations

import torch

from stages.core.samples import Batch
from stages.segment.losses.crf_term import with_crf
from stages.segment.losses.cross_entropy import named_cross_entropy
from stages.segment.setting import Setting

TARGETS = None


def labels(setting: Setting) -> str:
    """The masks of `refine`, or with `match_sizes` activation maps cut so that each object has its target size."""
    return "matched_masks" if setting.method.match_sizes else "pseudo_masks"


def loss(logits: torch.Tensor, batch: Batch, setting: Setting) -> dict[str, torch.Tensor]:
    """ce + crf_weight * crf, see `named_cross_entropy` and `crf_term`; ce over the pixels that the mask labels."""
    ce = named_cross_entropy(logits, batch.labels, setting)
    return with_crf({"loss": ce, "ce": ce}, logits, batch, setting)
