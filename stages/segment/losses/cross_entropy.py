"""Cross-entropy with label maps, and its ways to weigh or choose pixels.

Every loss is a sum over pixels divided by a count over the batch, or over its part where it is trained in parts
(`accumulate`). Under several processes the count is the mean over
them, so that the gradient, which is averaged over them too, is that of one process with the whole batch; each process
must then call the same loss in each step. Where nothing is counted the loss and its gradient are 0.

Shape, of all: logits (B, K, H, W); labels (B, H, W) int64, 255 void; returns a scalar float32.
"""

from __future__ import annotations

import math

import torch
from torch.nn import functional as F

from stages.core.dataset import VOID
from stages.core.distributed import mean_over_processes
from stages.segment.setting import Setting


def cross_entropy(
    logits: torch.Tensor,
    labels: torch.Tensor,
    label_smoothing: float = 0.0,
) -> torch.Tensor:
    """Mean cross-entropy over all labelled pixels of the batch; 0 where every pixel is void.

    With labels on scribbles or seeds and void elsewhere it is the partial cross-entropy of those methods.

    Args:
        logits, labels: see the module.
        label_smoothing: the share e of a target that is spread over all classes: (1 - e) one-hot + e / K.
    """
    total = F.cross_entropy(logits.float(), labels, ignore_index=VOID, label_smoothing=label_smoothing, reduction="sum")
    return per_count(total, (labels != VOID).sum())


def balanced_cross_entropy(
    logits: torch.Tensor, labels: torch.Tensor, background: bool = True, label_smoothing: float = 0.0
) -> torch.Tensor:
    """Mean cross-entropy over the background pixels plus that over the foreground pixels.

    The seeding loss of Kolesnikov and Lampert (SEC, arXiv 1603.06098) is one mean over all seeds of an image. This is
    its balanced form, that of Huang et al., "Weakly-Supervised Semantic Segmentation Network with Deep Seeded Region
    Growing" (DSRG, CVPR 2018), with the counts of the batch, as in RRM (arXiv 1911.08039), where DSRG's code divides by
    those of each image. It is a sum of two means, so about twice the plain mean.

    Args:
        logits, labels: see the module.
        background: whether label 0 is the background; where it is not, all pixels are foreground and this is the
            plain mean.
        label_smoothing: see `cross_entropy`.
    """
    costs = pixel_costs(logits, labels, label_smoothing)
    foreground = (labels != VOID) & ((labels != 0) | (not background))
    groups = torch.stack([foreground, (labels != VOID) & ~foreground])
    return per_count((costs * groups).sum((1, 2, 3)), groups.sum((1, 2, 3))).sum()


def weighted_cross_entropy(
    logits: torch.Tensor, labels: torch.Tensor, weights: torch.Tensor, normalise: str = "weights"
) -> torch.Tensor:
    """-sum_p w_p ln p_p(y_p) over the labelled pixels, divided by their weights or their number.

    For the size-weighted loss of Mun et al., "Small Objects Matters in Weakly-supervised Semantic Segmentation", arXiv
    2309.14117, equation 4: the authors' code divides by the sum of the weights, the paper's text names only H and W.

    Args:
        logits, labels: see the module.
        weights: (B, H, W), at least 0; of no effect where a label is void.
        normalise: `weights`, the mean does not depend on their scale, or `pixels`.

    Raises:
        KeyError: `normalise` is another word.
    """
    labelled = labels != VOID
    weights = weights.float() * labelled
    counts = {"weights": weights, "pixels": labelled}
    return per_count((pixel_costs(logits, labels) * weights).sum(), counts[normalise].sum())


def ohem_cross_entropy(logits: torch.Tensor, labels: torch.Tensor, keep_share: float, threshold: float) -> torch.Tensor:
    """Mean cross-entropy over the hard pixels: those that give their label a probability below `threshold`.

    Where these are less than `keep_share` of an image's labelled pixels, the image's hardest pixels up to that share
    are kept, with all that tie with the last, so that no order among equals decides.

    Online hard example mining (Shrivastava et al., arXiv 1604.03540) on pixels, in the form of the bootstrapped
    cross-entropy of Wu et al., arXiv 1605.06885: a threshold on the label's probability that rises where it keeps
    too few.

    Differences from Wu et al.: the least number is a share of the labelled pixels, not a number; and it is applied to
    each image, so that the choice does not depend on which images share a batch or a process.

    Args:
        logits, labels: see the module.
        keep_share: 0..1; 1 keeps every pixel.
        threshold: of a probability, above 0 and at most 1.
    """
    costs = pixel_costs(logits, labels).flatten(1)
    labelled = (labels != VOID).flatten(1)
    hardness = costs.detach().masked_fill(~labelled, -1)
    least = (labelled.sum(1, keepdim=True).double() * keep_share).ceil().long()
    ordered = F.pad(hardness.sort(1, descending=True).values, (1, 0), value=torch.inf)
    last = ordered.gather(1, least)  # of the pixels that are kept at least; above all costs where that is none
    hard = labelled & ((hardness > -math.log(threshold)) | (hardness >= last))
    return per_count((costs * hard).sum(), hard.sum())


def named_cross_entropy(logits: torch.Tensor, labels: torch.Tensor, setting: Setting) -> torch.Tensor:
    """The cross-entropy that the method's `ce` names: `plain`, `balanced` or `ohem`.

    `label_smoothing` of the first two is the recipe's; `keep_share` and `threshold` of the last are the method's.

    Raises:
        KeyError: `ce` is another word.
    """
    smoothing = setting.recipe.label_smoothing
    kinds = {
        "plain": lambda: cross_entropy(logits, labels, smoothing),
        "balanced": lambda: balanced_cross_entropy(logits, labels, setting.background, smoothing),
        "ohem": lambda: ohem_cross_entropy(logits, labels, setting.method.keep_share, setting.method.threshold),
    }
    return kinds[setting.method.ce]()


def pixel_costs(logits: torch.Tensor, labels: torch.Tensor, label_smoothing: float = 0.0) -> torch.Tensor:
    """The cross-entropy of each pixel, (B, H, W) float32, 0 where it is void."""
    return F.cross_entropy(logits.float(), labels, ignore_index=VOID, label_smoothing=label_smoothing, reduction="none")


def per_count(total: torch.Tensor, count: torch.Tensor) -> torch.Tensor:
    """total / count, the count averaged over the processes; 0 where nothing is counted in any of them."""
    count = mean_over_processes(count.detach().to(total.dtype, copy=True))
    return total / count.where(count > 0, 1)
