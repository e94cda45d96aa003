"""size_balanced: cross-entropy with pseudo masks in which a small object counts as much as a large one.

Mun, Lee, Uh, Choe, Byun, "Small Objects Matters in Weakly-supervised Semantic Segmentation", WACV 2024, arXiv
2309.14117, equations 3 to 5: task A is plain cross-entropy; task B, in the same run with the same schedule of the
learning rate, is cross-entropy with the weights of `losses.size_weights` and elastic weight consolidation at task A's
end (`losses.ewc`). The authors' code has tau 5, lambda 500, half of the iterations for task A, and the weighted sum
divided by the sum of the weights.

Differences from the authors' code, beside those of the two losses: its consolidation is always 0, see
`losses.ewc.Consolidated`, here it acts; and its Fisher is a running average over the last training batches.

The Fisher is that of plain cross-entropy: an image's log-likelihood is the mean over its labelled pixels. With their
sum it would be larger by the square of the number of pixels; a lambda holds for one convention and, unless the Fisher
is normalised, one resolution. Its images are the augmented views of task A's last epoch, in the order of that epoch;
batch normalisation and dropout are as in prediction.

A step of SGD with rate r and momentum m overshoots for ever in a parameter of Fisher F where lambda F r > 1 + m: at
lambda 500, F = 1 and m = 0.9, where r is over 0.0038. The authors' rates are below that; larger ones want a smaller
lambda.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from stages.core.dataset import VOID
from stages.core.faults import Fault
from stages.core.samples import Batch, Samples, collate, epoch_order
from stages.core.transforms import normalise
from stages.segment.losses.cross_entropy import cross_entropy, weighted_cross_entropy
from stages.segment.losses.ewc import Consolidated, fisher_diagonal, normalised, trainable
from stages.segment.losses.size_weights import size_weights
from stages.segment.setting import Setting

TARGETS = None


def labels(setting: Setting) -> str:
    """`pseudo_masks`, or `masks` for the paper's comparison with full supervision."""
    return setting.method.labels


def network(segmenter: nn.Module, classifier: dict[str, Any], setting: Setting) -> nn.Module:
    """The segmenter with the penalty of leaving task A beside it; the segmenter itself where there is none."""
    return Consolidated(segmenter) if consolidates(setting) else segmenter


def pixel_weights(labels: np.ndarray, setting: Setting) -> np.ndarray:
    """`size_weights` of an augmented label map (H, W) uint8; `tau` and `reading` are the method's."""
    return size_weights(labels, setting.method.tau, setting.method.reading, setting.background)


def loss(
    outputs: torch.Tensor | tuple[torch.Tensor, torch.Tensor], batch: Batch, setting: Setting
) -> dict[str, torch.Tensor]:
    """ce + ewc_weight * ewc; ce is plain in task A and weighted in task B, ewc is 0 in task A.

    `ewc_weight` (lambda, 0 for none) and `task_a` (its share of the epochs; 0 for weights from the start, and then no
    penalty) are the recipe's, `normalise_ce` (what the weighted sum is divided by: `weights`, their sum, or `pixels`,
    the number of labelled pixels) the method's.
    """
    logits = outputs[0] if consolidates(setting) else outputs
    if setting.epoch < task_a_epochs(setting):
        ce = cross_entropy(logits, batch.labels)
    else:
        ce = weighted_cross_entropy(logits, batch.labels, batch.weights, setting.method.normalise_ce)
    if not consolidates(setting):
        return {"loss": ce}
    return {"loss": ce + setting.recipe.ewc_weight * outputs[1], "ce": ce, "ewc": outputs[1]}


def after_epoch(network: nn.Module, samples: Samples, setting: Setting) -> None:
    """At the end of task A, where there is a penalty: the Fisher information, and the parameters' anchor.

    `fisher_images` (`all`, or how many, the last ones of the epoch) and `fisher_batch` (images of a batch where the
    method's `fisher` is not `per_sample`) are the recipe's; `fisher` and `fisher_normalise` the method's.

    Raises:
        Fault: the Fisher information is not finite, or 0 everywhere.
    """
    if not consolidates(setting) or setting.epoch + 1 != task_a_epochs(setting):
        return
    count = len(samples) if setting.recipe.fisher_images == "all" else min(setting.recipe.fisher_images, len(samples))
    order = epoch_order(samples.seed, setting.epoch, len(samples))
    parameters = trainable(network.segmenter)
    where = parameters[0].device

    def task_a_loss(indices: list[int]) -> torch.Tensor:
        batch = collate([samples[setting.epoch, index] for index in indices]).to(where)
        logits = network.segmenter(normalise(batch.images)).float()
        # not `cross_entropy`: it may speak with the other processes, and each of them has its own images here
        costs = F.cross_entropy(logits, batch.labels, ignore_index=VOID, reduction="sum")
        return costs / (batch.labels != VOID).sum().clamp(min=1)

    modes = [(module, module.training) for module in network.modules()]
    network.eval()
    fisher = fisher_diagonal(
        parameters, task_a_loss, order[-count:], setting.method.fisher, setting.recipe.fisher_batch
    )
    for module, mode in modes:
        module.training = mode
    fisher = normalised(fisher, parameters, setting.method.fisher_normalise)
    if not (fisher.isfinite().all() and fisher.any()):
        raise Fault("the Fisher information of size_balanced is 0 everywhere or not finite; set ewc_weight to 0")
    network.consolidate(fisher)


def task_a_epochs(setting: Setting) -> int:
    """Epochs of task A: `task_a` of all, to the nearest, halves up."""
    return int(setting.recipe.task_a * setting.epochs + 0.5)


def consolidates(setting: Setting) -> bool:
    """Whether task A's parameters are protected: both tasks have an epoch, and the penalty a weight."""
    return setting.recipe.ewc_weight > 0 and 0 < task_a_epochs(setting) < setting.epochs
