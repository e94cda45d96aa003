"""How far size targets are from the true sizes: over all objects, by class and by size."""

from __future__ import annotations

from typing import Any

import numpy as np

from stages.core.dataset import DatasetInfo
from stages.core.metrics.sizes import SIZES, size_bin

COLUMNS = ("group", "n", "mean_relative_error", "kl")
LEAST_SHARE = 1e-6  # of a true size inside a logarithm: an image that an object fills has no background


def divergence(target: np.ndarray, true: np.ndarray) -> np.ndarray:
    """KL(target || true) = sum_k t_k ln(t_k / v_k) of each row, (N,) nats.

    It is the size loss (forward KL, arXiv 2503.06954) that a perfect segmentation would pay for the target's error. A
    true size below LEAST_SHARE counts as that much.
    """
    ratio = np.log(np.maximum(target, np.finfo(float).tiny)) - np.log(np.maximum(true, LEAST_SHARE))
    return np.where(target > 0, target * ratio, 0).sum(axis=1)


def error_rows(true: np.ndarray, target: np.ndarray, pixels: np.ndarray, info: DatasetInfo) -> list[dict[str, Any]]:
    """A row for `all`, for each foreground class, and for small, medium and large.

    `n` counts pairs of an image and a foreground class in it, `mean_relative_error` is the mean of |target - true| /
    true over them (as in the human size estimates of github.com/XFan2018/size-estimation-experiment), and `kl` is the
    mean of `divergence` over the images that they lie in, each image once. A pair's size is the class's area in pixels,
    which is the sum over its instances.

    Args:
        true: (N, C), each row a distribution.
        target: (N, C), each row a distribution.
        pixels: (N, C + 1) pixels of each class, void last.
        info: for the classes' names, the background and the size bins.
    """
    objects = true > 0
    objects[:, : int(info.background)] = False
    images, labels = np.nonzero(objects)
    error = np.abs(target - true)[images, labels] / true[images, labels]
    kl = divergence(target, true)
    sizes = size_bin(pixels[images, labels], info.size_bins)
    groups = {"all": np.ones(len(images), bool)}
    groups |= {name: labels == label for label, name in enumerate(info.classes) if label >= int(info.background)}
    groups |= {name: sizes == index for index, name in enumerate(SIZES)}
    return [
        {
            "group": name,
            "n": int(chosen.sum()),
            "mean_relative_error": error[chosen].mean() if chosen.any() else float("nan"),
            "kl": kl[np.unique(images[chosen])].mean() if chosen.any() else float("nan"),
        }
        for name, chosen in groups.items()
    ]
