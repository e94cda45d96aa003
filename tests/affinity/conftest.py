"""Pictures of a rectangle on a ground of another colour, with their activation maps and an untrained classifier."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from stages.core.dataset import Dataset, DatasetInfo, ImageRecord, write_header
from stages.core.files import write_zip
from stages.core.networks.classification import ClassificationNet
from stages.core.params import Params
from stages.core.stage import Declared, Stage

HEIGHT, WIDTH = 48, 66  # pixels; the width is no multiple of 4
COUNTS = {"train": 8, "val": 2, "test": 1}  # images
PALETTE = ((0, 0, 0), (200, 0, 0), (0, 0, 200), *((0, 0, 0),) * 253)
IRN = {
    "kind": "irn",
    "foreground": 0.5,
    "background": 0.2,
    "crf": "none",
    "stride": 4,
    "radius": 4,
    "epochs": 2,
    "batch_size": 4,
    "optimizer": "adamw",
    "lr": 0.01,
    "head_lr_factor": 1,
    "momentum": 0.9,
    "weight_decay": 0.0,
    "schedule": "one_cycle",
    "warmup": 0.1,
    "precision": "float32",
    "biases": "as_weights",
    "accumulate": 1,
    "ema": 0.0,
    "compile": False,
    "batch_norm": "frozen",
    "augment": {"resize": "keep", "crop": "none", "flip": True, "rotate90": False, "jitter": 0.0},
}


def picture(number: int) -> tuple[np.ndarray, np.ndarray, int]:
    """Image (48, 66, 3) uint8, mask (48, 66) uint8 and the label of its rectangle."""
    random = np.random.default_rng(number)
    label = 1 + number % 2
    top, left = random.integers(6, 16, 2)
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[top : top + 26, left : left + 32] = label
    colours = np.array([[60, 120, 60], [200, 60, 50], [50, 60, 210]])
    image = colours[mask] + random.normal(0, 8, (HEIGHT, WIDTH, 3))
    return image.clip(0, 255).astype(np.uint8), mask, label


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with raw.zip, dataset.zip, classifier.pt and cam.zip: exact activation maps at stride 2."""
    folder = tmp_path_factory.mktemp("pictures")
    info = DatasetInfo("two", ("background", "red", "blue"), True, PALETTE, (40, 80), "masks", True, False)
    records, tags = [], {}
    names = [split for split, count in COUNTS.items() for _ in range(count)]
    with (
        write_zip(folder / "raw.zip") as raw,
        write_zip(folder / "dataset.zip") as dataset,
        write_zip(folder / "cam.zip") as cams,
    ):
        for number, split in enumerate(names):
            image_id = f"{split}_{number}"
            image, mask, label = picture(number)
            raw.png(f"{image_id}.png", image)
            dataset.png(f"masks/{image_id}.png", mask)
            cams.array(f"{image_id}.npy", (mask == label)[None, ::2, ::2].astype(np.uint8) * 255)
            records.append(ImageRecord(image_id, (split,), f"raw:{image_id}.png", HEIGHT, WIDTH, ""))
            tags[image_id] = [label]
        write_header(dataset, info, records, tags)
    torch.manual_seed(0)
    network = ClassificationNet("slim_resnet10", 8, 2)
    model = {"encoder": "slim_resnet10", "output_stride": 8, "num_classes": 2, "state": network.state_dict()}
    torch.save(model, folder / "classifier.pt")
    return folder


@pytest.fixture
def dataset(pictures: Path) -> Dataset:
    """The data set of `pictures`."""
    return Dataset(pictures / "dataset.zip", pictures / "raw.zip")


@pytest.fixture
def stage(pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[dict[str, Any], str], Stage]:
    """A function from the section of params.yaml to the stage, as dvc.yaml declares it, with outs in a folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SIZEWISE_TRACK", "0")

    def made(section: dict[str, Any], folder: str) -> Stage:
        deps = {path.stem: path for path in pictures.iterdir()}
        outs = {"affinity": "affinity.pt", "edges": "edges.zip", "affinity_log": "affinity_log.csv"}
        return Stage(
            "affinity",
            Declared("affinity", "the key", {"seed": 0, "recipes.${dataset}.affinity": Params(section)}),
            Declared("affinity", "the dependency", deps),
            Declared("affinity", "the out", {name: tmp_path / folder / file for name, file in outs.items()}),
        )

    return made
