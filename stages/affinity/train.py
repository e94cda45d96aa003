"""Training of the boundary network on the classifier's encoder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from stages.affinity.network import BoundaryNet
from stages.affinity.pair_loss import at_size, pair_loss
from stages.core.dataset import Dataset
from stages.core.device import be_deterministic
from stages.core.networks.encoders import load_encoder, part_of
from stages.core.params import Params
from stages.core.samples import Batch, Samples
from stages.core.training import Progress, train
from stages.core.transforms import normalise


def train_network(
    dataset: Dataset,
    classifier: dict[str, Any],
    labels: Callable[[str], np.ndarray],
    recipe: Params,
    seed: int,
    checkpoint: Path,
    log: Callable[[int, dict[str, float]], None],
) -> tuple[BoundaryNet, list[dict[str, Any]]]:
    """Trains on split `train`; returns the network and one row per epoch (see `training.Trained`).

    Args:
        dataset: a prepared data set.
        classifier: the content of classifier.pt.
        labels: gives an image's confident labels (H, W) uint8, 255 void.
        recipe: the `affinity` section. Its encoder is frozen, so `lr * head_lr_factor` is the one rate that counts.
        seed: decides initial weights, order and augmentation.
        checkpoint, log: see `training.train`.
    """
    be_deterministic(seed)
    network = BoundaryNet(classifier["encoder"], classifier["output_stride"], recipe.stride)
    load_encoder(network.encoder, part_of(classifier["state"], "encoder"), "the classifier")
    ids = dataset.ids("train")
    samples = Samples(dataset, ids, labels, np.zeros((len(ids), 0), np.float32), recipe.augment, seed)
    background = dataset.info.background

    def loss(net: nn.Module, batch: Batch, _: Progress) -> dict[str, torch.Tensor]:
        edges = net(normalise(batch.images)).float().sigmoid()
        return pair_loss(edges, at_size(batch.labels, edges.shape[1:]), recipe.radius, background)

    return network, train(network, samples, loss, recipe, checkpoint, log).history
