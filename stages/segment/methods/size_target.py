"""size_target: an image's rough object sizes and a CRF term, no pixel labels at all.

Fan, Zhang and Boykov, "Approximate Size Targets Are Sufficient for Accurate Semantic Segmentation", arXiv 2503.06954:
forward KL divergence of the average prediction from the size target, plus a CRF regulariser, and optionally partial
cross-entropy on seeds.

Differences from the paper: which CRF term it uses could not be learnt from its abstract and first page; here it is the
grid Potts term of the same group (see `losses.grid_potts`), or by name another. The encoder starts from the
classifier's weights, which were learnt from the tags that the size targets contain anyway.

Beside the sizes of all images, cross-entropy teaches the true masks of `labelled` of them: what sizes add to a few,
in comparison with `full` and its `images`.

The size loss alone has a minimum in which every pixel predicts the size target. Two values in the log show whether the
training ends there, both of one image a step: `information`, what a pixel's place tells of its class, falls to 0, and
`entropy`, the mean over pixels as a share of its largest value, rises to that of the sizes.
"""

from __future__ import annotations

import torch

from stages.core.samples import Batch
from stages.segment.losses.average_prediction import log_average_prediction
from stages.segment.losses.collapse import mean_entropy, mutual_information
from stages.segment.losses.crf_term import with_crf
from stages.segment.losses.cross_entropy import cross_entropy
from stages.segment.losses.size_losses import SIZE_LOSSES
from stages.segment.setting import Setting
from stages.segment.supervision import repeated, spread

TARGETS = "sizes"


def labels(setting: Setting) -> str | None:
    """The label maps whose labelled pixels are the seeds, where there are any."""
    return None if setting.method.seeds == "none" else setting.method.seeds


def labelled(ids: list[str], setting: Setting) -> list[str]:
    """The images with true masks, in place of seeds: `labelled` of train's, spread evenly over its list."""
    return spread(ids, setting.method.labelled)


def images(ids: list[str], setting: Setting) -> list[str]:
    """The images of an epoch: all, and where some are labelled, these again and again, as many in sum.

    So half of a batch is labelled on average, and an epoch has twice the steps; half the epochs is the usual schedule.
    """
    known = labelled(ids, setting)
    return ids + repeated(known, len(ids)) if known else ids


def loss(logits: torch.Tensor, batch: Batch, setting: Setting) -> dict[str, torch.Tensor]:
    """size_weight * size + crf_weight * crf + seed_weight * seeds.

    The method's `size_loss` names the first (see `losses.size_losses`; `margin`, and `t` that grows by `growth` each
    epoch, are those of the barriers), `crf` the second (see `losses.crf_term`), `seeds` and `labelled` where the
    third's labels come from. The weights are the recipe's.
    """
    recipe, method = setting.recipe, setting.method
    t = method.t * method.growth**setting.epoch
    average = log_average_prediction(logits, batch.valid)
    size = SIZE_LOSSES[method.size_loss](average, batch.targets, method.margin, t)
    terms = {"loss": recipe.size_weight * size, "size": size}
    if method.seeds != "none" or method.labelled:
        seeds = cross_entropy(logits, batch.labels)
        terms |= {"loss": terms["loss"] + recipe.seed_weight * seeds, "seeds": seeds}
    one = (
        logits[:1],
        batch.valid[:1],
    )  # of a batch, enough for an epoch's mean; all would cost as much as the loss
    watched = {"entropy": mean_entropy(*one), "information": mutual_information(*one)}
    return with_crf(terms, logits, batch, setting) | watched
