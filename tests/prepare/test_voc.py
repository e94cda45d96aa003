"""The VOC layout: what is read, and where each kind of tag comes from."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from stages.core.dataset import INSTANCE_VOID
from stages.core.files import ZipReader, md5
from stages.prepare.palette import voc_palette


def test_palette_is_vocs():
    # colours as the VOC development kit prints them
    known = {0: (0, 0, 0), 1: (128, 0, 0), 2: (0, 128, 0), 8: (64, 0, 0), 15: (192, 128, 128), 20: (0, 64, 128)}
    assert {label: voc_palette()[label] for label in known} == known
    assert voc_palette()[255] == (224, 224, 192)
    assert len(set(voc_palette())) == 256


def test_everything_arrives(voc, voc_params, prepared):
    dataset = prepared(voc, voc_params())
    assert dataset.ids("train") == ["a", "b"]
    assert dataset.ids("val") == ["c"]
    assert (dataset.num_classes, dataset.info.background, dataset.info.size_bins) == (21, True, (16, 64))
    assert [dataset.tags(i).tolist() for i in "abc"] == [[1], [2], [1, 2]]
    record = dataset.records["a"]
    assert (record.height, record.width) == (12, 16)
    assert record.location == str(voc / "JPEGImages/a.jpg")
    assert record.md5 == md5(voc / "JPEGImages/a.jpg")
    for image_id in "abc":
        assert np.array_equal(dataset.mask(image_id), np.array(Image.open(voc / f"SegmentationClass/{image_id}.png")))
        assert dataset.image(image_id).shape == (12, 16, 3)
    assert dataset.instances("a") is None


def test_masks_are_indexed_pngs_in_vocs_colours(voc, voc_params, prepared, tmp_path):
    prepared(voc, voc_params())
    (tmp_path / "seen.png").write_bytes(ZipReader(prepared.out).bytes("masks/a.png"))
    image = Image.open(tmp_path / "seen.png")
    assert image.mode == "P"
    assert image.convert("RGB").getpixel((2, 1)) == (128, 0, 0)
    assert image.convert("RGB").getpixel((0, 6)) == (224, 224, 192)


def test_grey_masks_give_the_same_bytes(voc, voc_params, prepared):
    prepared(voc, voc_params())
    before = ZipReader(prepared.out).bytes("masks/c.png")
    for path in (voc / "SegmentationClass").iterdir():
        Image.fromarray(np.array(Image.open(path))).save(path)
    prepared(voc, voc_params())
    assert ZipReader(prepared.out).bytes("masks/c.png") == before


def test_first_folder_that_has_a_mask_counts(voc, voc_params, prepared):
    (voc / "Better").mkdir()
    better = np.full((12, 16), 2, np.uint8)
    Image.fromarray(better).save(voc / "Better/c.png")
    dataset = prepared(voc, voc_params(masks=["Better", "SegmentationClass"]))
    assert np.array_equal(dataset.mask("c"), better)
    assert dataset.tags("a").tolist() == [1]


def test_instances_are_16_bit_and_vocs_void_is_ours(voc, voc_params, prepared):
    dataset = prepared(voc, voc_params(instances="SegmentationObject"))
    found = dataset.instances("c")
    assert found.dtype == np.uint16
    assert np.unique(found).tolist() == [0, 1, 2, INSTANCE_VOID]
    assert np.array_equal(found == INSTANCE_VOID, dataset.mask("c") == 255)
    assert np.array_equal(found == 2, dataset.mask("c") == 2)


def test_training_images_may_lack_instances_as_sbds_do(voc, voc_params, prepared):
    (voc / "SegmentationObject/b.png").unlink()
    dataset = prepared(voc, voc_params(instances="SegmentationObject"))
    assert dataset.instances("c").max() == INSTANCE_VOID
    (voc / "SegmentationObject/c.png").unlink()
    assert "SegmentationObject/c.png is missing" in prepared.fault(voc, voc_params(instances="SegmentationObject"))


def test_an_official_train_split_may_lie_within_train(voc, voc_params, prepared):
    (voc / "ImageSets/Segmentation/official.txt").write_text("b\n")
    lists = {"official": "official", "train": "train", "val": "val"}
    dataset = prepared(voc, voc_params(lists=lists))
    assert dataset.ids("official") == ["b"]
    assert dataset.records["b"].splits == ("train", "official")
    assert list(dataset.records) == ["a", "b", "c"]


def test_tags_from_annotations(voc, voc_params, prepared):
    (voc / "Annotations/a.xml").write_text(
        "<annotation><object><name>bicycle</name><part><name>wheel</name></part></object>"
        "<object><name> aeroplane\n</name></object><object><name>bicycle</name></object></annotation>"
    )
    dataset = prepared(voc, voc_params(tags="xml"))
    assert [dataset.tags(i).tolist() for i in "abc"] == [[1, 2], [2], [1, 2]]
    assert dataset.info.tags == "xml"
    assert any("differ from the masks in 1 of 3 images, such as a" in note for note in prepared.notes)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('<!DOCTYPE x [<!ENTITY e "bird">]><annotation><object><name>&e;</name></object></annotation>', "no DOCTYPE"),
        ("<annotation><object><name>unicorn</name></object></annotation>", "unknown class unicorn"),
        ("<annotation><object>", "not XML"),
    ],
)
def test_bad_annotation(voc, voc_params, prepared, text, words):
    (voc / "Annotations/b.xml").write_text(text)
    message = prepared.fault(voc, voc_params(tags="xml"))
    assert "Annotations/b.xml" in message
    assert words in message


def test_a_doctype_cannot_hide_in_utf16(voc, voc_params, prepared):
    text = '<?xml version="1.0" encoding="utf-16"?><!DOCTYPE x [<!ENTITY e "bird">]><annotation>&e;</annotation>'
    (voc / "Annotations/b.xml").write_bytes(text.encode("utf-16"))
    assert "Annotations/b.xml: an annotation may have no DOCTYPE" in prepared.fault(voc, voc_params(tags="xml"))


def test_missing_annotation(voc, voc_params, prepared):
    (voc / "Annotations/c.xml").unlink()
    assert "Annotations/c.xml is missing" in prepared.fault(voc, voc_params(tags="xml"))


@pytest.mark.parametrize("name", ["tags.txt", "absolute"])
def test_tags_from_a_file(voc, voc_params, prepared, tmp_path, name):
    path = voc / "tags.txt" if name == "tags.txt" else tmp_path / "elsewhere.txt"
    path.write_text("a 1 2\nunused 7\nb bicycle\nc\n")
    dataset = prepared(voc, voc_params(tags="file", tags_file="tags.txt" if name == "tags.txt" else str(path)))
    assert [dataset.tags(i).tolist() for i in "abc"] == [[1, 2], [2], []]
    assert any("differ from the masks in 2 of 3 images, such as a, c" in note for note in prepared.notes)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a 1\nb 2\n", "tags.txt has no line for image c"),
        ("a 1\nb 2\nc 21\n", "tags.txt line 3: unknown class 21 of image c"),
        ("a 1\nb 0\nc 1\n", "tags.txt line 2: unknown class 0 of image b"),  # the background is no tag
        ("a 1\nb 2\nc 1\nb 1\n", "tags.txt line 4: b stands there twice"),
    ],
)
def test_bad_tags_file(voc, voc_params, prepared, text, words):
    (voc / "tags.txt").write_text(text)
    assert words in prepared.fault(voc, voc_params(tags="file", tags_file="tags.txt"))
