"""Outlines are drawn as pycocotools draws them, and as a person would by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from stages.prepare.coco_json import outline_of
from stages.prepare.drawing import Drawing, Outline, draw
from stages.prepare.run_lengths import decode_strings
from tests.prepare.coco_files import counts_of, text_of


def outline(number: int, segmentation: Any, label: int = 1, crowd: bool = False) -> Outline:
    """An outline from COCO's way to write it."""
    form, parts = outline_of(segmentation)
    return Outline(number, label, crowd, form, parts if form == "polygons" else parts[1:])


def random_polygon(generator: np.random.Generator, height: int, width: int) -> list[float]:
    """Corners with two decimals, some of them outside the image or beside each other."""
    corners = generator.integers(3, 30)
    points = generator.uniform(-0.2, 1.2, (corners, 2)) * (width, height)
    if generator.random() < 0.5:  # a small one
        points = points * generator.uniform(0.01, 0.3) + generator.uniform(0, 0.8, 2) * (width, height)
    return points.round(2).ravel().tolist()


def random_segmentation(generator: np.random.Generator, height: int, width: int) -> Any:
    """One to three polygons, or a random mask in either kind of run lengths."""
    kind = generator.integers(4)
    if kind < 2:
        return [random_polygon(generator, height, width) for _ in range(generator.integers(1, 4))]
    mask = generator.random((height, width)) < generator.choice([0, 0.02, 0.5, 1])
    if generator.random() < 0.5:
        mask[: height // 2] = generator.random() < 0.5
    counts = counts_of(mask) if kind == 2 else text_of(mask)
    return {"size": [height, width], "counts": counts}


def ann_to_mask(segmentation: Any, height: int, width: int) -> np.ndarray:
    """(height, width) bool, the steps of COCO.annToMask."""
    if isinstance(segmentation, list):
        encoded = coco_mask.merge(coco_mask.frPyObjects(segmentation, height, width))
    elif isinstance(segmentation["counts"], list):
        encoded = coco_mask.frPyObjects(segmentation, height, width)
    else:
        encoded = segmentation
    return coco_mask.decode(encoded).astype(bool)


@pytest.mark.parametrize("seed", range(5))
def test_random_images_against_pycocotools(seed):
    generator = np.random.default_rng(seed)
    for _ in range(60):
        height, width = generator.integers(1, 90, 2).tolist()
        count = generator.integers(0, 8)
        segmentations = [random_segmentation(generator, height, width) for _ in range(count)]
        labels = generator.integers(1, 81, count).tolist()
        crowds = (generator.random(count) < 0.2).tolist()
        outlines = tuple(map(outline, range(count), segmentations, labels, crowds))
        masks = [ann_to_mask(segmentation, height, width) for segmentation in segmentations]
        for one, truth in zip(outlines, masks, strict=True):
            alone = Outline(one.id, one.label, False, one.form, one.parts)
            assert np.array_equal(draw(Drawing("", height, width, (alone,))).mask == one.label, truth)

        mask, instances = np.zeros((height, width), np.uint8), np.zeros((height, width), np.uint16)
        numbers = np.cumsum(~np.array(crowds, bool))
        for k in sorted(range(count), key=lambda k: (not crowds[k], -int(masks[k].sum()), k)):
            mask[masks[k]] = 255 if crowds[k] else labels[k]
            instances[masks[k]] = 65535 if crowds[k] else numbers[k]
        drawn = draw(Drawing("", height, width, outlines))
        assert (drawn.mask.dtype, drawn.instances.dtype) == (np.uint8, np.uint16)
        assert np.array_equal(drawn.mask, mask)
        assert np.array_equal(drawn.instances, instances)
        assert drawn.empty == sum(not found.any() for found in masks)


def test_random_counts_come_back_from_their_text():
    generator = np.random.default_rng(0)
    masks = [generator.random(generator.integers(1, 60, 2)) < generator.random() for _ in range(100)]
    masks.append(np.ones((3000, 2000), bool))  # counts of several characters
    masks[-1][1234, 777] = False
    decoded = decode_strings([text_of(mask).encode() for mask in masks])
    assert [one.tolist() for one in decoded] == [counts_of(mask) for mask in masks]


def test_a_drawing_without_outlines_is_background():
    drawn = draw(Drawing("", 3, 5, ()))
    assert drawn.mask.shape == drawn.instances.shape == (3, 5)
    assert not drawn.mask.any()
    assert not drawn.instances.any()


def test_one_pixel():
    assert draw(Drawing("", 1, 1, (outline(1, {"size": [1, 1], "counts": [0, 1]}, 80),))).mask.tolist() == [[80]]


def test_what_is_under_a_hole_is_seen():
    ring = np.ones((5, 5), bool)
    ring[2, 2] = False
    outlines = (outline(1, {"size": [5, 5], "counts": counts_of(ring)}, 1), outline(2, [[0, 0, 5, 0, 5, 5, 0, 5]], 2))
    drawn = draw(Drawing("", 5, 5, outlines))
    assert np.array_equal(drawn.mask, np.where(ring, 1, 2))


def test_all_broken_outlines_are_named():
    full = {"size": [2, 2], "counts": [0, 4]}
    outlines = tuple(outline(k, full | {"counts": [k]}) for k in (3, 4, 5))
    with pytest.raises(ValueError, match=r"annotation 3: .*covers 3 pixels.*; annotation 5: .*count of 5") as caught:
        draw(Drawing("", 2, 2, outlines))
    assert "annotation 4" not in str(caught.value)


def test_more_objects_than_numbers():
    one = outline(1, {"size": [1, 1], "counts": [0, 1]})
    with pytest.raises(ValueError, match="65535 objects; an instance map tells 65534 apart"):
        draw(Drawing("", 1, 1, (one,) * 65535))
