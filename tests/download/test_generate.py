"""The generated set as an archive: names, index, and the same bytes whatever the number of workers."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from stages.core.faults import Fault
from stages.core.files import ZipReader
from stages.core.params import Params
from stages.download import generate as module
from stages.download import source
from stages.download.generate import check_generator, generate

DATA = Params({"seed": 7, "image_size": 6, "splits": {"train": 5, "val": 2, "test": 3}})


@pytest.fixture
def stub(monkeypatch):
    """A renderer whose image, mask and instance map tell what it was called with."""

    def render(seed, split, index, size):
        image = np.full((size, size, 3), (seed, split, index), np.uint8)
        return image, np.full((size, size), index, np.uint8), np.full((size, size), 1000 + index, np.uint16)

    monkeypatch.setattr(module.shapes, "render", render)
    monkeypatch.setattr(module.shapes, "CLASSES", ("disc", "star"))


def test_archive(stub, tmp_path, monkeypatch):
    monkeypatch.setenv("SIZEWISE_JOBS", "1")
    generate(tmp_path / "raw.zip", DATA)
    raw = ZipReader(tmp_path / "raw.zip")
    assert raw.png("images/train_00004.png").tolist() == [[[7, 0, 4]] * 6] * 6
    assert raw.png("images/val_00001.png")[0, 0].tolist() == [7, 1, 1]
    assert raw.png("images/test_00002.png")[0, 0].tolist() == [7, 2, 2]
    assert raw.png("masks/test_00002.png").tolist() == [[2] * 6] * 6
    instances = raw.png("instances/test_00002.png")
    assert instances.dtype == np.uint16
    assert instances.max() == instances.min() == 1002
    assert json.loads(raw.text("meta.json")) == {"classes": ["background", "disc", "star"]}
    rows = raw.rows("index.csv")
    assert [row["name"] for row in rows] == sorted(set(raw.names()) - {"index.csv", "meta.json"})
    assert len(rows) == 3 * 10
    for row in rows:
        content = raw.bytes(row["name"])
        assert row["location"] == f"raw:{row['name']}"
        assert row["size"] == str(len(content))
        assert row["md5"] == hashlib.md5(content, usedforsecurity=False).hexdigest()


def test_bytes_do_not_depend_on_the_number_of_workers(stub, tmp_path, monkeypatch):
    for jobs in ("1", "3"):
        monkeypatch.setenv("SIZEWISE_JOBS", jobs)
        generate(tmp_path / f"{jobs}.zip", DATA)
    assert (tmp_path / "1.zip").read_bytes() == (tmp_path / "3.zip").read_bytes()


def test_a_splits_images_do_not_depend_on_the_other_splits(stub, tmp_path, monkeypatch):
    monkeypatch.setenv("SIZEWISE_JOBS", "1")
    generate(tmp_path / "raw.zip", Params(DATA.plain() | {"splits": {"test": 1}}))
    assert ZipReader(tmp_path / "raw.zip").png("images/test_00000.png")[0, 0].tolist() == [7, 2, 0]


def test_unknown_split(stub, tmp_path):
    with pytest.raises(Fault, match="train, val, test, not trian"):
        generate(tmp_path / "raw.zip", Params(DATA.plain() | {"splits": {"trian": 1}}))
    assert not (tmp_path / "raw.zip").exists()


def test_source_goes_with_the_data_set(tmp_path):
    check_generator("shapes", Path(source.__file__))
    words = "shapes is generated, but source is .*-S dataset=NAME.*-S source=stages/download/source.py"
    with pytest.raises(Fault, match=words):
        check_generator("shapes", tmp_path)
