"""The size targets of the training images: measured, then corrupted as params.yaml says."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from stages.core.dataset import Dataset, DatasetInfo
from stages.core.faults import Fault
from stages.core.files import ZipReader
from stages.core.params import Params
from stages.size_targets.corrupt import corrupt, noise
from stages.size_targets.errors import error_rows
from stages.size_targets.measure import shares, split_pixels
from stages.size_targets.pseudo import pseudo_sizes

COLUMNS = ("id", "class", "name", "true", "target")
SPLIT = "train"
SOURCES = ("masks", "pseudo_masks")


def make_targets(
    dataset: Dataset, pseudo_masks: ZipReader, params: Params
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The rows of size_targets.csv and of size_error.csv; of the latter none without true masks.

    Sizes that are to be measured on masks that the training images do not have are no rows at all: methods that need
    no sizes go on, and the others say what is missing.

    Args:
        dataset: its masks and tags are read, not its images.
        pseudo_masks: archive with masks/ID.png, read where `source` says so.
        params: `source` (masks, pseudo_masks), `void` (excluded, included), `corruption` (none, relative_gaussian), and
            for the latter `sigma`, `renormalise`, `seed`; see `measure.shares`, `pseudo_sizes` and `corrupt.corrupt`.

    Raises:
        Fault: a value is none of these, or does not suit the data set.
    """
    for key, allowed in {"source": SOURCES, "void": ("excluded", "included")}.items():
        if params[key] not in allowed:
            raise Fault(f"no size_targets.{key} {params[key]!r}; there is {', '.join(allowed)}")
    ids, info = dataset.ids(SPLIT), dataset.info
    from_masks, masked = params.source == "masks", dataset.masked(ids)
    if from_masks and not masked:
        return [], []
    pixels = split_pixels(dataset, ids) if masked else None
    true = None if pixels is None else shares(pixels, params.void, info.background, ids)
    measured = true if from_masks else pseudo_sizes(dataset, ids, pseudo_masks, params.void)
    target = corrupted(measured, ids, params, info)
    errors = [] if true is None else error_rows(true, target, pixels, info)
    return list(target_rows(ids, true, target, info)), errors


def corrupted(true: np.ndarray, ids: list[str], params: Params, info: DatasetInfo) -> np.ndarray:
    """The sizes (N, C) under `params.corruption`.

    Raises:
        Fault: there is no such corruption, or it does not suit the data set.
    """
    if params.corruption == "none":
        return true
    if params.corruption == "relative_gaussian":
        draws = noise(ids, true.shape[1], params.seed)
        return corrupt(true, draws, params.sigma, params.renormalise, info.background)
    raise Fault(f"no size_targets.corruption {params.corruption!r}; there are none and relative_gaussian")


def target_rows(
    ids: list[str], true: np.ndarray | None, target: np.ndarray, info: DatasetInfo
) -> Iterator[dict[str, Any]]:
    """A row per image and class in its truth or its target; where there is a background it has a row in every image.

    Shares have 9 significant digits, so that float32 sizes are exact and sum to 1 within rounding; `true` is empty
    where there are no masks.
    """
    present = target > 0 if true is None else (target > 0) | (true > 0)
    present[:, : int(info.background)] = True
    for row, label in zip(*np.nonzero(present), strict=True):
        yield {
            "id": ids[row],
            "class": int(label),
            "name": info.classes[label],
            "true": "" if true is None else f"{true[row, label]:.9g}",
            "target": f"{target[row, label]:.9g}",
        }
