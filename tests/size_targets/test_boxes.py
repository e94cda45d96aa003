"""Sizes from boxes: areas against rasterised boxes, files, and the data set's own instances."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from stages.core.faults import Fault
from stages.core.params import Params
from stages.size_targets.boxes import box_sizes, union_area
from stages.size_targets.corrupt import FLOOR
from tests.size_targets.conftest import Maker

NAN = float("nan")
MASK = np.zeros((4, 10), np.uint8)
MASK[0, 0:2] = 1  # cat: two parts with a gap, and a dog of 3 x 2 without a corner
MASK[0:2, 3] = 1
MASK[2:4, 5:8] = 2
MASK[3, 7] = 0
TAGS = {"a": [1, 2], "b": [2]}
MASKS = {"a": MASK, "b": MASK}


def test_the_union_is_what_a_raster_counts() -> None:
    """300 random sets of boxes."""
    random = np.random.default_rng(0)
    for _ in range(300):
        corners = np.sort(random.integers(0, 20, (random.integers(1, 7), 2, 2)), axis=1).reshape(-1, 4)
        canvas = np.zeros((20, 20), bool)
        for xmin, ymin, xmax, ymax in corners:
            canvas[ymin:ymax, xmin:xmax] = True
        kept = corners[(corners[:, 2] > corners[:, 0]) & (corners[:, 3] > corners[:, 1])]
        if len(kept):
            assert union_area(kept.astype(float)) == canvas.sum()


def test_the_union_of_fractions() -> None:
    boxes = np.array([[0, 0, 1.5, 1], [1, 0.5, 2, 2.5]])
    assert union_area(boxes) == pytest.approx(1.5 + 2 - 0.25)


def test_own_boxes_by_hand(make_dataset: Maker) -> None:
    """Parts of the mask: cat 2 + 2 pixels in boxes of 2 and 2, dog in a box of 6; of 40 pixels."""
    dataset = make_dataset(MASKS, tags=TAGS)
    np.testing.assert_allclose(box_sizes(None, dataset, ["a"], 0.5), [[NAN, 0.05, 0.075]])
    rates = Params({"cat": 1.0, "2": 0.5})
    np.testing.assert_allclose(box_sizes(None, dataset, ["a"], rates), [[NAN, 0.1, 0.075]])


def test_own_boxes_of_an_instance_map(make_dataset: Maker) -> None:
    """As one instance the cat's box is 4 x 2 = 8 pixels."""
    instances = np.where(MASK == 1, 7, np.where(MASK == 2, 9, 0)).astype(np.uint16)
    dataset = make_dataset(MASKS, tags=TAGS, maps={"a": instances})
    np.testing.assert_allclose(box_sizes(None, dataset, ["a", "b"], 1.0)[:, 1], [8 / 40, 4 / 40])


def test_boxes_of_a_file(make_dataset: Maker, tmp_path: Path) -> None:
    dataset = make_dataset(MASKS, tags=TAGS)
    path = tmp_path / "boxes.csv"
    path.write_text("image,class,xmin,ymin,xmax,ymax\na,cat,0,0,2,1\na,cat,1,0,4,2\nb,dog,0,0,10,4\nz,cat,1,1,0,0\n")
    found = box_sizes(path, dataset, ["a", "b"], 0.5)
    np.testing.assert_allclose(found, [[NAN, 7 / 80, NAN], [NAN, NAN, 0.5]])


def test_boxes_that_cover_more_than_the_image_leave_a_little(make_dataset: Maker, tmp_path: Path) -> None:
    path = tmp_path / "boxes.csv"
    path.write_text("image,class,xmin,ymin,xmax,ymax\na,cat,0,0,10,4\na,dog,0,0,10,4\n")
    found = box_sizes(path, make_dataset(MASKS, tags=TAGS), ["a"], Params({"cat": 1.0, "dog": 0.5}))
    np.testing.assert_allclose(found, [[NAN, (1 - FLOOR) * 2 / 3, (1 - FLOOR) / 3]])


def test_faults_of_a_file(make_dataset: Maker, tmp_path: Path) -> None:
    lines = ["image,class,xmin,ymin,xmax,ymax", "a,cat,2,0,2,1", "a,cat,0,0,11,1", "a,cat,0,x,1,1", "b,cat,0,0,1,1"]
    path = tmp_path / "boxes.csv"
    path.write_text("\n".join(lines))
    with pytest.raises(Fault) as caught:
        box_sizes(path, make_dataset(MASKS, tags=TAGS), ["a", "b"], 0.5)
    message = str(caught.value)
    assert "(4 faults)" in message
    for number, cells in ((2, "2, 0, 2, 1"), (3, "0, 0, 11, 1"), (4, "0, x, 1, 1")):
        assert f"line {number}: xmin, ymin, xmax, ymax must be 0 <= xmin < xmax <= 10 and " in message
        assert f"ymax <= 4, is {cells}" in message
    path.write_text("image,class,percent\na,cat,3\n")
    with pytest.raises(Fault, match="has no column xmin, ymin, xmax, ymax"):
        box_sizes(path, make_dataset(MASKS, tags=TAGS), ["a"], 0.5)


def test_rates_that_do_not_fit(make_dataset: Maker) -> None:
    dataset = make_dataset(MASKS, tags=TAGS)
    with pytest.raises(Fault) as caught:
        box_sizes(None, dataset, ["a"], Params({"cat": 0.5, "1": 0.5, "bird": 0.5, "background": 1.0}))
    assert str(caught.value).splitlines()[1:] == [
        "  - no class 'bird'",
        "  - no class 'background'",
        "  - 'dog' has no rate",
        "  - 'cat' has two rates",
    ]


def test_rates_of_classes_that_are_left_out_are_ignored(make_dataset: Maker) -> None:
    dataset = make_dataset(MASKS, tags=TAGS, left_out=("bird",))
    rates = Params({"cat": 0.5, "bird": 0.1, "dog": 0.4})
    np.testing.assert_array_equal(
        box_sizes(None, dataset, ["a"], rates), box_sizes(None, dataset, ["a"], Params({"cat": 0.5, "dog": 0.4}))
    )


def test_own_boxes_need_masks(make_dataset: Maker) -> None:
    with pytest.raises(Fault, match="has no masks of train to draw boxes around"):
        box_sizes(None, make_dataset(has_masks=False), ["a"], 0.5)
