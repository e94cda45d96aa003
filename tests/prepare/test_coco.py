"""COCO's format: what is drawn, which images and tags there are."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

from stages.core.dataset import INSTANCE_VOID
from tests.prepare import coco_files
from tests.prepare.coco_files import HEIGHT, WIDTH, annotation, inside, picture, rectangle

COVERED = "COCO_val2014_000000000042"
REAL = os.environ.get("SIZEWISE_REAL_DATA")


def test_maps_by_hand(tmp_path, trees, coco_params, prepared):
    dataset = prepared(coco_files.write(tmp_path / "coco", trees), coco_params(untrained=[]))
    assert dataset.info.classes == ("background", "table", "cup")  # by ascending category id
    assert (dataset.info.background, dataset.info.instances, dataset.info.size_bins) == (True, True, (16, 64))
    assert (dataset.ids("train"), dataset.ids("val")) == (["one", "two"], [COVERED])
    table, cup = inside(4, 5, 16, 25), inside(6, 8, 10, 12)
    mask, instances = np.zeros((2, HEIGHT, WIDTH), int)
    mask[table], mask[cup] = 1, 2
    instances[table], instances[cup] = 1, 2
    assert np.array_equal(dataset.mask("one"), mask)
    assert np.array_equal(dataset.instances("one"), instances)
    assert [dataset.tags(image_id).tolist() for image_id in dataset.records] == [[1, 2], [1], [2]]


def test_crowd_is_void_below_the_objects(tmp_path, trees, coco_params, prepared):
    dataset = prepared(coco_files.write(tmp_path / "coco", trees), coco_params(untrained=[]))
    mask, instances = np.zeros((2, HEIGHT, WIDTH), int)
    mask[inside(0, 0, 8, 8)], instances[inside(0, 0, 8, 8)] = 255, INSTANCE_VOID
    mask[inside(5, 5, 15, 20)], instances[inside(5, 5, 15, 20)] = 1, 1
    assert np.array_equal(dataset.mask("two"), mask)
    assert np.array_equal(dataset.instances("two"), instances)


def test_of_equal_objects_the_later_id_is_seen(tmp_path, trees, coco_params, prepared):
    dataset = prepared(coco_files.write(tmp_path / "coco", trees), coco_params(untrained=[]))
    assert np.array_equal(dataset.mask(COVERED) == 2, inside(2, 2, 9, 9))
    assert np.unique(dataset.instances(COVERED)).tolist() == [0, 2]


def test_ids_all_keeps_images_without_objects(tmp_path, trees, coco_params, prepared):
    source = coco_files.write(tmp_path / "coco", trees)
    dataset = prepared(source, coco_params(ids="all", untrained=[]))
    assert dataset.ids("train") == ["one", "three", "two"]
    assert not dataset.mask("three").any()
    assert dataset.tags("three").size == 0
    assert not any("left out" in note for note in prepared.notes)
    prepared(source, coco_params(untrained=[]))
    assert "mine: images without objects are left out: 1 train, 0 val" in prepared.notes


@pytest.mark.parametrize(("ids", "official", "images"), [("annotated", 82081, 2), ("all", 82783, 3)])
def test_another_number_of_images_than_cocos_is_told(
    tmp_path, trees, coco_params, prepared, monkeypatch, ids, official, images
):
    source = coco_files.write(tmp_path / "coco", trees)
    names = {split: f"annotations/instances_{split}2014.json" for split in trees}
    for split, name in names.items():
        (source / f"annotations/{split}.json").rename(source / name)
    data = coco_params(ids=ids, annotations=names, untrained=[])
    prepared(source, data)
    note = f"mine: {names['train']} gives {images} images (ids: {ids}), COCO's file of this name {official}"
    assert sum(one.startswith(note) for one in prepared.notes) == 1
    assert sum("COCO's file of this name" in one for one in prepared.notes) == 2  # val as well
    monkeypatch.setattr(
        "stages.prepare.coco.OFFICIAL",
        {"instances_train2014.json": {ids: images}, "instances_val2014.json": {ids: 1}},
    )
    prepared(source, data)
    assert not any("COCO's file of this name" in one for one in prepared.notes)


def test_tags_of_annotations_hold_crowds_and_covered_objects(tmp_path, trees, coco_params, prepared):
    source = coco_files.write(tmp_path / "coco", trees)
    dataset = prepared(source, coco_params(tags="annotations", untrained=[]))
    assert [dataset.tags(image_id).tolist() for image_id in dataset.records] == [[1, 2], [1, 2], [1, 2]]
    assert dataset.info.tags == "annotations"
    assert any("differ from the masks in 2 of 3 images, such as two" in note for note in prepared.notes)
    prepared(source, coco_params(untrained=[]))
    assert any("2 of 3 images have an annotated class that their masks do not show" in n for n in prepared.notes)


def test_a_polygon_without_width_is_counted_and_no_fault(tmp_path, trees, coco_params, prepared):
    trees["train"]["annotations"].append(annotation(15, 1, 7, [[3.2, 3.2, 3.2, 3.2, 3.2, 3.2]]))
    dataset = prepared(coco_files.write(tmp_path / "coco", trees), coco_params(untrained=[]))
    assert any("1 annotated objects cover no pixel" in note for note in prepared.notes)
    assert np.unique(dataset.instances("one")).tolist() == [0, 1, 2]


@pytest.mark.parametrize("box", [None, [27.5, 18.2, 2.51, 1.9], [5.1, 3.2, 0, 0]])
def test_boxes_may_be_missing_rounded_or_flat(tmp_path, trees, coco_params, prepared, box):
    trees["train"]["annotations"].append(annotation(15, 1, 7, rectangle(18, 27, 20, 30), bbox=box))
    dataset = prepared(coco_files.write(tmp_path / "coco", trees), coco_params(untrained=[]))
    assert np.array_equal(dataset.instances("one") == 3, inside(18, 27, 20, 30))


def test_the_order_of_the_lists_does_not_matter(tmp_path, trees, coco_params, prepared):
    dataset = prepared(coco_files.write(tmp_path / "coco", trees), coco_params(untrained=[]))
    before = dataset.instances("one"), dataset.ids("train")
    turned = {
        split: {key: tree[key][::-1] for key in ("annotations", "images", "categories")}
        for split, tree in trees.items()
    }
    dataset = prepared(coco_files.write(tmp_path / "coco", turned), coco_params(untrained=[]))
    assert np.array_equal(dataset.instances("one"), before[0])
    assert dataset.ids("train") == before[1]


def test_the_same_bytes_from_any_number_of_processes(tmp_path, trees, coco_params, prepared, monkeypatch):
    for number in range(30, 60):
        trees["train"]["images"].append(picture(number, f"more_{number}.png"))
        trees["train"]["annotations"].append(annotation(number, number, 7, rectangle(0, 0, 3, number % 9 + 1)))
    source = coco_files.write(tmp_path / "coco", trees)
    prepared(source, coco_params())
    before = prepared.out.read_bytes()
    monkeypatch.setenv("SIZEWISE_JOBS", "2")
    prepared(source, coco_params())
    assert prepared.out.read_bytes() == before


@pytest.mark.skipif(not REAL, reason="SIZEWISE_REAL_DATA is not set")
def test_tinycoco(coco_params, prepared):
    from pycocotools.coco import COCO

    source = Path(REAL) / "coco_real/tinycoco"
    data = coco_params(
        annotations={split: f"annotations/instances_{split}2017.json" for split in ("train", "val")},
        images={split: f"images/{split}2017" for split in ("train", "val")},
    )
    rest = prepared.fault(source, data).partition("no training image has ")[2].partition(";")[0].split(", ")
    dataset = prepared(source, coco_params(**data.plain() | {"untrained": rest}))
    assert dataset.num_classes == 81
    assert (dataset.info.classes[1], dataset.info.classes[12], dataset.info.classes[80]) == (
        "person",
        "stop sign",
        "toothbrush",
    )
    crowds = 0
    for split, expected in (("train", 30), ("val", 6)):
        path = source / f"annotations/instances_{split}2017.json"
        theirs = COCO(path)
        labels = {key: label for label, key in enumerate(sorted(theirs.cats), 1)}
        assert (
            len(dataset.ids(split))
            == expected
            == len({a["image_id"] for a in json.loads(path.read_text())["annotations"]})
        )
        for image_id in dataset.ids(split):
            mask, instances = dataset.mask(image_id), dataset.instances(image_id)
            annotations = sorted(theirs.imgToAnns[int(image_id)], key=lambda one: one["id"])
            shapes = [theirs.annToMask(one).astype(bool) for one in annotations]
            painted = np.zeros(mask.shape, np.uint8)
            order = sorted(range(len(shapes)), key=lambda k: (not annotations[k]["iscrowd"], -shapes[k].sum(), k))
            for k in order:
                painted[shapes[k]] = 255 if annotations[k]["iscrowd"] else labels[annotations[k]["category_id"]]
            assert np.array_equal(mask, painted)
            assert np.array_equal(instances == INSTANCE_VOID, mask == 255)
            crowds += (mask == 255).any()
    assert crowds == 5
