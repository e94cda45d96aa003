"""The metrics of each split and the rows of the tables that hold them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from stages.core.dataset import Dataset, DatasetInfo
from stages.core.metrics.confusion import (
    all_background,
    class_iou,
    class_precision,
    class_recall,
    mean_defined,
    mean_iou,
    pixel_accuracy,
)
from stages.core.metrics.instances import instance_source
from stages.core.metrics.sizes import SIZES, octaves, size_bin
from stages.evaluate.ia_miou import MODE, Scores, scores
from stages.evaluate.images import ImageResult

BALANCED = "balanced"
IA_SIZES = ("ia_s", "ia_m", "ia_l")
MIOU_COLUMNS = (
    "split", "miou", "miou_foreground", "pixel_accuracy", "all_background_miou", "ia_miou", *IA_SIZES, "images",
    "instances", "mode", "instances_from",
)  # fmt: skip
PER_CLASS_COLUMNS = (
    "split", "class", "iou", "precision", "recall", "ia_iou", *IA_SIZES, "instances"
)  # fmt: skip
BY_SIZE_COLUMNS = ("log2_size", "size", "iou", "instances")
CONFUSION_COLUMNS = ("actual", "predicted", "share", "pixels")
INSTANCE_COLUMNS = ("id", "instance", "class", "size", "bin", "iou", "missed")
UNDECIDED = "(none)"  # the column of pixels that the prediction leaves open


@dataclass(frozen=True)
class SplitScores:
    """A split's confusion matrix (C, C + 1) int64, its instance scores and its number of images."""

    split: str
    matrix: np.ndarray
    scores: Scores
    images: int


def split_scores(split: str, matrix: np.ndarray, results: Sequence[ImageResult], info: DatasetInfo) -> SplitScores:
    """The scores of a split of at least one image from its confusion matrix and its images."""
    return SplitScores(
        split,
        matrix,
        scores(
            np.concatenate([result.labels for result in results]),
            np.concatenate([result.areas for result in results]),
            np.concatenate([result.ious for result in results]),
            np.array([result.background for result in results]),
            bounds=info.size_bins,
            num_classes=len(info.classes),
        ),
        len(results),
    )


def miou_row(split: SplitScores, dataset: Dataset) -> dict[str, Any]:
    """A row of miou.csv.

    `all_background_miou` is the mIoU of predicting background everywhere, `mode` the form of the IA-mIoU and
    `instances_from` where the instances come from. `instances` counts no background.
    """
    first = dataset.foreground.start
    return {
        "split": split.split,
        "miou": mean_iou(split.matrix),
        "miou_foreground": mean_defined(class_iou(split.matrix)[first:]),
        "pixel_accuracy": pixel_accuracy(split.matrix),
        "all_background_miou": mean_iou(all_background(split.matrix)) if dataset.info.background else float("nan"),
        "ia_miou": split.scores.mean(),
        **dict(zip(IA_SIZES, split.scores.by_size(), strict=True)),
        "images": split.images,
        "instances": split.scores.instances[first:].sum(),
        "mode": MODE,
        "instances_from": instance_source(dataset),
    }


def per_class_rows(split: SplitScores, info: DatasetInfo) -> Iterator[dict[str, Any]]:
    """A row of per_class.csv for each class; `instances` of the background are the images that have some."""
    values = class_iou(split.matrix), class_precision(split.matrix), class_recall(split.matrix)
    for label, name in enumerate(info.classes):
        yield {
            "split": split.split,
            "class": name,
            **{column: value[label] for column, value in zip(("iou", "precision", "recall"), values, strict=True)},
            "ia_iou": split.scores.per_class[label],
            **dict(zip(IA_SIZES, split.scores.per_class_size[label], strict=True)),
            "instances": split.scores.instances[label],
        }


def by_size_rows(results: Sequence[ImageResult]) -> Iterator[dict[str, Any]]:
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


def instance_rows(results: Sequence[ImageResult], info: DatasetInfo) -> Iterator[dict[str, Any]]:
    """A row of instances.csv for each true instance: its image and id, class, size in pixels, size bin and IoU.

    `missed` is 1 where no pixel of it was found.
    """
    for result in results:
        bins = size_bin(result.areas, info.size_bins)
        for row, instance in enumerate(result.instances):
            yield {
                "id": result.id,
                "instance": instance,
                "class": info.classes[result.labels[row]],
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
