"""size_target: an image's rough object sizes and a CRF term, no pixel labels at all.

Fan, Zhang and Boykov, "Approximate Size Targets Are Sufficient for Accurate Semantic Segmentation", arXiv 2503.06954:
forward KL divergence of the average prediction from the size target, plus a CRF regulariser.

Differences from the paper: which CRF term it uses could not be learnt from its abstract and first page; here it is the
grid Potts term of the same group (see `losses.grid_potts`). The encoder starts from the classifier's weights, which
were learnt from the tags that the size targets contain anyway.
"""

from __future__ import annotations

import torch

from stages.core.samples import Batch
from stages.segment.losses.average_prediction import size_divergence
from stages.segment.losses.coarse import coarsen
from stages.segment.losses.grid_potts import grid_potts
from stages.segment.setting import Setting

LABELS = None
TARGETS = "sizes"


def loss(logits: torch.Tensor, batch: Batch, setting: Setting) -> dict[str, torch.Tensor]:
    """size + crf_weight * crf.

    `crf_weight` and `loss_stride` (pixels of a grid cell, see `coarsen`) are the recipe's, `neighbours` and
    `relaxation` the method's.
    """
    recipe, method = setting.recipe, setting.method
    logits, images, valid = coarsen(logits, batch.images, batch.valid, recipe.loss_stride)
    size = size_divergence(logits, valid, batch.targets)
    crf = grid_potts(logits.softmax(1), images, valid, method.neighbours, method.relaxation)
    return {"loss": size + recipe.crf_weight * crf, "size": size, "crf": crf}
