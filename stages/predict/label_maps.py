"""Segmenter -> label maps at the images' own size: several scales and flips, and a dense CRF where the recipe asks."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from stages.core.dataset import Dataset
from stages.core.dense_crf import dense_crf
from stages.core.device import device, workers
from stages.core.files import write_zip
from stages.core.inference import average_softmax, group_by_size, image_batches
from stages.core.networks.segmentation import Segmenter
from stages.core.params import Params


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


def decide(image: np.ndarray, probabilities: np.ndarray, crf: Params) -> np.ndarray:
    """The label map (H, W) uint8 after a dense CRF."""
    return dense_crf(image, probabilities, crf).argmax(0).astype(np.uint8)


def label_maps(
    network: Segmenter, dataset: Dataset, ids: list[str], recipe: Params
) -> Iterator[tuple[str, np.ndarray]]:
    """Each image's predicted label map, (H, W) uint8, in the order of size and id."""
    stream = probability_maps(network, dataset, ids, recipe)
    if recipe.crf == "none":
        for image_id, _, probabilities in stream:
            yield image_id, probabilities.argmax(0).astype(np.uint8)
        return
    with ProcessPoolExecutor(workers(), get_context("spawn")) as pool:
        yield from ordered(pool, partial(decide, crf=recipe.crf), stream, 4 * workers())


def ordered(
    pool: ProcessPoolExecutor,
    work: Callable[[np.ndarray, np.ndarray], np.ndarray],
    stream: Iterator[tuple[str, np.ndarray, np.ndarray]],
    ahead: int,
) -> Iterator[tuple[str, np.ndarray]]:
    """`work` on each item of `stream` in the pool, in order, with at most `ahead` items in memory."""
    waiting = []
    for image_id, image, probabilities in stream:
        waiting.append((image_id, pool.submit(work, image, probabilities)))
        if len(waiting) == ahead:
            first, future = waiting.pop(0)
            yield first, future.result()
    for image_id, future in waiting:
        yield image_id, future.result()


def write_predictions(
    path: Path, network: Segmenter, dataset: Dataset, splits: dict[str, list[str]], recipe: Params
) -> None:
    """Writes masks/ID.png for every image of `splits` once, and predict.json, which lists the splits."""
    ids = list(dict.fromkeys(image_id for members in splits.values() for image_id in members))
    with write_zip(path) as archive:
        archive.text("predict.json", json.dumps({"splits": splits}) + "\n")
        for image_id, labels in tqdm(
            label_maps(network, dataset, ids, recipe), total=len(ids), unit="image", disable=None
        ):
            archive.png(f"masks/{image_id}.png", labels, dataset.info.palette)
