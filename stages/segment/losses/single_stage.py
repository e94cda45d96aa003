"""Losses of a segmenter that learns from tags in one stage: class scores of its masks, and labels of its own.

Araslanov and Roth, "Single-Stage Semantic Segmentation from Image Labels", CVPR 2020, arXiv 2005.08104. Label 0 is the
background, whose mask takes part in the softmax and in the pseudo labels and has no class score.
"""

from __future__ import annotations

import torch
from torch.nn import functional as F

from stages.core.dataset import VOID

EPSILON = 1.0  # pixels of the pooling's grid


def normalised_pooling(logits: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
    """Normalised global weighted pooling, nGWP: y_c = sum_p m_cp y_cp / (1 + sum_p m_cp), (B, K) float32.

    m is the softmax of the logits y over the classes. A mask of much less than a pixel scores near 0, so the 1 is one
    pixel of whatever grid the logits lie on, stride 4 in the paper.

    Shape:
        logits: (B, K, h, w); valid: (B, h, w) bool, only where it is True are pixels counted.
    """
    logits = logits.float()
    masks = logits.softmax(1) * valid[:, None]
    return (masks * logits).sum((2, 3)) / (EPSILON + masks.sum((2, 3)))


def focal_penalty(logits: torch.Tensor, valid: torch.Tensor, power: float = 3.0, floor: float = 0.01) -> torch.Tensor:
    """Focal mask penalty: (1 - mbar_c)^power ln(floor + mbar_c), (B, K) float32.

    mbar is the mean of the mask over the valid pixels. It is ln(floor), -4.6, for a mask of nothing and about 0 for
    one of the whole image: a prior for masks of some size. An image without a valid pixel counts as mbar = 0.

    Args:
        logits, valid: as `normalised_pooling` has them.
        power: p, at least 1.
        floor: lambda, above 0.
    """
    masks = logits.float().softmax(1) * valid[:, None]
    mean = masks.sum((2, 3)) / valid_count(valid)[:, None]
    return (1 - mean).clamp(min=0).pow(power) * (floor + mean).log()


def tag_loss(
    logits: torch.Tensor, valid: torch.Tensor, tags: torch.Tensor, power: float = 3.0, floor: float = 0.01
) -> torch.Tensor:
    """Multi-label soft margin loss of the tags on pooled scores plus penalty, mean over foreground classes and images.

    Shape:
        logits: (B, K, h, w); valid: (B, h, w) bool; tags: (B, K) of 0 and 1, column 0 is not read.
        returns a scalar float32.
    """
    scores = normalised_pooling(logits, valid) + focal_penalty(logits, valid, power, floor)
    return F.multilabel_soft_margin_loss(scores[:, 1:], tags[:, 1:].float())


@torch.no_grad()
def pseudo_labels(
    masks: torch.Tensor, tags: torch.Tensor, foreground: float = 0.6, background: float = 0.7, lowest: float = 0.2
) -> torch.Tensor:
    """Label maps (B, H, W) int64 from masks (B, K, H, W): a class takes the pixels that its own mask is sure of.

    A tagged class c claims the pixels with m_c > max(share * max_p m_c, lowest), where the share is `foreground`, or
    `background` for label 0. Pixels that no class or more than one claims are void, 255. That `lowest` holds for the
    background too is from the authors' code.

    Args:
        masks: in 0..1, and 0 where no label may be (padding).
        tags: (B, K) of 0 and 1, the background's column 1.
    """
    masks = masks.float() * tags[:, :, None, None]
    share = torch.full((masks.shape[1], 1, 1), foreground, device=masks.device)
    share[0] = background
    claimed = masks > (share * masks.amax((2, 3), keepdim=True)).clamp(min=lowest)
    return claimed.byte().argmax(1).masked_fill(claimed.sum(1) != 1, VOID)


def self_supervised_cross_entropy(
    logits: torch.Tensor, labels: torch.Tensor, valid: torch.Tensor, tags: torch.Tensor
) -> torch.Tensor:
    """Cross-entropy with pseudo labels, every class of an image worth much the same, mean over images.

    A pixel of class c weighs (N - N_c) / (1 + N), with N the image's labelled pixels and N_c those of class c. The sum
    over an image's labelled pixels is divided by its valid ones. An image whose labels miss one of its tagged classes
    or the background counts as 0, and is counted in the mean: where all do, the loss and its gradient are 0. All of
    this is the authors' code.

    Shape:
        logits: (B, K, H, W); labels: (B, H, W) int64, 255 void; valid: (B, H, W) bool; tags: (B, K), background 1.
        returns a scalar float32.
    """
    classes = logits.shape[1]
    labels = labels.masked_fill(~valid, VOID)
    counts = (labels[:, None] == torch.arange(classes, device=labels.device)[:, None, None]).flatten(2).sum(2)
    total = counts.sum(1, keepdim=True)
    weights = ((total - counts) / (1 + total)).gather(1, labels.clamp(max=classes - 1).flatten(1))
    entropy = F.cross_entropy(logits.float(), labels, ignore_index=VOID, reduction="none").flatten(1)  # 0 on void
    complete = ((counts > 0) | (tags == 0)).all(1)
    return ((weights * entropy).sum(1) / valid_count(valid) * complete).mean()


def labelled_share(labels: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
    """The share of the valid pixels that have a label, mean over images, a scalar."""
    return (((labels != VOID) & valid).flatten(1).sum(1) / valid_count(valid)).mean()


def valid_count(valid: torch.Tensor) -> torch.Tensor:
    """Valid pixels of each image of (B, H, W) bool, at least 1."""
    return valid.flatten(1).sum(1).clamp(min=1)
