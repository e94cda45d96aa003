"""Segmenter -> label maps at the images' own size: several scales and flips, and a dense CRF where the recipe asks."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from stages.core.dataset import Dataset
from stages.core.dense_crf import dense_crf
from stages.core.device import device
from stages.core.files import write_zip
from stages.core.inference import average_softmax, group_by_size, image_batches
from stages.core.networks.segmentation import Segmenter
from stages.core.params import Params
from stages.core.pool import process_map


@torch.inference_mode()
def probability_maps(
    network: Segmenter, dataset: Dataset, ids: list[str], recipe: Params
) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Each image's id, the image (H, W, 3) uint8 and its class probabilities (K, H, W) float32."""
    network.eval().to(device())
    for group, images in image_batches(dataset, group_by_size(dataset, ids, recipe.batch_size)):
        probabilities = average_softmax(network, images, recipe.scales, recipe.flip).cpu().numpy()
        pictures = images.permute(0, 2, 3, 1).numpy()
        yield from zip(group, pictures, probabilities, strict=True)


class Decide:
    """The label map (H, W) uint8 of an image's probabilities, after a dense CRF unless `crf` is none."""

    def __init__(self, crf: Params | str) -> None:
        self.crf = crf

    def __call__(self, item: tuple[str, np.ndarray, np.ndarray]) -> tuple[str, np.ndarray]:
        """item: id, image (H, W, 3) uint8, probabilities (K, H, W) float32."""
        image_id, image, probabilities = item
        if self.crf != "none":
            probabilities = dense_crf(image, probabilities, self.crf)
        return image_id, probabilities.argmax(0).astype(np.uint8)


def label_maps(
    network: Segmenter, dataset: Dataset, ids: list[str], recipe: Params
) -> Iterator[tuple[str, np.ndarray]]:
    """Each image's id and predicted label map, (H, W) uint8, in the order of size and id."""
    stream, decide = probability_maps(network, dataset, ids, recipe), Decide(recipe.crf)
    if recipe.crf == "none":  # sending probabilities to another process would cost more than the decision
        return map(decide, tqdm(stream, "predict", len(ids), disable=None))
    return process_map(decide, stream, "predict", len(ids))


def write_predictions(
    path: Path, network: Segmenter, dataset: Dataset, splits: dict[str, list[str]], recipe: Params, model: str
) -> None:
    """Writes masks/ID.png for every image of `splits` once, and predict.json: `splits` and `model`."""
    ids = list(dict.fromkeys(image_id for members in splits.values() for image_id in members))
    with write_zip(path) as archive:
        archive.text("predict.json", json.dumps({"splits": splits, "model": model}) + "\n")
        for image_id, labels in label_maps(network, dataset, ids, recipe):
            archive.png(f"masks/{image_id}.png", labels, dataset.info.palette)
