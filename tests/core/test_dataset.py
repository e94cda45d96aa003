"""A prepared data set gives back what `prepare` wrote."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from stages.core.dataset import INSTANCE_VOID, VOID, Dataset, DatasetInfo, ImageRecord, write_header
from stages.core.faults import Fault
from stages.core.files import encode_png, md5, write_zip

PALETTE = tuple((label, 0, 255 - label) for label in range(256))
INFO = DatasetInfo("pets", ("background", "cat", "dog"), True, PALETTE, (40, 80), "file", True, True)
IMAGE = np.arange(5 * 4 * 3, dtype=np.uint8).reshape(5, 4, 3)
MASK = np.array([[0, 1, 2, 255]] * 5, np.uint8)
INSTANCES = np.array([[0, 1, 300, 65535]] * 5, np.uint16)


@pytest.fixture
def build(tmp_path):
    """A function that writes a data set of three images: in raw.zip, on disk in colour, on disk in grey."""

    def make(info=INFO):
        grey = tmp_path / "c.jpg"
        Image.fromarray(np.full((5, 4), 90, np.uint8)).save(grey)
        (tmp_path / "b.png").write_bytes(encode_png(IMAGE[::-1]))
        places = {"x/a": "raw:images/a.png", "b": str(tmp_path / "b.png"), "c": str(grey)}
        splits = {"x/a": ("train", "val"), "b": ("train",), "c": ("test",)}
        md5s = {name: "" if name == "x/a" else md5(Path(place)) for name, place in places.items()}
        records = [ImageRecord(name, splits[name], place, 5, 4, md5s[name]) for name, place in places.items()]
        with write_zip(tmp_path / "raw.zip") as raw:
            raw.png("images/a.png", IMAGE)
        with write_zip(tmp_path / "dataset.zip") as archive:
            write_header(archive, info, records, {"x/a": [1, 2], "b": [], "c": [2]})
            archive.png("masks/x/a.png", MASK, PALETTE)
            archive.png("instances/x/a.png", INSTANCES)
        return Dataset(tmp_path / "dataset.zip", tmp_path / "raw.zip")

    return make


def test_info_and_records_come_back(build, tmp_path):
    dataset = build()
    assert dataset.info == INFO
    assert list(dataset.records) == ["x/a", "b", "c"]
    assert dataset.records["b"] == ImageRecord("b", ("train",), str(tmp_path / "b.png"), 5, 4, md5(tmp_path / "b.png"))
    assert (dataset.num_classes, dataset.foreground) == (3, range(1, 3))


def test_without_background_every_label_can_be_tagged(build):
    dataset = build(replace(INFO, background=False))
    assert dataset.foreground == range(3)
    assert dataset.tag_matrix(["x/a"]).tolist() == [[0, 1, 1]]


def test_splits(build):
    dataset = build()
    assert dataset.ids("train") == ["x/a", "b"]
    assert dataset.ids("val") == ["x/a"]
    with pytest.raises(Fault, match=r"^data set pets has no split 'tst'; it has test, train, val$"):
        dataset.ids("tst")


def test_images_from_the_archive_and_from_disk(build):
    dataset = build()
    assert np.array_equal(dataset.image("x/a"), IMAGE)
    assert np.array_equal(dataset.image("b"), IMAGE[::-1])
    grey = dataset.image("c")
    assert grey.shape == (5, 4, 3)
    assert (grey == 90).all()


def test_an_image_that_is_gone(build, tmp_path):
    dataset = build()
    (tmp_path / "b.png").unlink()
    with pytest.raises(Fault, match=r"^image b cannot be read: .*b\.png: No such file or directory$"):
        dataset.image("b")
    with pytest.raises(Fault, match=r"^image x/a lies in raw\.zip, which was not given$"):
        Dataset(tmp_path / "dataset.zip").image("x/a")


def test_an_image_inside_an_archive(build, tmp_path):
    dataset = build()
    content = (tmp_path / "b.png").read_bytes()
    (tmp_path / "a.tar").write_bytes(bytes(512) + content)
    dataset.records["b"] = replace(dataset.records["b"], location=f"bytes:512:{len(content)}:{tmp_path}/a.tar")
    assert np.array_equal(dataset.image("b"), IMAGE[::-1])
    (tmp_path / "a.tar").write_bytes(bytes(512) + content[:-1] + b"?")
    with pytest.raises(Fault, match=r"^image b is not what it was when `prepare` read it: bytes:512:.*a\.tar; put"):
        dataset.image("b")
    (tmp_path / "a.tar").write_bytes(content)
    with pytest.raises(Fault, match=r"^image b cannot be read: bytes:512:.*a\.tar changed since it was indexed"):
        dataset.image("b")


def test_masks_and_instances(build):
    dataset = build()
    assert np.array_equal(dataset.mask("x/a"), MASK)
    assert (VOID, INSTANCE_VOID) == (255, 65535)
    instances = dataset.instances("x/a")
    assert instances.dtype == np.uint16
    assert np.array_equal(instances, INSTANCES)
    assert dataset.instances("b") is None  # an image that is only trained on may have none


def test_tags(build):
    dataset = build()
    assert dataset.tags("x/a").tolist() == [1, 2]
    assert dataset.tags("b").tolist() == []
    assert dataset.tags("b").dtype == np.int64
    assert dataset.tag_matrix(["c", "b", "x/a"]).tolist() == [[0, 1], [0, 0], [1, 1]]


def test_a_copy_in_another_process_reads_the_same(build):
    dataset = build()
    dataset.image("x/a")
    copy = pickle.loads(pickle.dumps(dataset))  # noqa: S301 - our own
    assert np.array_equal(copy.image("x/a"), IMAGE)
    assert copy.info == INFO


def test_the_same_content_is_the_same_bytes(build, tmp_path):
    build()
    first = (tmp_path / "dataset.zip").read_bytes()
    build()
    assert (tmp_path / "dataset.zip").read_bytes() == first


def test_the_tiny_data_set_of_other_tests(tiny_dataset):
    dataset = Dataset(tiny_dataset, tiny_dataset.parent / "raw.zip")
    assert [len(dataset.ids(split)) for split in ("train", "val", "test")] == [6, 3, 3]
    for image_id in dataset.records:
        mask, instances = dataset.mask(image_id), dataset.instances(image_id)
        assert dataset.image(image_id).shape == (32, 32, 3)
        assert sorted(set(np.unique(mask)) - {0, VOID}) == dataset.tags(image_id).tolist() != []
        assert np.array_equal(mask == VOID, instances == INSTANCE_VOID)
        assert np.array_equal(mask == 0, instances == 0)
    assert {len(dataset.tags(image_id)) for image_id in dataset.ids("train")} == {1, 2}
