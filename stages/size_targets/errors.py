"""How far size targets are from the true sizes: over all objects, by class, by size and by share of the image."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from stages.core.dataset import DatasetInfo
from stages.core.metrics.sizes import SIZES, size_bin

COLUMNS = (
    "group",
    "n",
    "mean_relative_error",
    "median_relative_error",
    "bias",
    "std_relative_error",
    "mean_absolute_error",
    "within_10_percent",
    "kl",
)
PAIR_COLUMNS = ("id", "class", "true", "target")
LEAST_SHARE = 1e-6  # of a true size inside a logarithm: an image that an object fills has no background
SHARE_BOUNDS = (0.05, 0.1, 0.2, 0.4, 0.6)  # of the image; a size equal to a bound belongs to the larger bin
SHARES = ("0-5 %", "5-10 %", "10-20 %", "20-40 %", "40-60 %", "60-100 %")
ROUNDING = 1e-9  # an answer of 22 to 20 is within 10 %


def divergence(target: np.ndarray, true: np.ndarray) -> np.ndarray:
    """KL(target || true) = sum_k t_k ln(t_k / v_k) of each row, (N,) nats.

    It is the size loss (forward KL, arXiv 2503.06954) that a perfect segmentation would pay for the target's error. A
    true size below LEAST_SHARE counts as that much.
    """
    ratio = np.log(np.maximum(target, np.finfo(float).tiny)) - np.log(np.maximum(true, LEAST_SHARE))
    return np.where(target > 0, target * ratio, 0).sum(axis=1)


def error_rows(true: np.ndarray, target: np.ndarray, pixels: np.ndarray, info: DatasetInfo) -> list[dict[str, Any]]:
    """A row for `all`, for each foreground class, for small, medium and large, and for each of SHARES.

    See `group_rows` for the columns. A pair of an image and a foreground class in it is small, medium or large by the
    class's area in pixels, which is the sum over its instances, and belongs to one of SHARES by its true share of the
    image.

    Args:
        true: (N, C), each row a distribution.
        target: (N, C), each row a distribution.
        pixels: (N, C + 1) pixels of each class, void last.
        info: for the classes' names, the background and the size bins.
    """
    objects = true > 0
    objects[:, : int(info.background)] = False
    images, labels = np.nonzero(objects)
    sizes = size_bin(pixels[images, labels], info.size_bins)
    groups = {"all": np.ones(len(images), bool)}
    groups |= {name: labels == label for label, name in enumerate(info.classes) if label >= int(info.background)}
    groups |= {name: sizes == index for index, name in enumerate(SIZES)}
    groups |= share_groups(true[images, labels])
    return group_rows(groups, true[images, labels], target[images, labels], divergence(target, true), images)


def share_groups(true: np.ndarray) -> dict[str, np.ndarray]:
    """Which of the true shares (P,) belong to each of SHARES, (P,) bool."""
    found = np.digitize(true, SHARE_BOUNDS)
    return {name: found == index for index, name in enumerate(SHARES)}


def group_rows(
    groups: Mapping[str, np.ndarray], true: np.ndarray, target: np.ndarray, kl: np.ndarray, images: np.ndarray
) -> list[dict[str, Any]]:
    """A row per group of P pairs of an image and a class; NaN where a group is empty.

    `n` counts pairs. With e = (target - true) / true, `mean_relative_error` and `median_relative_error` are those of
    |e| (as in the human size estimates of github.com/XFan2018/size-estimation-experiment), `bias` and
    `std_relative_error` are the mean and the standard deviation of e, `mean_absolute_error` is that of |target - true|
    in shares of the image, and `within_10_percent` the share of pairs with |e| <= 0.1. `kl` is the mean of `divergence`
    over the images of the pairs, each image once.

    Args:
        groups: (P,) bool by name.
        true: (P,) shares of the image, over 0.
        target: (P,) likewise.
        kl: (N,) of each image.
        images: (P,) index of the image.
    """
    signed = (target - true) / true
    error, absolute = np.abs(signed), np.abs(target - true)
    return [
        {
            "group": name,
            "n": int(chosen.sum()),
            "mean_relative_error": mean(error[chosen]),
            "median_relative_error": float(np.median(error[chosen])) if chosen.any() else float("nan"),
            "bias": mean(signed[chosen]),
            "std_relative_error": float(signed[chosen].std()) if chosen.any() else float("nan"),
            "mean_absolute_error": mean(absolute[chosen]),
            "within_10_percent": mean(error[chosen] <= 0.1 + ROUNDING),
            "kl": mean(kl[np.unique(images[chosen])]),
        }
        for name, chosen in groups.items()
    ]


def mean(values: np.ndarray) -> float:
    """The mean, NaN of nothing."""
    return float(values.mean()) if values.size else float("nan")


def pair_rows(rows: Iterable[Mapping[str, Any]], background: bool, most: int = 1000) -> list[dict[str, Any]]:
    """Targets against truth for a plot: of the rows of size_targets.csv those of objects, at most `most` of them.

    Which are left out depends on their id and class: those with the largest digests. Absent where there is no truth.
    """
    pairs = [row for row in rows if row["class"] >= int(background) and row["true"] not in ("", "0")]

    def digest(row: Mapping[str, Any]) -> bytes:
        return hashlib.sha256(f"{row['id']} {row['class']}".encode()).digest()

    if len(pairs) > most:
        limit = sorted(map(digest, pairs))[most]
        pairs = [row for row in pairs if digest(row) < limit]
    return [
        {"id": row["id"], "class": row["name"], "true": float(row["true"]), "target": float(row["target"])}
        for row in pairs
    ]
