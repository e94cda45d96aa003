"""A small data set on disk, and a section of params.yaml."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from stages.core.dataset import Dataset, DatasetInfo, ImageRecord, write_header
from stages.core.files import write_zip

MASKS = {
    "a": np.array([[0, 0, 1, 1], [2, 1, 255, 255]], np.uint8),
    "b": np.array([[2, 2, 2, 2], [2, 2, 2, 2]], np.uint8),
    "c": np.array([[0, 0, 0, 0], [0, 0, 0, 255]], np.uint8),
}
PARAMS = {
    "source": "masks",
    "void": "excluded",
    "missing": "tags",
    "fill": 0.5,
    "corruption": "relative_gaussian",
    "sigma": 0.3,
    "renormalise": "background",
    "scale": 1.0,
    "step": 0.05,
    "bins": "none",
    "factor": 1.5,
    "share": 0.5,
    "seed": 0,
}
Maker = Callable[..., Dataset]


@pytest.fixture
def make_dataset(tmp_path: Path) -> Maker:
    """Builds a data set whose images are all in train but the last, `v`, which is in val."""

    def make(
        masks: dict[str, np.ndarray] = MASKS,
        background: bool = True,
        has_masks: bool = True,
        tags: dict[str, list[int]] | None = None,
        maps: dict[str, np.ndarray] | None = None,
        left_out: tuple[str, ...] = (),
    ) -> Dataset:
        masks = masks | {"v": np.full((2, 4), 1, np.uint8)}
        classes = ("background", "cat", "dog") if background else ("sky", "cat", "dog")
        info = DatasetInfo("few", classes, background, ((0, 0, 0),) * 256, (2, 5), "masks", has_masks, False, left_out)
        records = [
            ImageRecord(key, ("val" if key == "v" else "train",), "/none", *mask.shape, "")
            for key, mask in masks.items()
        ]
        path = tmp_path / f"{len(list(tmp_path.iterdir()))}.zip"
        with write_zip(path) as archive:
            write_header(archive, info, records, {key: (tags or {}).get(key, []) for key in masks})
            for key, mask in masks.items():
                if has_masks or key == "v":
                    archive.png(f"masks/{key}.png", mask)
            for key, instances in (maps or {}).items():
                archive.png(f"instances/{key}.png", instances)
        return Dataset(path)

    return make
