"""An image that EXIF turns is read as stored, and a mask that was or may be of it as shown is noticed."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image, ImageOps

from stages.prepare import parts
from tests.prepare import coco_files

QUARTER, OTHERS = (5, 6, 7, 8), (2, 3, 4)


def turn(path, orientation, square=False):
    """Stores the same pixels with an orientation; the picture as shown."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    with Image.open(path) as image:
        image.load()
    image = image.resize((12, 12)) if square else image
    image.save(path, exif=exif)
    with Image.open(path) as image:
        return ImageOps.exif_transpose(image)


@pytest.mark.parametrize("orientation", [*QUARTER, *OTHERS])
def test_pictures_are_read_as_stored(voc, voc_params, prepared, orientation):
    before = prepared(voc, voc_params()).image("a")
    turn(voc / "JPEGImages/c.jpg", orientation)
    dataset = prepared(voc, voc_params())
    np.testing.assert_array_equal(dataset.image("c"), np.array(Image.open(voc / "JPEGImages/c.jpg")))
    np.testing.assert_array_equal(dataset.image("a"), before)


@pytest.mark.parametrize("orientation", QUARTER)
def test_a_mask_of_the_picture_as_shown_is_refused(folder, folder_params, prepared, orientation):
    shown = turn(folder / "images/a.png", orientation)
    mask = Image.open(folder / "masks/a.png").transpose(Image.Transpose.ROTATE_270)
    assert mask.size == shown.size
    mask.save(folder / "masks/a.png")
    message = prepared.fault(folder, folder_params())
    assert (
        "masks/a.png: 16 x 12 pixels (height x width), but its image images/a.png has 12 x 16 as stored and" in message
    )
    assert f"as shown, turned by its EXIF orientation {orientation}; images are read as stored: store it upr" in message
    shown.save(folder / "images/a.png")  # what the message asks for
    assert prepared(folder, folder_params()).image("a").shape == (16, 12, 3)


@pytest.mark.parametrize("orientation", QUARTER)
def test_a_mask_of_the_picture_as_stored_is_no_fault_and_no_note(folder, folder_params, prepared, orientation):
    turn(folder / "images/a.png", orientation)
    prepared(folder, folder_params())
    assert not any("EXIF" in note for note in prepared.notes)


@pytest.mark.parametrize(("orientation", "square"), [*((one, False) for one in OTHERS), (6, True), (8, True)])
def test_an_own_mask_whose_size_does_not_tell_is_in_doubt(folder, folder_params, prepared, orientation, square):
    for name in "ab":
        turn(folder / f"images/{name}.png", orientation, square)
        with Image.open(folder / f"masks/{name}.png") as mask:
            mask.crop((0, 0, 12, 12) if square else (0, 0, 16, 12)).save(folder / f"masks/{name}.png")
    message = prepared.fault(folder, folder_params())
    assert "(2 faults)" in message
    for name in "ab":
        assert f"images/{name}.png: its EXIF orientation {orientation} turns or mirrors it when it is shown" in message
        assert f"masks/{name}.png does not tell" in message
    for name in "ab":  # the mark is taken away
        with Image.open(folder / f"images/{name}.png") as image:
            Image.fromarray(np.array(image)).save(folder / f"images/{name}.png")
    prepared(folder, folder_params())
    assert not any("EXIF" in note for note in prepared.notes)


def test_a_known_data_set_is_read_as_its_authors_stored_it_with_a_note(voc, voc_params, prepared):
    turn(voc / "JPEGImages/a.jpg", 3)
    prepared(voc, voc_params())
    [note] = [note for note in prepared.notes if "EXIF" in note]
    assert note.startswith("mine: 1 images are shown turned or mirrored (EXIF orientation) and read as stored: JPEGI")
    assert "JPEGImages/a.jpg; `mogrify" in note


def test_images_without_masks_are_named(folder, folder_params, prepared):
    (folder / "tags.csv").write_text("a,box\nb,round thing\nc,box\n")
    for name, orientation in (("a", 6), ("b", 3), ("c", 6)):
        turn(folder / f"images/{name}.png", orientation)
    prepared(folder, folder_params(masks="evaluated", tags="file"))
    [note] = [note for note in prepared.notes if "EXIF" in note]
    assert "2 images" in note  # the mask of c tells that c is as stored
    assert "images/a.png, images/b.png;" in note


def test_the_size_in_annotations_of_coco(tmp_path, coco_params, prepared):
    trees = coco_files.content()
    root = coco_files.write(tmp_path / "coco", trees)
    path = root / "pictures/train/one.png"
    shown = turn(path, 6)
    data = coco_params()
    prepared(root, data)
    entry = next(image for image in trees["train"]["images"] if image["file_name"] == path.name)
    entry["height"], entry["width"] = shown.height, shown.width
    (root / "annotations/train.json").write_text(json.dumps(trees["train"]))
    assert "as shown, turned by its EXIF orientation 6" in prepared.fault(root, data)


@pytest.mark.parametrize("value", [0, 9, 77])
def test_an_orientation_that_means_nothing_turns_nothing(folder, folder_params, prepared, value):
    turn(folder / "images/a.png", value)
    prepared(folder, folder_params())
    assert not any("EXIF" in note for note in prepared.notes)


@pytest.mark.parametrize(
    "exif", [b"Exif\0\0garbage", b"Exif\0\0II*\0\xff\xff\xff\x7f", b"Exif\0\0MM\0*\0\0\0\x08\xff\xff"]
)
def test_broken_exif_is_none(voc, voc_params, prepared, exif):
    with Image.open(voc / "JPEGImages/a.jpg") as image:
        image.load()
    image.save(voc / "JPEGImages/a.jpg", exif=b"Exif\0\0" + exif)
    prepared(voc, voc_params())
    assert not any("EXIF" in note for note in prepared.notes)


def test_an_interrupted_run_remembers(voc, voc_params, prepared, monkeypatch):
    monkeypatch.setattr(parts, "PART", 1)
    turn(voc / "JPEGImages/a.jpg", 3)
    prepared(voc, voc_params())
    before = prepared.notes
    prepared.prepare(voc_params())  # of parts
    assert prepared.notes == before
    assert any("EXIF" in note for note in before)
