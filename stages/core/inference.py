"""Images in batches of one size, so that nothing is padded and a GPU has enough to do."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch.nn import functional as F
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from stages.core.dataset import Dataset
from stages.core.device import device, memory_format
from stages.core.pool import workers
from stages.core.transforms import normalise


class _Images(TorchDataset):
    def __init__(self, dataset: Dataset) -> None:
        self.dataset = dataset

    def __getitem__(self, image_id: str) -> np.ndarray:
        return self.dataset.image(image_id)


def group_by_size(dataset: Dataset, ids: list[str], batch_size: int) -> list[list[str]]:
    """The ids in lists of at most `batch_size` whose images have one size, in order of size and id."""
    records = dataset.records
    by_size: dict[tuple[int, int], list[str]] = {}
    for image_id in sorted(ids):
        by_size.setdefault((records[image_id].height, records[image_id].width), []).append(image_id)
    return [
        group[start : start + batch_size]
        for _, group in sorted(by_size.items())
        for start in range(0, len(group), batch_size)
    ]


def image_batches(dataset: Dataset, groups: list[list[str]]) -> Iterator[tuple[list[str], torch.Tensor]]:
    """The ids and images (B, 3, H, W) uint8 of each group, read ahead by loader processes."""
    few = sum(map(len, groups)) < 512
    loader = DataLoader(
        _Images(dataset),
        batch_sampler=groups,
        num_workers=0 if few else max(1, workers() - 1),
        collate_fn=lambda images: torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2),
        generator=torch.Generator().manual_seed(0),
    )
    return zip(groups, loader, strict=True)


def scaled_views(images: torch.Tensor, scales: tuple[float, ...], flip: bool) -> Iterator[tuple[torch.Tensor, bool]]:
    """Normalised views of (B, 3, H, W) uint8 images on the device, per scale and flip, and whether each is flipped."""
    where = device()
    normalised = normalise(images.to(where)).contiguous(memory_format=memory_format(where))
    for scale in scales:
        view = normalised
        if scale != 1:
            size = [max(1, round(side * scale)) for side in images.shape[2:]]
            view = F.interpolate(normalised, size, mode="bilinear", align_corners=False, antialias=scale < 1)
        yield view, False
        if flip:
            yield view.flip(3), True


def average_softmax(
    network: torch.nn.Module, images: torch.Tensor, scales: tuple[float, ...] = (1.0,), flip: bool = False
) -> torch.Tensor:
    """Class probabilities (B, K, H, W) float32, averaged over scales and flips at the images' own size."""
    total, count = torch.zeros(()), 0
    for view, flipped in scaled_views(images, scales, flip):
        probabilities = network(view).softmax(1)
        if flipped:
            probabilities = probabilities.flip(3)
        if probabilities.shape[2:] != images.shape[2:]:
            probabilities = F.interpolate(probabilities, images.shape[2:], mode="bilinear", align_corners=False)
        total, count = total.to(probabilities.device) + probabilities, count + 1
    return total / count
