"""Everything that can be wrong with the data is told with its file, all at once, before anything is written."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from stages.core.faults import Fault
from stages.prepare.voc import CLASSES


def test_missing_image(voc, voc_params, prepared):
    (voc / "JPEGImages/b.jpg").unlink()
    assert "JPEGImages/b.jpg is missing; ImageSets/Segmentation/train.txt lists" in prepared.fault(voc, voc_params())


def test_missing_mask(voc, voc_params, prepared):
    (voc / "SegmentationClass/b.png").unlink()
    (voc / "Other").mkdir()
    message = prepared.fault(voc, voc_params(masks=["Other", "SegmentationClass"]))
    assert "Other/b.png or SegmentationClass/b.png is missing" in message


def test_truncated_image(voc, voc_params, prepared):
    path = voc / "JPEGImages/a.jpg"
    path.write_bytes(path.read_bytes()[:-40])
    assert "JPEGImages/a.jpg: not a whole image" in prepared.fault(voc, voc_params())


def test_truncated_mask(voc, voc_params, prepared):
    path = voc / "SegmentationClass/a.png"
    path.write_bytes(path.read_bytes()[:-30])
    assert "SegmentationClass/a.png: not a whole image" in prepared.fault(voc, voc_params())


@pytest.mark.parametrize("content", [b"", b"<html>404</html>"])
def test_not_an_image(voc, voc_params, prepared, content):
    (voc / "JPEGImages/a.jpg").write_bytes(content)
    assert "JPEGImages/a.jpg: not a whole image: no format that is known" in prepared.fault(voc, voc_params())


def test_unreadable_image(voc, voc_params, prepared):
    prepared.index(voc, voc_params())
    (voc / "JPEGImages/a.jpg").unlink()
    assert "JPEGImages/a.jpg: cannot be read: No such file" in prepared.fault_now(voc_params())


def test_mask_of_another_size(voc, voc_params, prepared):
    Image.fromarray(np.ones((16, 12), np.uint8)).save(voc / "SegmentationClass/a.png")
    message = prepared.fault(voc, voc_params())
    assert "SegmentationClass/a.png: 16 x 12 pixels (height x width)" in message
    assert "JPEGImages/a.jpg has 12 x 16" in message


def test_instance_map_of_another_size(voc, voc_params, prepared):
    Image.fromarray(np.ones((11, 16), np.uint8)).save(voc / "SegmentationObject/c.png")
    message = prepared.fault(voc, voc_params(instances="SegmentationObject"))
    assert "SegmentationObject/c.png: 11 x 16 pixels" in message


def test_unknown_label_values(voc, voc_params, prepared):
    mask = np.zeros((12, 16), np.uint8)
    mask[0, :4] = (21, 254, 20, 255)
    Image.fromarray(mask).save(voc / "SegmentationClass/a.png")
    message = prepared.fault(voc, voc_params())
    assert "SegmentationClass/a.png: label values 21, 254; allowed are 0 to 20 and 255 (void)" in message


def test_coloured_mask(voc, voc_params, prepared):
    Image.fromarray(np.zeros((12, 16, 3), np.uint8)).save(voc / "SegmentationClass/a.png")
    assert "SegmentationClass/a.png: an image of mode RGB; a label map is" in prepared.fault(voc, voc_params())


def test_image_with_more_than_8_bits(folder, folder_params, prepared):
    Image.fromarray(np.full((12, 16), 40000, np.uint16)).save(folder / "images/a.png")
    assert "images/a.png: an image of mode I;16" in prepared.fault(folder, folder_params())


def test_empty_split(voc, voc_params, prepared):
    (voc / "ImageSets/Segmentation/val.txt").write_text("\n\n")
    assert "ImageSets/Segmentation/val.txt: split val is empty" in prepared.fault(voc, voc_params())


def test_id_twice_in_a_list(voc, voc_params, prepared):
    (voc / "ImageSets/Segmentation/train.txt").write_text("a\nb\n\na\n")
    message = prepared.fault(voc, voc_params())
    assert "ImageSets/Segmentation/train.txt: a stands there twice, in lines 1 and 4" in message


@pytest.mark.parametrize("split", ["val", "test", "extra"])
def test_image_trained_on_and_evaluated_on(voc, voc_params, prepared, split):
    (voc / "ImageSets/Segmentation/more.txt").write_text("c\nb\n")
    lists = {"train": "train", "val": "val"} | {split: "more"}
    message = prepared.fault(voc, voc_params(lists=lists, headline="extra" if split == "extra" else "val"))
    assert f"b: in train and in {split}" in message


@pytest.mark.parametrize(("lists", "split"), [({"train": "train"}, "val"), ({"val": "val"}, "train")])
def test_missing_split(voc, voc_params, prepared, lists, split):
    assert f"there is no split {split}" in prepared.fault(voc, voc_params(lists=lists))


def test_headline_that_is_no_split(voc, voc_params, prepared):
    message = prepared.fault(voc, voc_params(headline="test"))
    assert "there is no split test, which headline names; there are train, val" in message


def test_class_without_a_training_image(voc, voc_params, prepared):
    (voc / "ImageSets/Segmentation/train.txt").write_text("a\n")
    message = prepared.fault(voc, voc_params())
    assert "no training image has bicycle; add some" in message
    assert "datasets.mine.untrained" in message
    dataset = prepared(voc, voc_params(untrained=list(CLASSES[2:])))
    assert dataset.ids("train") == ["a"]


def test_background_without_a_training_pixel(voc, voc_params, prepared):
    for image_id, label in (("a", 1), ("b", 2)):
        Image.fromarray(np.full((12, 16), label, np.uint8)).save(voc / f"SegmentationClass/{image_id}.png")
    assert "no training image has background" in prepared.fault(voc, voc_params())


def test_untrained_names_no_class(voc, voc_params, prepared):
    message = prepared.fault(voc, voc_params(untrained=[*CLASSES[3:], "unicorn"]))
    assert "datasets.mine.untrained names unicorn, which is no class" in message


@pytest.mark.parametrize("name", ["JPEGImages/a.jpg", "SegmentationClass/a.png"])
def test_file_changed_since_the_index(voc, voc_params, prepared, name):
    prepared.index(voc, voc_params())
    (voc / name).write_bytes((voc / name).read_bytes() + b"\0")
    assert f"{name}: changed since `download` indexed it" in prepared.fault_now(voc_params())


def test_list_changed_since_the_index(voc, voc_params, prepared):
    prepared.index(voc, voc_params())
    (voc / "ImageSets/Segmentation/val.txt").write_text("c\nd\n")
    assert "ImageSets/Segmentation/val.txt: changed since" in prepared.fault_now(voc_params())


def test_all_faults_at_once(voc, voc_params, prepared):
    (voc / "JPEGImages/b.jpg").unlink()
    (voc / "JPEGImages/c.jpg").write_bytes(b"no")
    Image.fromarray(np.full((12, 16), 77, np.uint8)).save(voc / "SegmentationClass/c.png")
    Image.fromarray(np.zeros((3, 3), np.uint8)).save(voc / "SegmentationClass/a.png")
    message = prepared.fault(voc, voc_params())
    assert "(4 faults)" in message
    for name in ("JPEGImages/b.jpg", "JPEGImages/c.jpg", "SegmentationClass/c.png: label value 77", "a.png: 3 x 3"):
        assert name in message
    assert str(voc) in message


def test_list_that_the_index_lacks(voc, voc_params, prepared):
    prepared.index(voc, voc_params())
    with pytest.raises(Fault, match="list of split val: ImageSets/Segmentation/new.txt is not in the source"):
        prepared.prepare(voc_params(lists={"train": "train", "val": "new"}))
