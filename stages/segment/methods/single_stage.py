"""single_stage: image tags alone, and masks that the segmenter refines and learns from while it trains.

Araslanov and Roth, "Single-Stage Semantic Segmentation from Image Labels", CVPR 2020, arXiv 2005.08104: a
classification loss on scores pooled from the masks (`losses.single_stage`), and from some epoch on a cross-entropy with
pseudo labels, which are the masks of the same step after pixel-adaptive refinement (`stages.core.filters.pamr`). The
network is `stages.core.networks.single_stage`.

Differences from the paper:
    The encoder starts from the classifier's weights, as with every method here, and not from ImageNet's; optimiser,
    schedule, crops and batch normalisation are the recipe's.
    Logits come at the image's resolution. Class scores and refinement are on means over cells of `loss_stride` pixels;
    with 4, the stride of the paper's masks, that is the decoder's own grid, smoothed by (1/8, 3/4, 1/8) along each
    side. Images are averaged over the cells too, in place of bilinear resizing.
    The share of epochs without pseudo labels is a parameter, `pretrain`; 0.2 is about the paper's 5 epochs of 24.
    Prediction is that of every other method: the paper's third power of the background, its removal of classes whose
    score has a sigmoid of at most 0.1, and its CRF are left to the recipe of `predict` or out.
"""

from __future__ import annotations

import torch
from torch.nn import functional as F

from stages.core.filters.pamr import refine_masks
from stages.core.samples import Batch
from stages.segment.losses.coarse import coarsen
from stages.segment.losses.single_stage import labelled_share, pseudo_labels, self_supervised_cross_entropy, tag_loss
from stages.segment.setting import Setting

ARCHITECTURE = "single_stage"
LABELS = None
TARGETS = "tags"


def loss(logits: torch.Tensor, batch: Batch, setting: Setting) -> dict[str, torch.Tensor]:
    """classification + self_supervised, and `labelled`, the share of pixels with a pseudo label.

    The last two are 0 in the first round(pretrain * epochs) epochs. All are means over images.

    `pretrain`, `loss_stride` and `dilations` are the recipe's; `focal_power`, `focal_floor`, `foreground`,
    `background`, `lowest` (see `losses.single_stage`) and `iterations` (see `refine_masks`) the method's.

    Shape:
        logits: (B, K, H, W), label 0 the background.
    """
    recipe, method = setting.recipe, setting.method
    coarse, _, whole = coarsen(logits, batch.images, batch.valid, recipe.loss_stride)
    classification = tag_loss(coarse, whole, batch.targets, method.focal_power, method.focal_floor)
    self_supervised = labelled = torch.zeros_like(classification)
    if setting.epoch >= round(recipe.pretrain * setting.epochs):
        masks = refined_masks(
            logits, batch.images, batch.valid, recipe.loss_stride, recipe.dilations, method.iterations
        )
        labels = pseudo_labels(masks, batch.targets, method.foreground, method.background, method.lowest)
        self_supervised = self_supervised_cross_entropy(logits, labels, batch.valid, batch.targets)
        labelled = labelled_share(labels, batch.valid)
    return {
        "loss": classification + self_supervised,
        "classification": classification,
        "self_supervised": self_supervised,
        "labelled": labelled,
    }


@torch.no_grad()
def refined_masks(
    logits: torch.Tensor,
    images: torch.Tensor,
    valid: torch.Tensor,
    stride: int,
    dilations: tuple[int, ...],
    iterations: int,
) -> torch.Tensor:
    """The softmax of the logits, refined on cells of `stride` pixels and upsampled again, (B, K, H, W) float32.

    Images are refined without their padding, those of one size together, so the result for an image is what it would
    be alone. Padding, and what is left of an image beside whole cells, has masks of 0.

    Shape:
        logits: (B, K, H, W); images: (B, 3, H, W) uint8; valid: (B, H, W) bool, a rectangle from the top left corner.
    """
    coarse, colours, whole = coarsen(logits.float(), images, valid, stride)
    masks = coarse.softmax(1)
    sizes = list(zip(whole.any(2).sum(1).tolist(), whole.any(1).sum(1).tolist(), strict=True))
    result = torch.zeros_like(logits, dtype=torch.float32)
    for height, width in sorted(set(sizes) - {(0, 0)}):
        same = [number for number, size in enumerate(sizes) if size == (height, width)]
        refined = refine_masks(
            colours[same, :, :height, :width], masks[same, :, :height, :width], iterations, dilations
        )
        if stride > 1:
            refined = F.interpolate(refined, scale_factor=stride, mode="bilinear", align_corners=False)
        result[same, :, : height * stride, : width * stride] = refined
    return result
