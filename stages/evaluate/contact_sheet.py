"""Pictures of single images: photograph, truth, activation maps, pseudo mask and prediction side by side."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from stages.core.dataset import Dataset
from stages.core.files import ZipReader
from stages.core.pictures import Tile, heat, painted, sheet


def sheets(
    dataset: Dataset, ids: Sequence[str], cams: ZipReader, pseudo_masks: ZipReader, predictions: ZipReader
) -> Iterator[tuple[str, np.ndarray]]:
    """File name and picture (h, w, 3) uint8 RGB for each id; what there is not is a grey tile that says `none`."""
    for number, image_id in enumerate(ids):
        image, truth = dataset.image(image_id), dataset.mask(image_id) if dataset.has_mask(image_id) else None
        pseudo_mask, prediction = (
            archive.png(member) if (member := f"masks/{image_id}.png") in archive else None
            for archive in (pseudo_masks, predictions)
        )
        cam = cams.array(f"{image_id}.npy") if f"{image_id}.npy" in cams else None
        tiles = [
            Tile("image", image, smooth=True),
            Tile("truth", None if truth is None else painted(truth, dataset.info)),
            Tile("CAM", None if cam is None else heat(image, cam, dataset.tags(image_id), dataset.info), smooth=True),
            Tile("pseudo mask", None if pseudo_mask is None else painted(pseudo_mask, dataset.info)),
            Tile("prediction", None if prediction is None else painted(prediction, dataset.info)),
        ]
        shown = [labels for labels in (truth, pseudo_mask, prediction) if labels is not None]
        present = sorted(set().union(*(np.unique(labels).tolist() for labels in shown)))
        yield f"{number:02d}_{image_id.replace('/', '_')}.png", sheet(tiles, image_id, present, dataset.info)
