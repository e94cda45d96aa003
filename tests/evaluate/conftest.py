"""A tiny data set with everything that the room reads: archives, tables and a stage that names them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from stages.core.dataset import DatasetInfo, ImageRecord, write_header
from stages.core.files import write_csv, write_zip
from stages.core.params import Params
from stages.core.stage import Declared, Stage

CLASSES = ("background", "cat", "dog", "cow")
PALETTE = ((0, 0, 0), (200, 0, 0), (0, 150, 0), (0, 0, 90), *((0, 0, 0),) * 252)
SIDE = 24
SPLITS = {"val": range(8), "test": range(8, 20)}
OUTS = ("summary", "miou", "intervals", "per_class", "per_class_size", "iou_by_size", "confusion", "instances")


def picture(number: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mask, instance map and prediction of an image: two blocks, the prediction a pixel off; cows are never true."""
    generator = np.random.default_rng(number)
    mask, ids = np.zeros((SIDE, SIDE), np.uint8), np.zeros((SIDE, SIDE), np.uint16)
    for identity, (top, left) in enumerate(generator.integers(2, 14, (2, 2)), start=1):
        side = generator.integers(3, 9)
        window = np.s_[top : top + side, left : left + side]
        mask[window], ids[window] = generator.integers(1, 3), identity
    prediction = np.roll(mask, 1, 1)
    prediction[0, 0] = 3
    mask[-1], ids[-1] = 255, 65535
    return mask, ids, prediction


Build = Callable[..., Stage]


@pytest.fixture
def build(tmp_path: Path) -> Build:
    """A function that writes the inputs and returns the stage; options leave things out or change them."""

    def make(
        *,
        predicted: tuple[str, ...] = ("val", "test"),
        balanced: tuple[int, ...] = (9, 11, 12),
        instances: bool = True,
        samples: int = 3,
        headline: str = "test",
        mode: str = "exact",
        predictions: Callable[[int, np.ndarray], np.ndarray] = lambda number, _: picture(number)[2],
    ) -> Stage:
        info = DatasetInfo("blocks", CLASSES, True, PALETTE, (20, 40), "masks", True, instances)
        names = {number: f"{split}/{number:03d}" for split, numbers in SPLITS.items() for number in numbers}
        records = [
            ImageRecord(names[number], (split,), f"raw:{number}.png", SIDE, SIDE, "")
            for split, numbers in SPLITS.items()
            for number in numbers
        ]
        tags = {names[n]: sorted(set(np.unique(picture(n)[0]).tolist()) - {0, 255}) for n in names}
        paths = {name: tmp_path / f"{name}.zip" for name in ("raw", "dataset", "cam", "pseudo_masks", "predictions")}
        members = {split: [names[n] for n in SPLITS[split]] for split in predicted}
        members["balanced"] = [names[n] for n in balanced]
        with (
            write_zip(paths["raw"]) as raw,
            write_zip(paths["dataset"]) as dataset,
            write_zip(paths["cam"]) as cam,
            write_zip(paths["pseudo_masks"]) as pseudo_masks,
            write_zip(paths["predictions"]) as archive,
        ):
            write_header(dataset, info, records, tags)
            archive.text("predict.json", json.dumps({"splits": members, "model": "last"}))
            for number, name in names.items():
                mask, ids, _ = picture(number)
                raw.png(f"{number}.png", np.repeat(mask[..., None], 3, 2))
                dataset.png(f"masks/{name}.png", mask)
                if instances:
                    dataset.png(f"instances/{name}.png", ids)
                if number in SPLITS["val"]:
                    cam.array(f"{name}.npy", np.stack([(mask == tag)[::4, ::4] * np.uint8(255) for tag in tags[name]]))
                    pseudo_masks.png(f"masks/{name}.png", np.where(mask == 2, 255, mask).astype(np.uint8))
                if any(name in ids for ids in members.values()):
                    archive.png(f"masks/{name}.png", predictions(number, mask))
        scores = [{"split": "train", "class": "mean", "iou": 0.1}, {"split": "val", "class": "mean", "iou": 0.25}]
        tables = {
            "balanced": ([{"id": names[n]} for n in balanced], ("id",)),
            "pseudo_mask_scores": ([{"split": "val", "class": "cat", "iou": 0.9}, *scores], ("split", "class", "iou")),
            "size_error": (
                [{"group": "cat", "mean_relative_error": 0.5}, {"group": "all", "mean_relative_error": 0.125}],
                ("group", "mean_relative_error"),
            ),
        }
        for name, (rows, columns) in tables.items():
            paths[name] = tmp_path / f"{name}.csv"
            write_csv(paths[name], rows, columns)
        outs = {name: tmp_path / "metrics" / f"{name}.csv" for name in OUTS} | {"samples": tmp_path / "metrics/samples"}
        outs["summary"] = tmp_path / "metrics/summary.json"
        params = {
            "evaluate": Params({"mode": mode, "bootstrap": 200, "samples": samples}),
            "datasets.${dataset}.headline": headline,
        }
        return Stage(
            "evaluate",
            Declared("evaluate", "the key", params),
            Declared("evaluate", "the dependency", paths),
            Declared("evaluate", "the out", outs),
        )

    return make
