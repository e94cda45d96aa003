"""Training of the segmenter: the same data, network and schedule whatever the method."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import nn

from stages.core.dataset import Dataset
from stages.core.device import be_deterministic
from stages.core.inference import average_softmax, group_by_size, image_batches
from stages.core.metrics.confusion import confusion_matrix, mean_iou
from stages.core.networks.encoders import load_encoder
from stages.core.networks.segmentation import Segmenter
from stages.core.params import Params
from stages.core.samples import Batch, Samples
from stages.core.training import train
from stages.core.transforms import normalise
from stages.segment.supervision import label_maps, target_rows


def train_segmenter(
    dataset: Dataset,
    classifier: dict[str, Any],
    pseudo_masks: Path,
    size_targets: Path,
    method: ModuleType,
    recipe: Params,
    method_recipe: Params,
    method_params: Params,
    seed: int,
    checkpoint: Path,
    log: Callable[[int, dict[str, float]], None],
) -> tuple[Segmenter, list[dict[str, Any]]]:
    """Trains on split `train` with `method`; returns the network and one row per epoch (see `training.train`).

    Every method starts from the classifier's encoder, `full` too, so that a difference between two methods is one of
    supervision and not of initial weights.

    Args:
        dataset: a prepared data set.
        classifier: the content of classifier.pt.
        pseudo_masks, size_targets: files of `refine` and `size_targets`, read if the method needs them.
        method: a module of `stages.segment.methods`.
        recipe: the `segmenter` section.
        method_recipe, method_params: the method's sections under the recipe and under `methods`.
        seed: decides initial weights, order and augmentation.
        checkpoint, log: see `training.train`.
    """
    be_deterministic(seed)
    network = Segmenter(recipe.architecture, classifier["encoder"], recipe.output_stride, dataset.num_classes)
    weights = {k.removeprefix("encoder."): v for k, v in classifier["state"].items() if k.startswith("encoder.")}
    load_encoder(network.encoder, weights, "the classifier")
    ids = dataset.ids("train")
    samples = Samples(
        dataset,
        ids,
        label_maps(method.LABELS, dataset, pseudo_masks),
        target_rows(method.TARGETS, dataset, ids, size_targets),
        recipe.augment,
        seed,
    )

    def loss(net: nn.Module, batch: Batch) -> dict[str, torch.Tensor]:
        return method.loss(net(normalise(batch.images)), batch, method_recipe, method_params)

    def validate(net: nn.Module) -> dict[str, float]:
        return {"miou": validation_miou(net, dataset, recipe)}

    history = train(network, samples, loss, recipe, checkpoint, log, validate if dataset.info.masks else None)
    return network, history


@torch.inference_mode()
def validation_miou(network: nn.Module, dataset: Dataset, recipe: Params) -> float:
    """Mean IoU on split `val` against the masks at their own size; one scale (`validate_scale`), no flip."""
    network.eval()
    matrix = 0
    for group, images in image_batches(dataset, group_by_size(dataset, dataset.ids("val"), recipe.batch_size)):
        labels = average_softmax(network, images, (recipe.validate_scale,)).argmax(1).cpu().numpy()
        for image_id, prediction in zip(group, labels, strict=True):
            matrix = matrix + confusion_matrix(dataset.mask(image_id), prediction, dataset.num_classes)
    return mean_iou(matrix)
