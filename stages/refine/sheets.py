"""Pictures of how single images get their pseudo masks: photograph, truth, the scores after each step, the mask."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import numpy as np

from stages.core.dataset import Dataset
from stages.core.pictures import Tile, heat, painted, sheet

Steps = Mapping[str, np.ndarray]
COUNT = 8  # images that are drawn


def step_sheets(
    dataset: Dataset, images: Iterable[tuple[str, Steps, np.ndarray | None]]
) -> Iterator[tuple[str, np.ndarray]]:
    """File name and picture (h, w, 3) uint8 RGB for each image.

    A column of scores shows the highest of the tagged classes' in that class's colour, the stronger the higher it is,
    at one scale for all columns. An image without a true mask has no column of the truth.

    Args:
        dataset: with images.
        images: ids, each with its scores by step, in the order of the columns, (K, h, w) float in 0..1 of the image's
            tags at any resolution; and with its pseudo mask, (H, W) uint8, or None where it has none.
    """
    info = dataset.info
    for number, (image_id, steps, mask) in enumerate(images):
        image, tags = dataset.image(image_id), dataset.tags(image_id)
        truth = dataset.mask(image_id) if dataset.has_mask(image_id) else None
        tiles = [
            Tile("image", image, smooth=True),
            *([] if truth is None else [Tile("truth", painted(truth, info))]),
            *(Tile(name, heat(image, as_bytes(scores), tags, info), smooth=True) for name, scores in steps.items()),
            Tile("pseudo mask", None if mask is None else painted(mask, info)),
        ]
        shown = [tags, *(labels for labels in (truth, mask) if labels is not None)]
        present = np.unique(np.concatenate([labels.ravel() for labels in shown])).tolist()
        yield f"{number:02d}_{image_id.replace('/', '_')}.png", sheet(tiles, image_id, present, info)


def as_bytes(scores: np.ndarray) -> np.ndarray:
    """Scores (K, h, w) in 0..1 as uint8, 255 for 1."""
    return (np.clip(scores, 0, 1) * 255).round().astype(np.uint8)
