"""Which pairs are asked, in which order, and what a person is told about wrong input."""

import os

import numpy as np
import pytest
from PIL import Image

from stages.core.faults import Fault
from stages.core.files import encode_png
from stages.core.label_files import find_maps
from stages.size_targets.annotate import questions
from stages.size_targets.annotate.aids import percent_per_box
from tests.size_targets.annotate.conftest import CATS, CLASSES, SIZES


def test_images_are_found_with_their_pixels_and_types(folder):
    Image.new("RGB", (7, 5)).save(folder / "images/e.JPG", "JPEG")
    (folder / "images/notes.txt").write_text("x")
    files, pictures = questions.find_images(folder / "images")
    assert {name: (picture.width, picture.height) for name, picture in pictures.items()} == SIZES | {"e": (7, 5)}
    assert {picture.type for picture in pictures.values()} == {"image/png", "image/jpeg"}
    assert files.content("e") == (folder / "images/e.JPG").read_bytes()
    assert list(questions.find_images(folder / "images", {"b", "zzz"})[1]) == ["b"]


def test_all_images_that_cannot_be_read_are_named(folder, monkeypatch):
    (folder / "images/cut.png").write_bytes(b"\x89PNG\r\n")
    Image.new("RGB", (4, 4)).save(folder / "images/gif.png", "GIF")
    real = questions.Image.open

    def guarded(source, *arguments):
        if str(source).endswith("a.png"):
            raise PermissionError(13, "Permission denied")
        return real(source, *arguments)

    monkeypatch.setattr(questions.Image, "open", guarded)
    with pytest.raises(Fault, match=r"3 faults") as fault:
        questions.find_images(folder / "images")
    for text in ("a.png: no permission", "cut.png: cannot identify", "gif.png: a GIF file"):
        assert text in str(fault.value)


def test_a_name_that_no_file_of_answers_can_hold_is_a_fault(folder):
    (folder / "images" / os.fsdecode(b"caf\xe9.png")).write_bytes((folder / "images/a.png").read_bytes())
    with pytest.raises(Fault, match="udce9.png': the name is no UTF-8 text; rename it") as fault:
        questions.find_images(folder / "images")
    str(fault.value).encode()


def test_no_images_no_folder_and_two_of_one_id_are_faults(folder):
    (folder / "empty").mkdir()
    with pytest.raises(Fault, match="holds no"):
        questions.find_images(folder / "empty")
    with pytest.raises(Fault, match="there is no such folder"):
        questions.find_images(folder / "none")
    (folder / "images/a.jpg").write_bytes((folder / "images/a.png").read_bytes())
    with pytest.raises(Fault, match=r"two images of one id.*\n  - a"):
        questions.find_images(folder / "images")


def test_tags_are_names_or_labels_in_each_form_of_the_file(folder):
    wanted = {"a": ["cat"], "b": ["cat", "dog"], "c": ["cat"], "d": ["dog", "cat"]}
    assert questions.read_tags(folder / "tags.csv", CLASSES) == wanted
    (folder / "tags.csv").write_text("a cat\nb cat dog\n\nc cat\nd 2 1\n")
    assert questions.read_tags(folder / "tags.csv", CLASSES) == wanted
    (folder / "tags.csv").write_text("a,traffic light\nb,cat dog\n")
    assert questions.read_tags(folder / "tags.csv", (), ["traffic light"]) == {
        "a": ["traffic light"],
        "b": ["cat", "dog"],
    }


def test_wrong_tags_are_named_at_once(folder):
    (folder / "tags.csv").write_text("a,cta\nb,cat\nb,9\n")
    with pytest.raises(
        Fault, match=r"3 faults(.|\n)*line 1: unknown class cta(.|\n)*line 3: unknown class 9(.|\n)*twice"
    ):
        questions.read_tags(folder / "tags.csv", CLASSES)
    with pytest.raises(Fault, match="cannot be read"):
        questions.read_tags(folder / "none.csv", CLASSES)
    (folder / "tags.csv").write_text("a,cat\nb," + 200_000 * "c" + "\n")
    with pytest.raises(Fault, match="line 2: field larger"):
        questions.read_tags(folder / "tags.csv", CLASSES)


def test_classes_are_asked_one_after_the_other_and_only_where_tagged(folder):
    tags = questions.read_tags(folder / "tags.csv", CLASSES)
    assert questions.asked_classes([], CLASSES, tags) == ["cat", "dog"]
    assert questions.asked_classes(["dog", "cat", "dog"], CLASSES, tags) == ["dog", "cat"]
    pairs = questions.asked_pairs(["d", "c", "b", "a"], ["dog", "cat"], tags)
    assert pairs == [("b", "dog"), ("d", "dog"), *((name, "cat") for name in "abcd")]
    assert questions.asked_pairs(["b", "a"], ["x"], None) == [("a", "x"), ("b", "x")]


def test_unknown_and_missing_classes_are_faults():
    with pytest.raises(Fault, match="unknown class catt; known are background, cat, dog"):
        questions.asked_classes(["catt", "dog"], CLASSES, None)
    with pytest.raises(Fault, match="unknown class catt; known are cat"):
        questions.asked_classes(["catt"], (), {"a": ["cat"]})
    with pytest.raises(Fault, match="--classes"):
        questions.asked_classes([], CLASSES, None)


def test_training_has_true_shares_of_all_pixels_in_an_order_that_new_images_do_not_change(folder):
    _, pictures = questions.find_images(folder / "images")
    masks = find_maps(folder / "masks")
    pairs = [(name, "cat") for name in SIZES]
    found = questions.training_pairs(pairs, 9, masks, pictures, CLASSES, ())
    assert found == {(name, "cat"): pytest.approx(100 * CATS[name] / SIZES[name][1]) for name in SIZES}
    order = list(found)
    assert list(questions.training_pairs(pairs, 2, masks, pictures, CLASSES, ())) == order[:2]
    assert list(questions.training_pairs(pairs[::-1], 2, masks, pictures, CLASSES, order[:1])) == order[1:3]
    fewer = [pair for pair in pairs if pair != order[1]]
    assert list(questions.training_pairs(fewer, 9, masks, pictures, CLASSES, ())) == [order[0], *order[2:]]


def test_masks_that_cannot_train_are_faults(folder):
    _, pictures = questions.find_images(folder / "images")
    masks = find_maps(folder / "masks")
    with pytest.raises(Fault, match="no image to train dog with: none has a mask with label 2"):
        questions.training_pairs([("b", "dog")], 3, masks, pictures, CLASSES, ())
    with pytest.raises(Fault, match="cow is not in classes.txt"):
        questions.training_pairs([("b", "cow")], 3, masks, pictures, CLASSES, ())
    (folder / "masks/a.png").write_bytes(encode_png(np.ones((3, 3), np.uint8)))
    with pytest.raises(Fault, match="a.png: 3 x 3 pixels; the image has 40 x 20"):
        questions.training_pairs([("a", "cat"), ("b", "cat")], 3, masks, pictures, CLASSES, ())


def test_boxes_and_cells_as_the_original_tool_counts_them():
    """A box has a fifth or two fifths of the longer side: size = boxes * side^2 / (w * h) * 100."""
    assert percent_per_box("grid", 500, 375) == pytest.approx((5, 100 / 9))
    assert percent_per_box("box", 500, 375) == pytest.approx((100 * 100**2 / (500 * 375), 100 * 200**2 / (500 * 375)))
    assert percent_per_box("box", 375, 500) == percent_per_box("box", 500, 375)
    assert percent_per_box("box", 1, 1) == pytest.approx((4, 16))
    assert percent_per_box("none", 500, 375) == ()
