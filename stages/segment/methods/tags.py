"""tags: the lower bound, an image's tags and a CRF term.

The same average prediction and the same CRF term as `size_target`, with the one thing removed that it is about: every
present class is worth the same, whatever its size.
"""

from __future__ import annotations

import torch

from stages.core.samples import Batch
from stages.segment.losses.average_prediction import tag_likelihood
from stages.segment.losses.coarse import coarsen
from stages.segment.losses.grid_potts import grid_potts
from stages.segment.setting import Setting

LABELS = None
TARGETS = "tags"


def loss(logits: torch.Tensor, batch: Batch, setting: Setting) -> dict[str, torch.Tensor]:
    """tag + crf_weight * crf.

    `crf_weight` and `loss_stride` (pixels of a grid cell, see `coarsen`) are the recipe's, `neighbours` and
    `relaxation` the method's.
    """
    recipe, method = setting.recipe, setting.method
    logits, images, valid = coarsen(logits, batch.images, batch.valid, recipe.loss_stride)
    tag = tag_likelihood(logits, valid, batch.targets)
    crf = grid_potts(logits.softmax(1), images, valid, method.neighbours, method.relaxation)
    return {"loss": tag + recipe.crf_weight * crf, "tag": tag, "crf": crf}
