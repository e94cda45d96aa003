"""Training batches, the same whatever the number of loader processes and whether a run was interrupted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields

import numpy as np
import torch
from torch.utils.data import DataLoader, Sampler
from torch.utils.data import Dataset as TorchDataset

from stages.core.dataset import VOID, Dataset
from stages.core.faults import Fault
from stages.core.params import Params
from stages.core.pool import workers
from stages.core.transforms import augment, pad_batch, valid_pixels


@dataclass
class Batch:
    """A batch of views, padded right and below to one size.

    images: (B, 3, H, W) uint8 RGB.
    valid: (B, H, W) bool, False on padding.
    labels: (B, H, W) int64 label maps, 255 void and on padding; None where the training reads none.
    targets: (B, K) float32, a row per image: its tags or its sizes.
    weights: (B, H, W) float32, how much each pixel counts, 0 on padding; None where all count alike.
    """

    images: torch.Tensor
    valid: torch.Tensor
    labels: torch.Tensor | None
    targets: torch.Tensor
    weights: torch.Tensor | None = None

    def to(self, where: torch.device) -> Batch:
        """The batch on a device."""
        values = (getattr(self, field.name) for field in fields(self))
        return Batch(*(value if value is None else value.to(where, non_blocking=True) for value in values))

    def pin_memory(self) -> Batch:
        """The batch in page-locked memory, as DataLoader asks for it."""
        values = (getattr(self, field.name) for field in fields(self))
        return Batch(*(value if value is None else value.pin_memory() for value in values))


@dataclass(frozen=True)
class View:
    """One augmented image.

    image: (H, W, 3) uint8 RGB.
    labels: (H, W) uint8 label map, 255 void; None where the training reads none.
    targets: (K,) float32.
    weights: (H, W) float32; None where all pixels count alike.
    """

    image: np.ndarray
    labels: np.ndarray | None
    targets: np.ndarray
    weights: np.ndarray | None = None


@dataclass
class Samples(TorchDataset):
    """What a training reads: images, label maps (or none) and a row of targets per image.

    labels: gives an image's label map (H, W) uint8; None where the training reads none.
    targets: (len(ids), K) float32.
    recipe: the `augment` section, see `stages.core.transforms.augment`.
    weights: gives the weights of the pixels, (H, W) float32, from the label map after augmentation; None for none.
    """

    dataset: Dataset
    ids: list[str]
    labels: Callable[[str], np.ndarray] | None
    targets: np.ndarray
    recipe: Params
    seed: int
    weights: Callable[[np.ndarray], np.ndarray] | None = None

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, key: tuple[int, int]) -> View:
        epoch, index = key
        image_id = self.ids[index]
        # A view depends on these three alone, so workers and interruptions leave it as it is.
        generator = np.random.default_rng([self.seed, epoch, index])
        label_map = self.labels(image_id) if self.labels else None
        image, label_map = augment(self.dataset.image(image_id), label_map, self.recipe, generator)
        return View(image, label_map, self.targets[index], self.weights(label_map) if self.weights else None)


class EpochBatches(Sampler[list[tuple[int, int]]]):
    """The batches of epochs `first` to `epochs` in one sequence, as (epoch, index) pairs.

    Each epoch is a fresh permutation; the last, smaller batch of an epoch is left out, because batch normalisation on
    one or two images is noise. A process of several takes every n-th sample of each batch, and hands them out in
    `parts` equal parts, whose gradients are added up before the optimiser's step.

    Raises:
        Fault: a batch cannot be divided equally.
    """

    def __init__(
        self,
        length: int,
        batch_size: int,
        epochs: int,
        seed: int,
        first: int = 0,
        rank: int = 0,
        world: int = 1,
        parts: int = 1,
    ) -> None:
        self.length, self.batch_size = length, min(batch_size, length)
        self.first, self.epochs, self.seed, self.rank, self.world, self.parts = first, epochs, seed, rank, world, parts
        if self.batch_size % (world * parts):
            raise Fault(
                f"a batch of {self.batch_size} images cannot be divided equally among {world} processes (NPROC) "
                f"and {parts} parts (accumulate); choose another batch_size"
            )

    @property
    def steps_per_epoch(self) -> int:
        """Number of optimiser steps in an epoch."""
        return self.length // self.batch_size

    def __len__(self) -> int:
        return self.steps_per_epoch * self.parts * (self.epochs - self.first)

    def members(self, epoch: int, step: int) -> np.ndarray:
        """The indices of a step's whole batch, of all processes."""
        return epoch_order(self.seed, epoch, self.length)[step * self.batch_size : (step + 1) * self.batch_size]

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        for epoch in range(self.first, self.epochs):
            order = epoch_order(self.seed, epoch, self.length)
            for start in range(0, self.steps_per_epoch * self.batch_size, self.batch_size):
                mine = order[start : start + self.batch_size][self.rank :: self.world]
                for part in np.split(mine, self.parts):
                    yield [(epoch, int(index)) for index in part]


def epoch_order(seed: int, epoch: int, length: int) -> np.ndarray:
    """The permutation of `length` samples in which an epoch sees them."""
    return np.random.default_rng([seed, epoch]).permutation(length)


def collate(views: list[View]) -> Batch:
    """Pads a list of views to one size, see `Batch`."""
    images = pad_batch([view.image for view in views])
    valid = valid_pixels([view.image.shape[:2] for view in views], *images.shape[1:3])
    labels = weights = None
    if views[0].labels is not None:
        labels = torch.from_numpy(pad_batch([view.labels for view in views], VOID)).long()
    if views[0].weights is not None:
        weights = torch.from_numpy(pad_batch([view.weights for view in views]))
    targets = torch.from_numpy(np.stack([view.targets for view in views]))
    planes = torch.from_numpy(images).permute(0, 3, 1, 2).contiguous()
    return Batch(planes, torch.from_numpy(valid), labels, targets, weights)


def load(samples: Samples, batches: EpochBatches, pin: bool) -> Iterator[Batch]:
    """Iterates over `batches` with `SIZEWISE_JOBS` loader processes, at most one per process's CPU."""
    count = 0 if len(samples) * batches.epochs < 512 else max(1, workers() // batches.world - 1)
    return iter(
        DataLoader(
            samples,
            batch_sampler=batches,
            collate_fn=collate,
            num_workers=count,
            pin_memory=pin,
            generator=torch.Generator().manual_seed(0),  # spares the global one, which dropout draws from
            worker_init_fn=_quiet_worker,
        )
    )


def _quiet_worker(_: int) -> None:
    torch.set_num_threads(1)
