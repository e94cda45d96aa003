"""The pool of the size-balanced set and the tables that describe what was chosen from it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from tqdm import tqdm

from stages.balance.flattest import flattest
from stages.balance.selection import choose, priorities
from stages.core.dataset import Dataset
from stages.core.faults import Fault
from stages.core.metrics.instances import dataset_instances
from stages.core.metrics.sizes import SIZES, class_size_counts

CHOSEN_COLUMNS = ("id", "instances", *SIZES)
HISTOGRAM_COLUMNS = ("class", "size", "instances", "pool", "instances_from")


def pool_counts(dataset: Dataset, ids: list[str]) -> np.ndarray:
    """Instances by image, class and size, (images, classes, 3) int64; the background's row stays 0.

    Raises:
        Fault: an image of the pool has no mask, or none has an instance.
    """
    info = dataset.info
    counts = np.zeros((len(ids), dataset.num_classes, len(SIZES)), np.int64)
    for row, image_id in enumerate(tqdm(ids, desc="instances", disable=None)):
        found = dataset_instances(dataset, image_id)
        counts[row] = class_size_counts(found.labels, found.areas, info.size_bins, dataset.num_classes)
    if not counts.any():
        raise Fault(f"no image of the {len(ids)} in the pool of data set {info.name} has an instance to balance")
    return counts


def balanced_subset(counts: np.ndarray, ids: list[str], target: int, seed: int) -> np.ndarray:
    """(images,) bool: the images whose instances come close to `target` in each class and size, see `choose`."""
    return choose(counts.reshape(len(ids), -1), target, priorities(ids, seed))


def flat_subset(counts: np.ndarray, ids: list[str], images: int, seed: int) -> np.ndarray:
    """(images,) bool: so many images, with instances spread evenly over class and size, see `flattest`."""
    return flattest(counts.reshape(len(ids), -1), images, priorities(ids, seed))


def chosen_rows(counts: np.ndarray, ids: list[str], chosen: np.ndarray) -> list[dict[str, Any]]:
    """A row per chosen image, sorted by id: its instances, all and by size."""
    rows = []
    for row in sorted(np.flatnonzero(chosen), key=ids.__getitem__):
        sizes = counts[row].sum(0)
        rows.append({"id": ids[row], "instances": sizes.sum(), **dict(zip(SIZES, sizes, strict=True))})
    return rows


def histogram_rows(counts: np.ndarray, chosen: np.ndarray, dataset: Dataset, source: str) -> Iterator[dict[str, Any]]:
    """A row per foreground class and size: instances in the chosen set and in the pool.

    `instances_from` is `source`, see `instance_source`.
    """
    before, after = counts.sum(0), counts[chosen].sum(0)
    for label in dataset.foreground:
        name = dataset.info.classes[label]
        for size, size_name in enumerate(SIZES):
            yield {
                "class": name,
                "size": size_name,
                "instances": after[label, size],
                "pool": before[label, size],
                "instances_from": source,
            }
