"""A source on disk: an index of every file that its format uses, or one message that says what it lacks."""

from __future__ import annotations

import hashlib

import pytest

from stages.core.faults import Fault
from stages.core.files import ZipReader
from stages.core.params import Params
from stages.download import source as module
from stages.download.source import write_index

VOC = {
    "format": "voc",
    "lists": {"train": "train", "val": "val"},
    "masks": ["SegmentationClass"],
    "instances": "none",
    "tags": "masks",
    "tags_file": "none",
}
FOLDER = {"format": "folder", "masks": "all", "tags": "masks"}


@pytest.fixture
def voc(tmp_path):
    """A VOC folder whose files need not be images."""
    root = tmp_path / "VOCdevkit" / "VOC2012"
    for name in (
        "JPEGImages/b.jpg",
        "JPEGImages/a.jpg",
        "JPEGImages/.hidden",
        "SegmentationClass/a.png",
        "SegmentationObject/a.png",
        "ImageSets/Segmentation/train.txt",
        "ImageSets/Segmentation/val.txt",
        "ImageSets/Main/other.txt",
        "Annotations/a.xml",
    ):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    return root


def index(tmp_path, source, **changes):
    """The rows of the index."""
    write_index(tmp_path / "raw.zip", "mine", source, Params(VOC | changes))
    return ZipReader(tmp_path / "raw.zip").rows("index.csv")


def test_rows(tmp_path, voc):
    rows = index(tmp_path, voc)
    assert [row["name"] for row in rows] == [
        "Annotations/a.xml",
        "ImageSets/Segmentation/train.txt",
        "ImageSets/Segmentation/val.txt",
        "JPEGImages/a.jpg",
        "JPEGImages/b.jpg",
        "SegmentationClass/a.png",
    ]
    assert rows[3] == {
        "name": "JPEGImages/a.jpg",
        "location": str(voc / "JPEGImages/a.jpg"),
        "size": "16",
        "md5": hashlib.md5(b"JPEGImages/a.jpg", usedforsecurity=False).hexdigest(),
    }
    assert ZipReader(tmp_path / "raw.zip").names() == ["index.csv"]


def test_instances_are_indexed_when_used(tmp_path, voc):
    names = [row["name"] for row in index(tmp_path, voc, instances="SegmentationObject")]
    assert "SegmentationObject/a.png" in names


def test_a_changed_file_changes_the_index(tmp_path, voc):
    index(tmp_path, voc)
    before = (tmp_path / "raw.zip").read_bytes()
    index(tmp_path, voc)
    assert (tmp_path / "raw.zip").read_bytes() == before
    (voc / "JPEGImages/a.jpg").write_text("JPEGImages/A.jpg")
    index(tmp_path, voc)
    assert (tmp_path / "raw.zip").read_bytes() != before


@pytest.mark.parametrize("absolute", [True, False])
def test_tags_file_is_indexed_under_its_own_name(tmp_path, voc, absolute):
    path = (tmp_path if absolute else voc) / "tags.txt"
    path.write_text("a 1\n")
    name = str(path) if absolute else "tags.txt"
    rows = {row["name"]: row["location"] for row in index(tmp_path, voc, tags="file", tags_file=name)}
    assert rows[name] == str(path)


def test_missing_source(tmp_path):
    with pytest.raises(Fault, match="nowhere of data set mine does not exist; format voc needs JPEGImages/, Image"):
        index(tmp_path, tmp_path / "nowhere")


def test_source_is_a_file(tmp_path):
    (tmp_path / "VOC.tar").write_text("")
    with pytest.raises(Fault, match=r"VOC\.tar of data set mine is a file, not a folder"):
        index(tmp_path, tmp_path / "VOC.tar")


@pytest.mark.parametrize(
    ("changes", "lacks"),
    [
        ({"lists": {"train": "train", "val": "trainval"}}, "ImageSets/Segmentation/trainval.txt"),
        ({"masks": ["SegmentationClassAug", "SegmentationClass"]}, "SegmentationClassAug/"),
        ({"instances": "Objects"}, "Objects/"),
        ({"tags": "file", "tags_file": "/nowhere/tags.txt"}, "/nowhere/tags.txt"),
    ],
)
def test_missing_part(tmp_path, voc, changes, lacks):
    with pytest.raises(Fault) as caught:
        index(tmp_path, voc, **changes)
    assert f"source {voc} of data set mine lacks {lacks};" in str(caught.value)
    assert "format voc needs JPEGImages/" in str(caught.value)


@pytest.mark.parametrize("levels", [1, 2])
def test_parent_of_the_data_is_named_not_guessed(tmp_path, voc, levels):
    with pytest.raises(Fault) as caught:
        index(tmp_path, voc.parents[levels - 1])
    assert f"set -S source={voc}" in str(caught.value)
    assert not (tmp_path / "raw.zip").exists()


def test_folder(tmp_path):
    root = tmp_path / "mine"
    for name in ("images/a.png", "masks/a.png", "splits/train.txt", "classes.txt", "notes.txt", "instances/a.png"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)
    write_index(tmp_path / "raw.zip", "mine", root, Params(FOLDER))
    names = [row["name"] for row in ZipReader(tmp_path / "raw.zip").rows("index.csv")]
    assert names == ["classes.txt", "images/a.png", "instances/a.png", "masks/a.png", "splits/train.txt"]
    with pytest.raises(Fault, match=r"lacks tags\.csv; format folder needs images/, masks/, classes\.txt, splits/"):
        write_index(tmp_path / "raw.zip", "mine", root, Params(FOLDER | {"tags": "file"}))


def test_unreadable_files_are_named_together(tmp_path, voc, monkeypatch):
    def refuse(path):
        if path.suffix == ".jpg":
            raise PermissionError(13, "Permission denied")
        return "0"

    monkeypatch.setattr(module, "md5", refuse)
    with pytest.raises(Fault, match=r"(?s)cannot be read \(2 faults\).*a\.jpg: Permission denied.*b\.jpg: Permission"):
        index(tmp_path, voc)


def test_dangling_link_is_named(tmp_path, voc):
    (voc / "JPEGImages/c.jpg").symlink_to(tmp_path / "gone.jpg")
    with pytest.raises(Fault, match=r"JPEGImages/c\.jpg: No such file"):
        index(tmp_path, voc)
