"""rrm: a classifier and a segmenter on one encoder, the first labelling pixels for the second in every step.

Zhang, Xiao, Wei, Sun and Huang, "Reliability Does Matter: An End-to-End Weakly Supervised Semantic Segmentation
Approach", AAAI 2020, arXiv 1911.08039. From the activation maps of each training step come the reliable pixels (see
`losses.reliability`), on which the segmenter learns by cross-entropy; a dense energy gated to the other pixels, and
the classification loss, complete the sum.

Differences from the paper: any encoder and segmentation head of the recipe in place of WideResNet-38 and two dilated
convolutions; no dropout before the pooling; the encoder always starts from the classifier's weights, also with
`classify_first`, whose learning rate does not start again after it; the extra scales of the activation maps are
computed in evaluation mode; and see `losses.reliability` and `losses.dense_energy`.

Two steps (the paper's better variant) are two commands: with `train` in `recipes.DATASET.predict.splits` and
`method: rrm`, `dvc repro` and `python -m stages.predict.export --out FOLDER`; then `method: pseudo_mask` with
`pseudo_masks: FOLDER`, an absolute path.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import nn
from torch.nn import functional as F

from stages.core.dataset import VOID
from stages.core.faults import Fault
from stages.core.networks.classification import average_pool
from stages.core.networks.encoders import part_of
from stages.core.networks.neck import build_neck
from stages.core.networks.segmentation import Segmenter, last_features, pad_sides
from stages.core.samples import Batch
from stages.segment.losses.cross_entropy import balanced_cross_entropy
from stages.segment.losses.dense_energy import dense_energy
from stages.segment.losses.reliability import activation_scores, energy_gate, reliable_pixels
from stages.segment.setting import Setting

LABELS = None
TARGETS = "tags"


class Outputs(NamedTuple):
    """What the network says of a batch.

    segmentation: logits (B, K, H, W) float32.
    classification: logits (B, C), of the classes without the background.
    cams: activation maps (B, C, H, W) float32, at least 0, a constant for the gradient.
    """

    segmentation: torch.Tensor
    classification: torch.Tensor
    cams: torch.Tensor


class TwoBranches(nn.Module):
    """A segmenter and, on its encoder, a classification head: neck, global average pooling and a 1x1 convolution.

    Args:
        segmenter: the segmentation network.
        neck: see `core.networks.neck`.
        weights: (C, F, 1, 1), the head's at first.
        extra_scales: activation maps are means over scale 1 and these.
    """

    def __init__(
        self, segmenter: Segmenter, neck: nn.Sequential, weights: torch.Tensor, extra_scales: tuple[float, ...]
    ) -> None:
        super().__init__()
        self.segmenter, self.neck, self.extra_scales = segmenter, neck, extra_scales
        self.head = nn.Conv2d(weights.shape[1], weights.shape[0], 1, bias=False)
        self.head.load_state_dict({"weight": weights})

    @property
    def encoder(self) -> nn.Module:
        """The segmenter's encoder, which both branches train."""
        return self.segmenter.encoder

    def forward(self, images: torch.Tensor, valid: torch.Tensor | None = None) -> Outputs:
        """One pass of the encoder with a gradient, and one without for each extra scale.

        Shape:
            images: (B, 3, H, W), normalised.
            valid: (B, H, W) bool, False on padding, which the pooling leaves out; None means that there is none.
        """
        height, width = images.shape[2:]
        if valid is None:
            valid = torch.ones_like(images[:, 0], dtype=torch.bool)
        logits, last = self.segmenter.forward_features(images)
        features = self.neck(last)
        classification = self.head(average_pool(features, pad_sides(valid.float()))).flatten(1)
        # After the passes with a gradient: autocast keeps a weight's low-precision copy, and one made without a
        # gradient would take it from all later uses.
        cams = self.activation_maps(pad_sides(images), features)
        return Outputs(logits, classification, cams[:, :, :height, :width])

    @torch.no_grad()
    def activation_maps(self, images: torch.Tensor, features: torch.Tensor) -> torch.Tensor:
        """Mean of the rectified maps over the scales, (B, C, H, W) float32, at the size of `images`.

        The other scales' maps are brought to the grid of `features`, which are those of `images` at scale 1. Their
        passes are in evaluation mode, so that they leave batch normalisation's statistics alone.
        """
        total = self.head(features).relu().float()
        modes = [(module, module.training) for part in (self.encoder, self.neck) for module in part.modules()]
        self.encoder.eval()
        self.neck.eval()
        for scale in self.extra_scales:
            size = [max(1, round(side * scale)) for side in images.shape[2:]]
            view = F.interpolate(images, size, mode="bilinear", align_corners=False, antialias=scale < 1)
            maps = self.head(self.neck(last_features(self.encoder(view)))).relu().float()
            total = total + F.interpolate(maps, total.shape[2:], mode="bilinear", align_corners=False)
        for module, mode in modes:
            module.training = mode
        mean = total / (1 + len(self.extra_scales))
        return F.interpolate(mean, images.shape[2:], mode="bilinear", align_corners=False)


def network(segmenter: Segmenter, classifier: dict[str, Any], setting: Setting) -> TwoBranches:
    """The segmenter with a classification branch that starts from the classifier; `extra_scales` of the recipe.

    Raises:
        Fault: the data set has no background, or the architecture cuts the encoder short of the classifier's features.
    """
    if not setting.background:
        raise Fault("method rrm needs a data set with a background; choose another method")
    state, neck = classifier["state"], build_neck(classifier["encoder"], segmenter.encoder)
    weights = state["head.weight"]
    wanted = neck[0].in_channels if len(neck) else weights.shape[1]
    channels = getattr(segmenter.encoder, "out_channels", (wanted,))[-1]
    if channels != wanted:
        raise Fault(
            f"method rrm: the segmenter's encoder ends at {channels} channels, the classifier's at {wanted}; "
            "choose an architecture that uses all of the encoder"
        )
    neck.requires_grad_(True).load_state_dict(part_of(state, "neck"))
    return TwoBranches(segmenter, neck, weights, setting.recipe.extra_scales)


def loss(outputs: Outputs, batch: Batch, setting: Setting) -> dict[str, torch.Tensor]:
    """classification + reliable_ce + energy, and `reliable`, the share of an image's pixels with a reliable label.

    In the first `classify_first` share of the epochs it is the classification loss alone.

    Recipe: `classify_first`; `reliable`, the constants of `losses.reliability`; `crf` (see `core.dense_crf`) and
    `crf_stride`; `energy` (`weight`, and `xy`, `rgb`, `scale` and `normalisation` of `losses.dense_energy`).
    """
    recipe, tags = setting.recipe, batch.targets[:, 1:]
    classification = F.multilabel_soft_margin_loss(outputs.classification.float(), tags)
    if setting.epoch < round(recipe.classify_first * setting.epochs):
        # Zero times the rest, since every parameter must take part in the step where several processes train.
        return {"loss": classification + 0 * outputs.segmentation.sum(), "classification": classification}
    scores = activation_scores(outputs.cams, tags, batch.valid)
    labels = reliable_pixels(batch.images, scores, tags, batch.valid, recipe.reliable, recipe.crf, recipe.crf_stride)
    reliable_ce = balanced_cross_entropy(outputs.segmentation, labels)
    probabilities = outputs.segmentation.float().softmax(1)
    gate = energy_gate(probabilities, labels, batch.valid)
    term = recipe.energy
    energy = term.weight * dense_energy(
        probabilities, batch.images, batch.valid, term.xy, term.rgb, term.scale, gate, term.normalisation
    )
    reliable = (labels != VOID).float().flatten(1).sum(1) / batch.valid.flatten(1).sum(1)
    return {
        "loss": classification + reliable_ce + energy,
        "classification": classification,
        "reliable_ce": reliable_ce,
        "energy": energy,
        "reliable": reliable.mean(),
    }
