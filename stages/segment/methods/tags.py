"""tags: the lower bound, an image's tags and a CRF term.

The same average prediction and the same CRF term as `size_target`, with the one thing removed that it is about: every
present class is worth the same, whatever its size.
"""

from __future__ import annotations

import torch

from stages.core.params import Params
from stages.core.samples import Batch
from stages.segment.losses.average_prediction import tag_likelihood
from stages.segment.losses.grid_potts import grid_potts

LABELS = None
TARGETS = "tags"


def loss(logits: torch.Tensor, batch: Batch, recipe: Params, method: Params) -> dict[str, torch.Tensor]:
    """tag + crf_weight * crf; `crf_weight` of the recipe, `neighbours` and `relaxation` of the method."""
    tag = tag_likelihood(logits, batch.valid, batch.targets)
    crf = grid_potts(logits.softmax(1), batch.images, batch.valid, method.neighbours, method.relaxation)
    return {"loss": tag + recipe.crf_weight * crf, "tag": tag, "crf": crf}
