"""The size targets of the training images: measured, then corrupted as params.yaml says."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from stages.core.dataset import Dataset, DatasetInfo
from stages.core.faults import Fault
from stages.core.files import ZipReader
from stages.core.params import Params
from stages.size_targets.boxes import box_sizes
from stages.size_targets.corrupt import corrupt, noise, scaled
from stages.size_targets.errors import error_rows
from stages.size_targets.exchange import chances, swapped, without_sizes
from stages.size_targets.human import human_factors
from stages.size_targets.imported import read_sizes
from stages.size_targets.measure import shares, split_pixels
from stages.size_targets.missing import RULES, complete
from stages.size_targets.pseudo import pseudo_sizes
from stages.size_targets.quantise import quantised_factors

COLUMNS = ("id", "class", "name", "true", "target")
SPLIT = "train"
SOURCES = ("masks", "pseudo_masks", "file", "boxes")


def make_targets(
    dataset: Dataset, pseudo_masks: ZipReader, size_file: Path, params: Params
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The rows of size_targets.csv and of size_error.csv; of the latter none without true masks.

    Sizes that are to be measured on masks that the training images do not have are no rows at all: methods that need
    no sizes go on, and the others say what is missing.

    Args:
        dataset: its masks and tags are read, not its images.
        pseudo_masks: archive with masks/ID.png, read where `source` is pseudo_masks.
        size_file: a CSV file, read where `source` is file (see `imported`) or boxes (see `boxes`); or a module, for no
            file.
        params: the section `size_targets`: `source`, `void` (excluded, included), `missing` and `fill` for sizes from
            elsewhere, `corruption` and what belongs to it, see `CORRUPTIONS`.

    Raises:
        Fault: a value is none of these, or does not suit the data set; or a file is faulty.
    """
    known = {
        "source": SOURCES,
        "void": ("excluded", "included"),
        "missing": RULES,
        "corruption": tuple(CORRUPTIONS),
    }
    for key, allowed in known.items():
        if params[key] not in allowed:
            raise Fault(f"no size_targets.{key} {params[key]!r}; there is {', '.join(allowed)}")
    ids, info = dataset.ids(SPLIT), dataset.info
    masked = dataset.masked(ids)
    if params.source == "masks" and not masked:
        return [], []
    pixels = split_pixels(dataset, ids) if masked else None
    true = None if pixels is None else shares(pixels, params.void, info.background, ids)
    if params.source == "masks":
        measured = true
    elif params.source == "pseudo_masks":
        measured = pseudo_sizes(dataset, ids, pseudo_masks, params.void)
    else:
        measured = given_sizes(dataset, ids, size_file, params)
    target = CORRUPTIONS[params.corruption](measured, ids, params, info.background)
    errors = [] if true is None else error_rows(true, target, pixels, info)
    return list(target_rows(ids, true, target, info)), errors


def given_sizes(dataset: Dataset, ids: list[str], size_file: Path, params: Params) -> np.ndarray:
    """Relative sizes (N, C) from a file of sizes or from boxes, completed by the rule `params.missing`.

    How many had to be completed is said on standard error.

    Raises:
        Fault: there is no file of sizes, or it has faults.
    """
    path = None if size_file.suffix == ".py" else size_file
    if params.source == "boxes":
        sizes = box_sizes(path, dataset, ids, params.fill)
    elif path is None:
        raise Fault("size_targets.source file needs size_file, the absolute path of a CSV file")
    else:
        sizes = read_sizes(path, dataset, ids)
    tagged = np.zeros(sizes.shape, bool)
    tagged[:, dataset.foreground.start :] = dataset.tag_matrix(ids) > 0
    lacking = int((tagged & np.isnan(sizes)).sum())
    if lacking:
        sys.stderr.write(
            f"sizewise size_targets: {lacking} of the {int(tagged.sum())} tags have no size; they are handled as "
            f"size_targets.missing says: {params.missing}\n"
        )
    return complete(sizes, tagged, params.missing, dataset.info.background, ids)


Corruption = Callable[[np.ndarray, list[str], Params, bool], np.ndarray]


def none(sizes: np.ndarray, _ids: list[str], _params: Params, _background: bool) -> np.ndarray:
    """The sizes as they are."""
    return sizes


def random_factors(sizes: np.ndarray, ids: list[str], params: Params, background: bool) -> np.ndarray:
    """relative_gaussian and lognormal, with `sigma` and `renormalise`: see `corrupt`."""
    draws = noise(ids, sizes.shape[1], params.seed)
    return corrupt(sizes, draws, params.sigma, params.renormalise, background, params.corruption)


def human(sizes: np.ndarray, ids: list[str], params: Params, background: bool) -> np.ndarray:
    """As people err, the logarithm of it times `scale`: see `human`."""
    draws = noise(ids, sizes.shape[1], params.seed)
    return scaled(sizes, human_factors(sizes, draws, params.scale), background)


def quantised(sizes: np.ndarray, _ids: list[str], params: Params, background: bool) -> np.ndarray:
    """In multiples of `step`, or in few sizes with the upper bounds `bins`: see `quantise`."""
    bins = None if params.bins == "none" else params.bins
    return scaled(sizes, quantised_factors(sizes, params.step, bins), background)


def biased(sizes: np.ndarray, _ids: list[str], params: Params, background: bool) -> np.ndarray:
    """Every object `factor` times its size, and the background the rest.

    Raises:
        Fault: there is no background, so that the factor would be divided out.
    """
    if not background:
        raise Fault("size_targets.corruption: biased needs a background, which this data set lacks; use another")
    return scaled(sizes, params.factor, background)


def other_sizes(sizes: np.ndarray, ids: list[str], params: Params, background: bool) -> np.ndarray:
    """A `share` of the images with the sizes of others: see `exchange.swapped`."""
    return swapped(sizes, chances(ids, params.seed), params.share, background)


def no_sizes(sizes: np.ndarray, ids: list[str], params: Params, background: bool) -> np.ndarray:
    """A `share` of the images with their tags only: see `exchange.without_sizes`."""
    return without_sizes(sizes, chances(ids, params.seed), params.share, background)


CORRUPTIONS: dict[str, Corruption] = {
    "none": none,
    "relative_gaussian": random_factors,
    "lognormal": random_factors,
    "human": human,
    "quantised": quantised,
    "biased": biased,
    "swapped": other_sizes,
    "missing": no_sizes,
}


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
