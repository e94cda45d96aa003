"""A small folder layout to annotate."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from stages.core.files import encode_png

CLASSES = ("background", "cat", "dog")
SIZES = {"a": (40, 20), "b": (20, 40), "c": (30, 30), "d": (40, 20)}  # width and height in pixels
CATS = {"a": 8, "b": 4, "c": 9, "d": 2}  # rows of the mask that are cat; the last row is void


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """images/, masks/, classes.txt and tags.csv of four images: all have a cat, b and d have a dog too."""
    generator = np.random.default_rng(0)
    for part in ("images", "masks"):
        (tmp_path / part).mkdir()
    for name, (width, height) in SIZES.items():
        image = generator.integers(0, 255, (height, width, 3), np.uint8)
        (tmp_path / f"images/{name}.png").write_bytes(encode_png(image))
        mask = np.zeros((height, width), np.uint8)
        mask[: CATS[name]] = 1
        mask[-1] = 255
        (tmp_path / f"masks/{name}.png").write_bytes(encode_png(mask))
    (tmp_path / "classes.txt").write_text("\n".join(CLASSES) + "\n")
    (tmp_path / "tags.csv").write_text("id,classes\na,cat\nb,cat;dog\nc,1\nd,dog,cat\n")
    return tmp_path
