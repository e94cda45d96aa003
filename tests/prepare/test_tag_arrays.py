"""Tags in the field's cls_labels.npy, read without executing it, and where they are not what the masks show."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from stages.core.files import ZipReader
from stages.prepare.tag_arrays import tags_from_arrays
from stages.prepare.tag_differences import summary, tag_differences
from stages.prepare.tags import taggable
from stages.prepare.voc import CLASSES

REAL = os.environ.get("SIZEWISE_REAL_DATA")
LABELS = {"cat": 1, "dog": 2, "cow": 3}


def content_of(path: Path, value: object) -> bytes:
    """An .npy file of a pickled value."""
    np.save(path, value, allow_pickle=True)
    return path.read_bytes()


def row(*labels: int, kind: type = np.float32) -> np.ndarray:
    """Zeros and ones."""
    return np.isin([1, 2, 3], labels).astype(kind)


@pytest.mark.parametrize("kind", [np.float32, np.float64, np.uint8, bool])
@pytest.mark.parametrize("names", [("2007_000032", "2011_003271"), (2007000032, 2011003271)])
def test_keys_of_psa_and_of_irn(tmp_path, kind, names):
    value = dict(zip(names, (row(1, 3, kind=kind), row(kind=kind)), strict=True)) | {"unused": row(2)}
    faults = []
    ids = ["2011_003271", "2007_000032"]
    tags = tags_from_arrays(content_of(tmp_path / "x.npy", value), "x.npy", ids, LABELS, faults)
    assert tags == {"2007_000032": [1, 3], "2011_003271": []}
    assert faults == []


def test_every_fault_is_listed(tmp_path):
    value = {"a": row(1)[:2], "b": row(1) * 0.5, "c": row(2)}
    faults = []
    tags_from_arrays(content_of(tmp_path / "x.npy", value), "x.npy", "abcd", LABELS, faults)
    assert faults == [
        "x.npy: a has an array of shape (2,), and there are 3 classes",
        "x.npy: b has values other than 0 and 1",
        "x.npy has no tags of image d",
    ]


class Hostile:
    """Would write a file when unpickled."""

    def __reduce__(self) -> tuple:
        return os.mkdir, ("executed",)


@pytest.mark.parametrize("value", [{"a": Hostile()}, np.zeros(3), [1, 2]])
def test_nothing_is_executed(tmp_path, monkeypatch, value):
    monkeypatch.chdir(tmp_path)
    faults = []
    assert tags_from_arrays(content_of(tmp_path / "x.npy", value), "x.npy", "a", LABELS, faults) == {}
    assert len(faults) == 1
    assert faults[0].startswith("x.npy: ")
    assert not (tmp_path / "executed").exists()


def test_a_data_set_with_such_tags(voc, voc_params, prepared):
    value = {name: np.isin(range(1, 21), labels).astype(np.float32) for name, labels in (("a", 1), ("b", 2), ("c", 2))}
    content_of(voc / "cls_labels.npy", value)
    dataset = prepared(voc, voc_params(tags="file", tags_file="cls_labels.npy"))
    assert [dataset.tags(i).tolist() for i in "abc"] == [[1], [2], [2]]
    assert prepared.notes[-1].endswith(
        "tags differ from the masks in 1 of 3 images, such as c: 0 have a tag that the mask lacks, "
        "1 lack a class that the mask has; tag_differences.csv in dataset.zip lists them"
    )
    rows = ZipReader(prepared.out).rows("tag_differences.csv")
    assert rows == [{"id": "c", "only_tagged": "", "only_in_mask": "aeroplane"}]


def test_differences():
    tags = {"a": [1, 2], "b": [1], "c": [2], "d": [1]}
    shown = {"a": [1, 3], "b": [1], "c": [2, 3]}  # d has no mask
    rows = tag_differences(tags, shown, ("nothing", *LABELS))
    assert rows == [
        {"id": "a", "only_tagged": "dog", "only_in_mask": "cow"},
        {"id": "c", "only_tagged": "", "only_in_mask": "cow"},
    ]
    assert "in 2 of 3 images, such as a, c: 1 have a tag that the mask lacks, 2 lack a class" in summary(rows, 3)
    assert summary([], 3) == "tags differ from the masks in 0 of 3 images"


@pytest.mark.skipif(not REAL, reason="SIZEWISE_REAL_DATA is not set")
def test_published_tags_against_the_pixels_of_all_masks():
    meta = Path(REAL) / "voc2012_meta"
    counts = np.load(meta / "class_pixel_counts_12031.npz", allow_pickle=False)
    ids = counts["ids"].tolist()
    shown = {
        image_id: (np.flatnonzero(pixels[1:21]) + 1).tolist()
        for image_id, pixels in zip(ids, counts["counts"], strict=True)
    }
    faults, labels = [], taggable(CLASSES, True)
    psa, irn = (
        tags_from_arrays((meta / f"cls_labels_{name}.npy").read_bytes(), name, ids, labels, faults)
        for name in ("psa", "irn")
    )
    assert faults == []
    lines = (line.split() for line in (meta / "tags.txt").read_text().splitlines())
    text = {image_id: sorted(map(int, rest)) for image_id, *rest in lines}
    assert text in (psa, irn)
    rows = tag_differences(psa, shown, CLASSES)
    assert len(ids) - len(rows) == 11213
    assert sum(bool(row["only_tagged"]) for row in rows) == 817
