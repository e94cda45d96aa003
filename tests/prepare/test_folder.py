"""The project's own layout for a person's data."""

from __future__ import annotations

import shutil
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from stages.core.dataset import INSTANCE_VOID
from stages.core.faults import Fault


def test_everything_arrives(folder, folder_params, prepared):
    dataset = prepared(folder, folder_params())
    assert dataset.info.classes == ("ground", "round thing", "box")
    assert (dataset.ids("train"), dataset.ids("val")) == (["a", "b"], ["c"])
    assert [dataset.tags(i).tolist() for i in "abc"] == [[1], [2], [1, 2]]
    assert np.array_equal(dataset.image("b"), np.array(Image.open(folder / "images/b.png")))
    assert not dataset.info.instances


def test_without_a_background_label_0_is_a_class(folder, folder_params, prepared):
    dataset = prepared(folder, folder_params(background=False))
    assert [dataset.tags(i).tolist() for i in "abc"] == [[0, 1], [0, 2], [0, 1, 2]]
    assert dataset.foreground == range(3)
    assert dataset.tag_matrix(["a"]).tolist() == [[1, 1, 0]]


@pytest.mark.parametrize("suffix", [".jpg", ".jpeg", ".JPG"])
def test_image_suffixes(folder, folder_params, prepared, suffix):
    Image.open(folder / "images/a.png").save(folder / f"images/a{suffix}", "JPEG")
    (folder / "images/a.png").unlink()
    assert prepared(folder, folder_params()).records["a"].location.endswith(f"a{suffix}")


def test_two_images_with_one_id(folder, folder_params, prepared):
    shutil.copy(folder / "images/a.png", folder / "images/a.jpeg")
    assert "images/a.jpeg and images/a.png have the same id" in prepared.fault(folder, folder_params())


def test_missing_image_and_mask(folder, folder_params, prepared):
    (folder / "splits/train.txt").write_text("a\nb\nd\n")
    message = prepared.fault(folder, folder_params())
    assert "images/d (jpg, jpeg, png) is missing; splits/train.txt lists the image" in message
    assert "masks/d.png is missing" in message


def test_missing_split(folder, folder_params, prepared):
    (folder / "splits/val.txt").rename(folder / "splits/other.txt")
    message = prepared.fault(folder, folder_params(headline="other"))
    assert "there is no split val, which choices need; there are other, train" in message


def test_instances(folder, folder_params, prepared):
    (folder / "instances").mkdir()
    wide = np.zeros((12, 16), np.uint16)
    wide[0, :4] = (1, 255, 300, INSTANCE_VOID)
    Image.fromarray(wide).save(folder / "instances/c.png")
    dataset = prepared(folder, folder_params())
    assert np.array_equal(dataset.instances("c"), wide)
    (folder / "instances/c.png").rename(folder / "instances/a.png")
    assert "instances/c.png is missing; splits/val.txt lists" in prepared.fault(folder, folder_params())


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("ground\n\nbox\n", "classes.txt line 2 is empty"),
        ("ground\nbox\nbox\n", "classes.txt names box twice"),
        ("ground\n", "classes.txt has 1 names; allowed are 2 to 255"),
    ],
)
def test_bad_classes(folder, folder_params, prepared, text, words):
    (folder / "classes.txt").write_text(text)
    assert words in prepared.fault(folder, folder_params())


def test_classes_that_are_not_text(folder, folder_params, prepared):
    (folder / "classes.txt").write_bytes("gr\u00fcn\nrot\nblau\n".encode("latin-1"))
    assert "classes.txt is not UTF-8 text (byte 2)" in prepared.fault(folder, folder_params())


def test_label_beyond_the_classes(folder, folder_params, prepared):
    (folder / "classes.txt").write_text("ground\nround thing\n")
    message = prepared.fault(folder, folder_params())
    assert "masks/b.png: label value 2; allowed are 0 to 1 and 255 (void)" in message
    assert "masks/c.png: label value 2" in message


@pytest.mark.parametrize(
    "text",
    [
        "id,tags\na,round thing\nb,box,round thing\nc,\n",
        "a,1\nb,2,1\nc,\n",
        "image,classes\na,1\nb,1;2\nc,\n",
        'a,"round thing"\nb,box,"round thing"\nc,\n',
    ],
)
def test_tags_file(folder, folder_params, prepared, text):
    (folder / "tags.csv").write_text(text)
    dataset = prepared(folder, folder_params(tags="file"))
    assert [dataset.tags(i).tolist() for i in "abc"] == [[1], [1, 2], []]
    assert dataset.info.tags == "file"


def test_unknown_tag(folder, folder_params, prepared):
    (folder / "tags.csv").write_text("a,round thing\nb,boxx\nc,box\n")
    message = prepared.fault(folder, folder_params(tags="file"))
    assert "tags.csv line 2: unknown class boxx of image b; known are round thing, box, or 1 to 2" in message


def grey_png(labels: np.ndarray, bits: int) -> bytes:
    """A grey PNG of `bits` per pixel, which Pillow reads but does not write; width * bits must fill bytes."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    height, width = labels.shape
    planes = (labels[..., None] >> np.arange(bits)[::-1]) & 1
    rows = np.packbits(planes.reshape(height, -1).astype(np.uint8), axis=1)
    body = b"".join(b"\0" + row.tobytes() for row in rows)
    header = struct.pack(">IIBBBBB", width, height, bits, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(body)) + chunk(b"IEND", b"")


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_grey_masks_of_few_bits_keep_their_labels(folder, folder_params, prepared, bits):
    labels = np.zeros((12, 16), np.uint8)
    labels[2:5, 3:9] = 1
    (folder / "masks/a.png").write_bytes(grey_png(labels, bits))
    assert np.array_equal(prepared(folder, folder_params()).mask("a"), labels)


TAGS = "a,1\nb,2\nc,1,2\n"


def test_masks_of_evaluated_images_alone(folder, folder_params, prepared):
    (folder / "tags.csv").write_text(TAGS)
    (folder / "masks/a.png").unlink()
    (folder / "masks/b.png").write_text("never opened")
    dataset = prepared(folder, folder_params(masks="evaluated", tags="file"))
    assert (dataset.info.masks, dataset.masked("c"), dataset.masked("ac")) == (False, True, False)
    assert [dataset.has_mask(i) for i in "abc"] == [False, False, True]
    assert prepared.notes[1:] == ["mine: tags differ from the masks in 0 of 1 images", "mine: no masks of train"]
    (folder / "masks/c.png").unlink()
    message = prepared.fault(folder, folder_params(masks="evaluated", tags="file"))
    assert "masks/c.png is missing; splits/val.txt lists the image" in message
    assert "masks/a.png" not in message


def test_no_masks_and_no_folder_for_them(folder, folder_params, prepared):
    (folder / "tags.csv").write_text(TAGS)
    shutil.rmtree(folder / "masks")
    dataset = prepared(folder, folder_params(masks="none", tags="file"))
    assert not dataset.masked(dataset.ids("val"))
    assert [dataset.tags(i).tolist() for i in "abc"] == [[1], [2], [1, 2]]
    assert prepared.notes[1] == "mine: no masks of train, val"
    assert "`dvc repro predict` trains and predicts" in prepared.notes[2]
    with pytest.raises(Fault, match="lacks masks/"):
        prepared.index(folder, folder_params(masks="evaluated", tags="file"))


def test_a_class_without_a_tag_is_found_without_masks(folder, folder_params, prepared):
    (folder / "tags.csv").write_text("a,1\nb,\nc,1,2\n")
    message = prepared.fault(folder, folder_params(masks="none", tags="file"))
    assert "no training image has box; add some to the split train" in message


@pytest.mark.parametrize(
    "text",
    [
        "image,class,fraction\na,round thing,0.25\nb,box,.12\nb,round thing,0\nc,1,.5\nc,2,1e-3\n",
        "Image, Class ,seconds,Percent\na,1,9,25\nb,2,9,5\nc,1,9,1\nc,2,9,2\nunused,unicorn,9,3\n",
    ],
)
def test_tags_are_the_classes_that_have_a_size(folder, folder_params, prepared, text):
    (folder / "sizes.csv").write_text(text)
    dataset = prepared(folder, folder_params(masks="none", tags="sizes"))
    assert [dataset.tags(i).tolist() for i in "abc"] == [[1], [2], [1, 2]]
    assert dataset.info.tags == "sizes"


def test_an_image_without_objects_is_a_row_of_its_id(folder, folder_params, prepared):
    (folder / "sizes.csv").write_text("image,class,fraction\na,1,0.2\na,2,0.1\nb\nc,,\n")
    dataset = prepared(folder, folder_params(tags="sizes"))
    assert [dataset.tags(i).tolist() for i in "abc"] == [[1, 2], [], []]


def test_bad_sizes(folder, folder_params, prepared):
    lines = ["image,class,fraction", "a,1,-0.2", "b,unicorn,0.3", "b,2,much", "b,2", "b,,0.1"]
    (folder / "sizes.csv").write_text("\n".join(lines))
    message = prepared.fault(folder, folder_params(tags="sizes"))
    for line in (
        "sizes.csv line 2: fraction must be a number not below 0, is '-0.2'",
        "sizes.csv line 3: unknown class unicorn of image b; known are round thing, box, or 1 to 2",
        "sizes.csv line 4: fraction must be a number not below 0, is 'much'",
        "sizes.csv line 5: fraction must be",
        "sizes.csv line 6: unknown class  of image b",
        "sizes.csv has no row for image c",
    ):
        assert line in message


def test_sizes_without_a_unit(folder, folder_params, prepared):
    (folder / "sizes.csv").write_text("a,1,0.2\n")
    message = prepared.fault(folder, folder_params(tags="sizes"))
    assert "sizes.csv line 1 must name the columns image, class and percent or fraction, is 'a,1,0.2'" in message
