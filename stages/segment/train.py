"""Training of the segmenter: the same data, network and schedule whatever the method."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import nn

from stages.core.dataset import Dataset
from stages.core.device import be_deterministic
from stages.core.inference import average_softmax, group_by_size, image_batches
from stages.core.metrics.confusion import confusion_matrix, mean_iou
from stages.core.networks.encoders import load_encoder, part_of
from stages.core.networks.segmentation import Segmenter
from stages.core.params import Params
from stages.core.samples import Batch, Samples
from stages.core.training import Progress, train
from stages.core.transforms import normalise
from stages.segment.setting import Setting
from stages.segment.supervision import SomeMasks, Sources, label_maps, target_rows


def train_segmenter(
    dataset: Dataset,
    classifier: dict[str, Any],
    sources: Sources,
    method: ModuleType,
    recipe: Params,
    method_recipe: Params,
    method_params: Params,
    seed: int,
    checkpoint: Path,
    log: Callable[[int, dict[str, float]], None],
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Trains on split `train` with `method`.

    Every method starts from the classifier's encoder, `full` too, so that a difference between two methods is one of
    supervision and not of initial weights.

    Args:
        dataset: a prepared data set.
        classifier: the content of classifier.pt.
        sources: files of earlier rooms, read if the method needs them.
        method: a module of `stages.segment.methods`.
        recipe: the `segmenter` section.
        method_recipe, method_params: the method's sections under the recipe and under `methods`.
        seed: decides initial weights, order and augmentation.
        checkpoint, log: see `training.train`.

    Returns:
        The content of segmenter.pt: what `Segmenter` is built of, its last weights `state`, and `best`, the weights of
        the best epoch on val (`epoch`, `score`, `state`), None without masks of it. And a row per epoch.
    """
    be_deterministic(seed)
    architecture = getattr(method, "ARCHITECTURE", recipe.architecture)
    segmenter = Segmenter(architecture, classifier["encoder"], recipe.output_stride, dataset.num_classes)
    load_encoder(segmenter.encoder, part_of(classifier["state"], "encoder"), "the classifier")
    start = Setting(method_recipe, method_params, 0, recipe.epochs, dataset.info.background)
    network = method.network(segmenter, classifier, start) if hasattr(method, "network") else segmenter
    train_ids = dataset.ids("train")
    ids = method.images(train_ids, start) if hasattr(method, "images") else train_ids
    labels = label_maps(
        method.labels(start) if hasattr(method, "labels") else method.LABELS, dataset, ids, sources, method_recipe
    )
    if known := method.labelled(train_ids, start) if hasattr(method, "labelled") else []:
        labels = SomeMasks(dataset, frozenset(known), labels)
    samples = Samples(
        dataset,
        ids,
        labels,
        target_rows(method.TARGETS, dataset, ids, sources),
        recipe.augment,
        seed,
        partial(method.pixel_weights, setting=start) if hasattr(method, "pixel_weights") else None,
    )

    def loss(net: nn.Module, batch: Batch, progress: Progress) -> dict[str, torch.Tensor]:
        views = normalise(batch.images)
        outputs = net(views) if network is segmenter else net(views, batch.valid)
        return method.loss(outputs, batch, replace(start, epoch=progress.epoch))

    def validate() -> dict[str, float]:
        return {"miou": validation_miou(segmenter, dataset, recipe)}

    def after_epoch(progress: Progress) -> None:
        if hasattr(method, "after_epoch"):
            method.after_epoch(network, samples, replace(start, epoch=progress.epoch))

    judged = dataset.masked(dataset.ids("val"))
    trained = train(network, samples, loss, recipe, checkpoint, log, validate if judged else None, after_epoch)
    best = trained.best
    if best and network is not segmenter:
        best = best | {"state": part_of(best["state"], "segmenter")}
    model = {
        "architecture": architecture,
        "encoder": classifier["encoder"],
        "output_stride": recipe.output_stride,
        "num_classes": dataset.num_classes,
        "state": {name: value.cpu() for name, value in segmenter.state_dict().items()},
        "best": best,
    }
    return model, trained.history


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
