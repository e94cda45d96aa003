"""The generated data set through `download` and `prepare`."""

from __future__ import annotations

import numpy as np
import pytest

from stages.core.dataset import Dataset
from stages.core.faults import Fault
from stages.core.files import ZipReader
from stages.core.params import Params
from stages.download import generate
from stages.prepare.build import prepare

DATA = {
    "format": "shapes",
    "seed": 3,
    "image_size": 8,
    "splits": {"train": 3, "val": 1, "test": 2},
    "size_bins": [4, 16],
    "headline": "test",
}


@pytest.fixture
def stub(monkeypatch):
    """Class 1 in even and class 2 in odd images, as one instance each."""

    def render(seed, split, index, size):
        mask = np.zeros((size, size), np.uint8)
        mask[2:4, 2:6] = 1 + index % 2
        image = np.random.default_rng((seed, split, index)).integers(0, 256, (size, size, 3), dtype=np.uint8)
        return image, mask, (mask > 0).astype(np.uint16) * 700

    monkeypatch.setattr(generate.shapes, "render", render)
    monkeypatch.setattr(generate.shapes, "CLASSES", ("disc", "star"))


def prepared(tmp_path, **changes) -> Dataset:
    """The stub's data set."""
    data = Params(DATA | changes)
    generate.generate(tmp_path / "raw.zip", data)
    prepare(tmp_path / "raw.zip", tmp_path / "dataset.zip", "tiny", data, tmp_path / "parts")
    return Dataset(tmp_path / "dataset.zip", tmp_path / "raw.zip")


def test_everything_arrives(stub, tmp_path):
    dataset = prepared(tmp_path)
    assert list(dataset.records) == [
        "train_00000", "train_00001", "train_00002", "val_00000", "test_00000", "test_00001",
    ]  # fmt: skip
    assert dataset.ids("test") == ["test_00000", "test_00001"]
    assert dataset.info.classes == ("background", "disc", "star")
    assert dataset.tags("train_00001").tolist() == [2]
    raw = ZipReader(tmp_path / "raw.zip")
    for image_id in dataset.records:
        assert np.array_equal(dataset.image(image_id), raw.png(f"images/{image_id}.png"))
        assert np.array_equal(dataset.mask(image_id), raw.png(f"masks/{image_id}.png"))
        assert np.array_equal(dataset.instances(image_id), raw.png(f"instances/{image_id}.png"))
    assert dataset.instances("val_00000").max() == 700


def test_empty_split(stub, tmp_path):
    with pytest.raises(Fault, match=r"splits\.val: split val is empty"):
        prepared(tmp_path, splits={"train": 3, "val": 0, "test": 1})


def test_class_without_a_training_image(stub, tmp_path):
    with pytest.raises(Fault, match="no training image has star; add some to the split train$"):
        prepared(tmp_path, splits={"train": 1, "val": 1, "test": 1})
