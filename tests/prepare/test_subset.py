"""Some of a data set's classes alone."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from stages.core.dataset import INSTANCE_VOID
from stages.prepare.voc import CLASSES
from tests.prepare import coco_files
from tests.prepare.conftest import instances_of, mask_of

KEPT, LEFT_OUT = "bicycle", 1  # of VOC: label 2; label 1 is the aeroplane


def test_the_other_classes_are_background(voc, voc_params, prepared):
    dataset = prepared(voc, voc_params(classes=[KEPT], untrained=[]))
    assert dataset.info.classes == ("background", KEPT)
    assert [dataset.tags(image_id).tolist() for image_id in "abc"] == [[], [1], [1]]
    for image_id in "abc":
        before = mask_of(image_id)
        assert np.array_equal(dataset.mask(image_id), np.select([before == 2, before == 255], [1, 255], 0))


def test_no_instance_lies_where_a_class_became_background(voc, voc_params, prepared):
    dataset = prepared(voc, voc_params(classes=[KEPT], untrained=[], instances="SegmentationObject"))
    expected = instances_of("c").astype(np.uint16)
    expected[mask_of("c") == LEFT_OUT] = 0
    expected[mask_of("c") == 255] = INSTANCE_VOID
    assert np.array_equal(dataset.instances("c"), expected)
    assert set(np.unique(expected)) == {0, 2, INSTANCE_VOID}


def test_classes_keep_their_order_whatever_that_of_the_names(voc, voc_params, prepared):
    prepared(voc, voc_params())
    whole = prepared.out.read_bytes()
    everything = list(reversed(voc_params().untrained)) + ["bicycle", "aeroplane"]
    dataset = prepared(voc, voc_params(classes=everything))
    assert dataset.info.classes[:3] == ("background", "aeroplane", "bicycle")
    assert prepared.out.read_bytes() == whole
    prepared(voc, voc_params(classes="all"))
    assert prepared.out.read_bytes() == whole


@pytest.mark.parametrize("tags", ["xml", "file"])
def test_tags_of_the_other_classes_are_dropped(voc, voc_params, prepared, tags):
    listed = voc.parent / "tags.txt"
    listed.write_text("a aeroplane\nb bicycle\nc aeroplane bicycle\n")
    dataset = prepared(voc, voc_params(classes=[KEPT], untrained=[], tags=tags, tags_file=str(listed)))
    assert [dataset.tags(image_id).tolist() for image_id in "abc"] == [[], [1], [1]]
    assert any("differ from the masks in 0 of 3" in note for note in prepared.notes)
    assert dataset.info.left_out == tuple(name for name in CLASSES[1:] if name != KEPT)


def test_labels_beyond_the_data_set_are_still_refused(voc, voc_params, prepared):
    mask = mask_of("a")
    mask[0, 0] = 21
    Image.fromarray(mask).save(voc / "SegmentationClass/a.png")
    message = prepared.fault(voc, voc_params(classes=[KEPT], untrained=[]))
    assert "SegmentationClass/a.png: label value 21; allowed are 0 to 20" in message


def test_untrained_classes_may_be_left_out_too(voc, voc_params, prepared):
    dataset = prepared(voc, voc_params(classes=[KEPT, "bird"]))
    assert dataset.info.classes == ("background", KEPT, "bird")
    message = prepared.fault(voc, voc_params(classes=[KEPT], untrained=["unicorn"]))
    assert "untrained names unicorn, which is no class; the classes are background, bicycle" in message


def test_a_folder_whose_training_images_have_sizes_and_no_masks(folder, folder_params, prepared):
    (folder / "sizes.csv").write_text("image,class,percent\na,round thing,10\nb,box,20\nc,round thing,9\nc,2,9\n")
    for image_id in "ab":
        (folder / f"masks/{image_id}.png").unlink()
    dataset = prepared(folder, folder_params(masks="evaluated", tags="sizes", classes=["box"]))
    assert dataset.info.classes == ("ground", "box")
    assert [dataset.tags(image_id).tolist() for image_id in "abc"] == [[], [1], [1]]
    assert np.unique(dataset.mask("c")).tolist() == [0, 1, 255]
    assert not dataset.has_mask("a")


def test_a_wrong_name_hides_no_other_fault(voc, voc_params, prepared):
    (voc / "SegmentationClass/a.png").unlink()
    message = prepared.fault(voc, voc_params(classes=["unicorn"]))
    assert "names unicorn" in message
    assert "SegmentationClass/a.png is missing" in message


def test_unknown_classes_are_named(voc, voc_params, prepared):
    message = prepared.fault(voc, voc_params(classes=[KEPT, "unicorn", "background"], untrained=[]))
    assert "classes names unicorn, background; the classes beside the background are aeroplane, bicycle" in message


def test_of_cocos_objects_the_others_still_cover(tmp_path, trees, coco_params, prepared):
    """A cup on a table is no table; a crowd is void, whatever it is of."""
    source = coco_files.write(tmp_path / "coco", trees)
    whole = prepared(source, coco_params(untrained=[]))
    before = {image_id: (whole.mask(image_id), whole.instances(image_id)) for image_id in whole.records}
    names = whole.info.classes
    dataset = prepared(source, coco_params(classes=["table"], untrained=[]))
    assert dataset.info.classes == ("background", "table")
    for image_id, (mask, instances) in before.items():
        table = mask == names.index("table")
        assert np.array_equal(dataset.mask(image_id), np.select([table, mask == 255], [1, 255], 0))
        gone = (mask != 0) & (mask != 255) & ~table
        assert np.array_equal(dataset.instances(image_id), np.where(gone, 0, instances))
