"""The metrics of each split and the rows of the tables that hold them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from stages.core.dataset import Dataset, DatasetInfo
from stages.core.metrics.bootstrap import intervals
from stages.core.metrics.confusion import all_background, mean_iou
from stages.core.metrics.image_counts import ImageCounts
from stages.core.metrics.instances import instance_source
from stages.core.metrics.means import ratio
from stages.core.metrics.sizes import SIZES, octaves, size_bin
from stages.core.metrics.summary import IA_SIZES, SCORES, Summands, Sums

BALANCED = "balanced"
MIOU_COLUMNS = ("split", *SCORES, "all_background_miou", "images", "instances", "mode", "instances_from", "model")
INTERVAL_COLUMNS = ("split", "score", "value", "low", "high")
CLASS_VALUES = ("iou", "dice", "precision", "recall", "boundary_iou", "ia_iou")
PER_CLASS_COLUMNS = ("split", "class", *CLASS_VALUES, "instances")
CLASS_SIZE_COLUMNS = ("split", "class", "size", "ia_iou", "instances", "missed")
BY_SIZE_COLUMNS = ("log2_size", "size", "iou", "instances")
CONFUSION_COLUMNS = ("actual", "predicted", "share", "pixels")
INSTANCE_COLUMNS = ("id", "instance", "class", "size", "bin", "iou", "missed")
UNDECIDED = "(none)"  # the column of pixels that the prediction leaves open


@dataclass(frozen=True)
class SplitScores:
    """A split's confusion matrix (C, C + 1) int64, its sums over images, and its scores with their 95 % intervals."""

    split: str
    matrix: np.ndarray
    images: int
    sums: Sums
    scores: dict[str, float]
    intervals: dict[str, tuple[float, float]]


def split_scores(
    split: str, matrix: np.ndarray, results: Sequence[ImageCounts], info: DatasetInfo, bootstrap: int
) -> SplitScores:
    """The scores of a split of at least one image from its confusion matrix and its images.

    bootstrap: number of resamples for the intervals.
    """
    summands = Summands(results, info.size_bins, len(info.classes), info.background)
    sums = summands.sums()
    scores = {name: float(values[0]) for name, values in sums.scores().items()}
    return SplitScores(split, matrix, len(results), sums, scores, intervals(summands, bootstrap))


def miou_row(split: SplitScores, dataset: Dataset, mode: str, model: str) -> dict[str, Any]:
    """A row of miou.csv: every score of `Sums.scores`, and what it is a score of.

    `all_background_miou` is the mIoU of predicting background everywhere, `mode` the form of the IA-mIoU and
    `instances_from` where the instances come from. `instances` counts no background. `model` says which weights were
    used, and whether val chose them.
    """
    return {
        "split": split.split,
        **split.scores,
        "all_background_miou": mean_iou(all_background(split.matrix)) if dataset.info.background else float("nan"),
        "images": split.images,
        "instances": int(split.sums.instances.sum()),
        "mode": mode,
        "instances_from": instance_source(dataset),
        "model": model,
    }


def interval_rows(split: SplitScores) -> Iterator[dict[str, Any]]:
    """A row of intervals.csv for each score that is defined, with its 95 % bootstrap interval over images."""
    for name, value in split.scores.items():
        if not np.isnan(value):
            low, high = split.intervals[name]
            yield {"split": split.split, "score": name, "value": value, "low": low, "high": high}


def per_class_rows(split: SplitScores, info: DatasetInfo) -> Iterator[dict[str, Any]]:
    """A row of per_class.csv for each class; `instances` of the background are the images that have some."""
    values = {name: getattr(split.sums, f"class_{name}")()[0] for name in (*CLASS_VALUES, "instances")}
    for label, name in enumerate(info.classes):
        row = {column: value[label] for column, value in values.items()}
        yield {"split": split.split, "class": name, **row, "instances": int(row["instances"])}


def class_size_rows(split: SplitScores, info: DatasetInfo) -> Iterator[dict[str, Any]]:
    """A row of per_class_size.csv for each class and size that has instances; `missed` is the share with IoU 0."""
    instances, mean = split.sums.instances[0], split.sums.class_size_ia_iou()[0]
    missed = ratio(split.sums.missed[0], instances)
    for label, column in np.argwhere(instances > 0):
        yield {
            "split": split.split,
            "class": info.classes[label],
            "size": SIZES[column],
            "ia_iou": mean[label, column],
            "instances": int(instances[label, column]),
            "missed": missed[label, column],
        }


def by_size_rows(results: Sequence[ImageCounts]) -> Iterator[dict[str, Any]]:
    """The rows of iou_by_size.csv: mean IoU of all instances whose area lies in each octave, 2^k to 2^(k+1) pixels.

    `size` is the geometric mean of the octave's bounds in pixels, `log2_size` its logarithm, for an evenly spaced axis.
    """
    areas = np.concatenate([result.areas for result in results])
    ious = np.concatenate([result.ious for result in results])
    octave = octaves(areas)
    for k in np.unique(octave):
        inside = ious[octave == k]
        yield {"log2_size": k + 0.5, "size": 2.0 ** (k + 0.5), "iou": inside.mean(), "instances": inside.size}


def confusion_rows(split: SplitScores, info: DatasetInfo) -> Iterator[dict[str, Any]]:
    """A row of confusion.csv for each actual and predicted class: pixels, and their share of the actual class.

    Classes without true pixels have no rows; pixels without a decision have a column only where there are some.
    """
    columns = [*info.classes, *([UNDECIDED] if split.matrix[:, -1].any() else [])]
    for actual, pixels in zip(info.classes, split.matrix, strict=True):
        if pixels.any():
            for predicted, count in zip(columns, pixels[: len(columns)], strict=True):
                yield {"actual": actual, "predicted": predicted, "share": count / pixels.sum(), "pixels": count}


def instance_rows(
    results: Sequence[ImageCounts], classes: Sequence[str], bounds: Sequence[int]
) -> Iterator[dict[str, Any]]:
    """A row of instances.csv for each true instance: its image and id, class, size in pixels, size bin and IoU.

    `missed` is 1 where no pixel of it was found. `bounds` are the areas in pixels that divide small, medium and large.
    """
    for result in results:
        bins = size_bin(result.areas, bounds)
        for row, instance in enumerate(result.instances):
            yield {
                "id": result.id,
                "instance": instance,
                "class": classes[result.instance_labels[row]],
                "size": result.areas[row],
                "bin": SIZES[bins[row]],
                "iou": result.ious[row],
                "missed": int(result.ious[row] == 0),
            }


def summary(
    rows: Sequence[Mapping[str, Any]],
    headline: str,
    pseudo_mask_scores: Sequence[Mapping[str, str]],
    size_errors: Sequence[Mapping[str, str]],
) -> dict[str, float]:
    """The scalars of summary.json, 0..1, rounded to 6 decimals; what is undefined is left out, since 0 would be a lie.

    Args:
        rows: the rows of miou.csv.
        headline: the split of the headline numbers.
        pseudo_mask_scores: rows of pseudo_mask_scores.csv, of which the mean on val counts.
        size_errors: rows of size_error.csv, of which group `all` counts.
    """
    by_split = {row["split"]: row for row in rows}
    values = {key: by_split[headline][key] for key in ("miou", "ia_miou", *IA_SIZES)}
    if BALANCED in by_split:
        values["balanced_ia_miou"] = by_split[BALANCED]["ia_miou"]
    for row in pseudo_mask_scores:
        if (row["split"], row["class"]) == ("val", "mean"):
            values["pseudo_mask_miou"] = float(row["iou"] or "nan")
    for row in size_errors:
        if row["group"] == "all":
            values["size_error"] = float(row["mean_relative_error"] or "nan")
    return {key: round(float(value), 6) for key, value in values.items() if not np.isnan(value)}
