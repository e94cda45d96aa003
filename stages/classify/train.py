"""Image tags -> classifier, and how much better than the tags' frequencies it is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.metrics import average_precision_score, f1_score
from torch import nn
from torch.nn import functional as F

from stages.core.dataset import Dataset
from stages.core.device import be_deterministic, device
from stages.core.inference import group_by_size, image_batches, scaled_views
from stages.core.networks.classification import ClassificationNet
from stages.core.networks.encoders import load_encoder
from stages.core.networks.neck import load_neck
from stages.core.params import Params
from stages.core.samples import Batch, Samples
from stages.core.training import Progress, train
from stages.core.transforms import normalise

LOSSES = {
    "bce": F.binary_cross_entropy_with_logits,
    "multilabel_soft_margin": F.multilabel_soft_margin_loss,  # equal to bce by definition; both names are in use
}


def train_classifier(
    dataset: Dataset,
    pretrained: dict[str, torch.Tensor],
    recipe: Params,
    seed: int,
    checkpoint: Path,
    log: Callable[[int, dict[str, float]], None],
) -> tuple[ClassificationNet, list[dict[str, Any]]]:
    """Trains on the tags of split `train`; returns the network and one row per epoch (see `training.Trained`).

    Args:
        dataset: a prepared data set.
        pretrained: the encoder's weights, empty for a start from scratch.
        recipe: the `classifier` section.
        seed: decides initial weights, order and augmentation.
        checkpoint, log: see `training.train`.
    """
    be_deterministic(seed)
    network = ClassificationNet(recipe.encoder, recipe.output_stride, len(dataset.foreground), recipe.dropout)
    load_encoder(network.encoder, pretrained, "pretrained.pt")
    load_neck(network.neck, pretrained, "pretrained.pt")
    ids = dataset.ids("train")
    samples = Samples(dataset, ids, None, dataset.tag_matrix(ids), recipe.augment, seed)

    def loss(net: nn.Module, batch: Batch, _: Progress) -> dict[str, torch.Tensor]:
        logits = net(normalise(batch.images), batch.valid)
        return {"loss": LOSSES[recipe.loss](logits.float(), batch.targets)}

    return network, train(network, samples, loss, recipe, checkpoint, log).history


@torch.inference_mode()
def tag_probabilities(network: ClassificationNet, dataset: Dataset, ids: list[str], recipe: Params) -> np.ndarray:
    """Sigmoid scores (len(ids), C) of whole images at `recipe.validate_scale`, in the order of `ids`."""
    network.eval().to(device())
    scores = {}
    for group, images in image_batches(dataset, group_by_size(dataset, ids, recipe.batch_size)):
        view, _ = next(scaled_views(images, (recipe.validate_scale,), flip=False))
        scores |= dict(zip(group, network(view).sigmoid().cpu().numpy(), strict=True))
    return np.stack([scores[image_id] for image_id in ids])


def tag_scores(scores: np.ndarray, truth: np.ndarray) -> tuple[float, float]:
    """Mean average precision and F1 at 0.5, both averaged over the classes that `truth` holds.

    Args:
        scores: (N, C) in 0..1.
        truth: (N, C) 0 or 1.
    """
    present = truth.any(0)
    scores, truth = scores[:, present], truth[:, present]
    precision = average_precision_score(truth, scores, average="macro")
    return float(precision), float(f1_score(truth, scores > 0.5, average="macro", zero_division=0))


def score_classifier(
    network: ClassificationNet, dataset: Dataset, splits: tuple[str, ...], recipe: Params
) -> list[dict[str, Any]]:
    """Rows for metrics/classifier.csv: mAP and F1 per split, beside those of the training tags' frequencies.

    A classifier at the prior has learnt nothing, and neither will its activation maps.
    """
    prior = dataset.tag_matrix(dataset.ids("train")).mean(0)
    rows = []
    for split in splits:
        ids = dataset.ids(split)
        truth = dataset.tag_matrix(ids)
        precision, f1 = tag_scores(tag_probabilities(network, dataset, ids, recipe), truth)
        prior_precision, prior_f1 = tag_scores(np.broadcast_to(prior, truth.shape), truth)
        rows.append({"split": split, "map": precision, "f1": f1, "prior_map": prior_precision, "prior_f1": prior_f1})
    return rows
