"""The index of a source in COCO's layout: the JSONs and folders that the section names, and nothing else."""

from __future__ import annotations

import pytest

from stages.core.faults import Fault
from stages.core.files import ZipReader
from stages.core.params import Params
from stages.download.source import write_index

DATA = {
    "format": "coco",
    "annotations": {"train": "annotations/instances_train2017.json", "val": "annotations/instances_val2017.json"},
    "images": {"train": "train2017", "val": "val2017"},
}


@pytest.fixture
def coco(tmp_path):
    """A COCO folder whose files need not be images."""
    root = tmp_path / "coco"
    for name in (
        "annotations/instances_train2017.json",
        "annotations/instances_val2017.json",
        "annotations/captions_val2017.json",
        "train2017/000000000009.jpg",
        "val2017/000000000139.jpg",
        "test2017/000000000001.jpg",
    ):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)
    return root


def test_rows(tmp_path, coco):
    write_index(tmp_path / "raw.zip", "mine", coco, Params(DATA))
    assert [row["name"] for row in ZipReader(tmp_path / "raw.zip").rows("index.csv")] == [
        "annotations/instances_train2017.json",
        "annotations/instances_val2017.json",
        "train2017/000000000009.jpg",
        "val2017/000000000139.jpg",
    ]


def test_two_splits_may_share_a_folder(tmp_path, coco):
    write_index(tmp_path / "raw.zip", "mine", coco, Params(DATA | {"images": {"train": "val2017", "val": "val2017"}}))
    rows = ZipReader(tmp_path / "raw.zip").rows("index.csv")
    assert [row["name"] for row in rows if row["name"].endswith(".jpg")] == ["val2017/000000000139.jpg"]


def test_what_is_missing_is_named_with_the_folder_that_has_it_all(tmp_path, coco):
    (coco / "val2017/000000000139.jpg").unlink()
    (coco / "val2017").rmdir()
    with pytest.raises(Fault, match=r"source .*coco of data set mine lacks val2017/; format coco needs annotations/"):
        write_index(tmp_path / "raw.zip", "mine", coco, Params(DATA))
    (coco / "val2017").mkdir()
    with pytest.raises(Fault, match=rf"lacks annotations/.*set -S source={coco}"):
        write_index(tmp_path / "raw.zip", "mine", tmp_path, Params(DATA))
