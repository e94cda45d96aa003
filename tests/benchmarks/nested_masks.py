"""How good label maps from sizes alone are, and against which error: `python -m tests.benchmarks.nested_masks FOLDER`.

FOLDER is a data set in the layout `folder`, by default acdc_png under SIZEWISE_REAL_DATA; the section `nested` is that
of the recipe acdc_png in params.yaml. Nothing is trained. The Dice of a class is over all pixels of a split; the error
of the sizes is the mean of |target - true| / true over the objects that are there.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from PIL import Image

from stages.core.params import Params, read_yaml
from stages.segment.nested_masks import NestedMasks
from stages.size_targets.corrupt import corrupt, noise

SIGMAS = (0.0, 0.05, 0.1, 0.2, 0.4, 0.8)  # of relative Gaussian noise; the error is 0.8 times that
BITS = {"small or large": 2, "small, medium or large": 3, "five sizes": 5, "tags: the mean size": 1}
SERIES = {
    "no phases": r"(?P<subject>patient\d+)_(?P<place>frame\d+_slice_\d+)",
    "each slice by itself": "none",
}


def read(folder: Path, split: str) -> tuple[SimpleNamespace, dict[str, np.ndarray]]:
    """A data set as nested masks see it, and the true label maps."""
    ids = (folder / f"splits/{split}.txt").read_text().split()
    truth = {name: np.array(Image.open(folder / f"masks/{name}.png")) for name in ids}
    classes = tuple((folder / "classes.txt").read_text().split())
    dataset = SimpleNamespace(
        info=SimpleNamespace(name=folder.name, background=True, classes=classes),
        records={name: SimpleNamespace(id=name, height=m.shape[0], width=m.shape[1]) for name, m in truth.items()},
        image=lambda name: np.array(Image.open(folder / f"images/{name}.png").convert("RGB")),
    )
    return dataset, truth


def quantised(sizes: np.ndarray, steps: int) -> np.ndarray:
    """Each object's size as the mean of its quantile group of the class; (N, K), the background is the rest."""
    result = sizes.copy()
    for label in range(1, sizes.shape[1]):
        shown = sizes[:, label] > 0
        order = sizes[shown, label].argsort(kind="stable").argsort(kind="stable") * steps // shown.sum()
        result[shown, label] = np.array([sizes[shown, label][order == n].mean() for n in range(steps)])[order]
    result[:, 0] = 1 - result[:, 1:].sum(1)
    return result


def line(name: str, dataset: SimpleNamespace, truth: dict, true: np.ndarray, sizes: np.ndarray, params: dict) -> str:
    """A row of the table."""
    masks = NestedMasks(dataset, dict(zip(truth, sizes, strict=True)), Params(params))
    count = true.shape[1]
    matrix = np.zeros((count, count))
    for image_id, mask in truth.items():
        matrix += np.bincount((mask * count + masks(image_id)).ravel(), minlength=count**2).reshape(count, count)
    dice = (2 * matrix.diagonal() / (matrix.sum(0) + matrix.sum(1)))[1:]
    shown = true[:, 1:] > 0
    error = (abs(sizes - true)[:, 1:][shown] / true[:, 1:][shown]).mean()
    return f"| {name} | {error:.3f} | {' | '.join(f'{value:.3f}' for value in dice)} | {dice.mean():.3f} |"


def main() -> None:
    """Prints a table per split."""
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else f"{os.environ['SIZEWISE_REAL_DATA']}/acdc_png")
    nested = read_yaml(Path("params.yaml"))["recipes"]["acdc_png"]["methods"]["size_target"]["nested"]
    for split in ("train", "val"):
        dataset, truth = read(folder, split)
        classes = dataset.info.classes
        true = np.stack([np.bincount(mask.ravel(), minlength=len(classes)) / mask.size for mask in truth.values()])
        draws = noise(list(truth), len(classes), 0)
        print(f"\n| {split}: sizes | error | {' | '.join(classes[1:])} | mean |\n|---|" + "---:|" * (len(classes) + 1))
        for sigma in SIGMAS:
            sizes = corrupt(true, draws, sigma, "background", True)
            print(line(f"sigma {sigma}", dataset, truth, true, sizes, nested), flush=True)
        for name, steps in BITS.items():
            print(line(name, dataset, truth, true, quantised(true, steps), nested), flush=True)
        for name, series in SERIES.items():
            for sigma in (0.0, 0.2):
                sizes = corrupt(true, draws, sigma, "background", True)
                row = line(f"{name}, sigma {sigma}", dataset, truth, true, sizes, nested | {"series": series})
                print(row, flush=True)


if __name__ == "__main__":
    main()
