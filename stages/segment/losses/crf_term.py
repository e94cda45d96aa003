"""The CRF term of training without a label for every pixel, by name."""

from __future__ import annotations

import torch

from stages.core.samples import Batch
from stages.segment.losses.coarse import coarsen
from stages.segment.losses.dense_energy import dense_energy
from stages.segment.losses.grid_potts import grid_potts
from stages.segment.setting import Setting


def crf_term(logits: torch.Tensor, batch: Batch, setting: Setting) -> torch.Tensor:
    """How much the prediction changes where the image does not, a scalar.

    The method's `crf` names it:

    - `grid_potts`: nearest neighbours on a grid with cells of `loss_stride` pixels (see `grid_potts`; `neighbours` and
      `relaxation` are the method's).
    - `dense_energy`: all pairs of pixels, at 1 / `loss_stride` of the resolution, in [0, 1] (see `dense_energy`,
      `per_pixel`), with the recipe's `xy` in pixels and `rgb` in grey levels.
    - `rloss`: the same as its authors' code has it, unnormalised and far below 0, for their weights.

    Shape:
        logits: (B, K, H, W) at the images' size.
    """
    recipe, method = setting.recipe, setting.method
    if method.crf == "grid_potts":
        coarse, images, valid = coarsen(logits, batch.images, batch.valid, recipe.loss_stride)
        return grid_potts(coarse.softmax(1), images, valid, method.neighbours, method.relaxation)
    normalisation = {"dense_energy": "per_pixel", "rloss": "authors"}[method.crf]
    scale = 1 / recipe.loss_stride
    probabilities = logits.float().softmax(1)
    return dense_energy(
        probabilities, batch.images, batch.valid, recipe.xy, recipe.rgb, scale, normalisation=normalisation
    )


def with_crf(
    terms: dict[str, torch.Tensor], logits: torch.Tensor, batch: Batch, setting: Setting
) -> dict[str, torch.Tensor]:
    """The terms with `crf`, and its weight times it in `loss`; unchanged where the method's `crf` is none.

    The weight is the recipe's `crf_weight`, that of `rloss` its `rloss_weight`.
    """
    if setting.method.crf == "none":
        return terms
    crf = crf_term(logits, batch, setting)
    weight = setting.recipe.rloss_weight if setting.method.crf == "rloss" else setting.recipe.crf_weight
    return terms | {"loss": terms["loss"] + weight * crf, "crf": crf}
