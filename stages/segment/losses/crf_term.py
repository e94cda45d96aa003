"""The CRF term of training without a label for every pixel, by name."""

from __future__ import annotations

import torch

from stages.core.params import Params
from stages.core.samples import Batch
from stages.segment.losses.coarse import coarsen
from stages.segment.losses.dense_energy import dense_energy
from stages.segment.losses.grid_potts import grid_potts
from stages.segment.setting import Setting


def crf_term(logits: torch.Tensor, batch: Batch, setting: Setting) -> torch.Tensor:
    """How much the prediction changes where the image does not, a scalar in [0, 1] but for `rloss`.

    The method's `crf` names it:

    - `grid_potts`: nearest neighbours on a grid with cells of `loss_stride` pixels (see `grid_potts`; `neighbours` and
      `relaxation` are the method's).
    - `dense_energy`: all pairs of pixels, on that grid, in [0, 1] (see `dense_energy`, convention `per_pixel`), with the
      recipe's `xy` in pixels and `rgb` in grey levels.
    - `rloss`: the same in the convention of its authors' code, unnormalised and below 0, for their weights.

    Shape:
        logits: (B, K, H, W) at the images' size.
    """
    recipe, method = setting.recipe, setting.method
    if method.crf == "grid_potts":
        coarse, images, valid = coarsen(logits, batch.images, batch.valid, recipe.loss_stride)
        return grid_potts(coarse.softmax(1), images, valid, method.neighbours, method.relaxation)
    convention = {"dense_energy": "per_pixel", "rloss": "authors"}[method.crf]
    scale = 1 / recipe.loss_stride
    probabilities = logits.float().softmax(1)
    return dense_energy(
        probabilities, batch.images, batch.valid, recipe.xy, recipe.rgb, scale, convention=convention
    )


def with_crf(terms: dict[str, torch.Tensor], logits: torch.Tensor, batch: Batch, setting: Setting) -> dict[str, torch.Tensor]:
    """The terms with `crf` and its weight in `loss`; as they are where the method's `crf` is none or its weight 0."""
    recipe: Params = setting.recipe
    if setting.method.crf == "none" or not recipe.crf_weight:
        return terms
    crf = crf_term(logits, batch, setting)
    return terms | {"loss": terms["loss"] + recipe.crf_weight * crf, "crf": crf}
