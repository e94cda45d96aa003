"""COCO's format: what is drawn, which images and tags there are, and every fault of an annotation with its id."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stages.core.dataset import INSTANCE_VOID
from stages.core.params import Params
from tests.prepare import coco_files
from tests.prepare.coco_files import HEIGHT, WIDTH, annotation, inside, picture, rectangle

DATA = {
    "format": "coco",
    "annotations": {"train": "annotations/train.json", "val": "annotations/val.json"},
    "images": {"train": "pictures/train", "val": "pictures/val"},
    "crowd": "void",
    "ids": "annotated",
    "tags": "masks",
    "untrained": [],
    "size_bins": [16, 64],
    "headline": "val",
}
COVERED = "COCO_val2014_000000000042"
REAL = os.environ.get("SIZEWISE_REAL_DATA")


@pytest.fixture
def coco_params() -> Callable[..., Params]:
    """The section of params.yaml for `coco`, with changes."""
    return lambda **changes: Params(DATA | {"untrained": ["cup"]} | changes)


@pytest.fixture
def trees() -> dict[str, dict[str, Any]]:
    """The content of the JSONs, to be changed."""
    return coco_files.content()


@pytest.fixture
def faults_of(tmp_path, trees, coco_params, prepared) -> Callable[..., str]:
    """The message on the data set as `trees` is now."""
    return lambda **changes: prepared.fault(coco_files.write(tmp_path / "coco", trees), coco_params(**changes))


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


RLE = {"size": [HEIGHT, WIDTH], "counts": [0, HEIGHT * WIDTH]}
BROKEN = [
    (annotation(90, 1, 8, rectangle(0, 0, 3, 3)), "annotation 90: category 8 is not among"),
    (annotation(90, 77, 7, rectangle(0, 0, 3, 3)), "annotation 90: image 77 is not among"),
    (annotation(90, 1, 7, [[1, 1, 2, 2]]), "annotation 90: a polygon of 4 numbers; it needs 6"),
    (annotation(90, 1, 7, [[]]), "annotation 90: a polygon of 0 numbers; it needs 6"),
    (annotation(90, 1, 7, [[1, 1, 2, 2, 3, 3, 4]]), "annotation 90: a polygon of 7 numbers; it needs an even number"),
    (annotation(90, 1, 7, [[1, 1, 2, 2, 3, float("nan")]]), "annotation 90: a polygon must be a list of finite"),
    (annotation(90, 1, 7, [["1", "1", "2", "2", "3", "3"]]), "annotation 90: a polygon must be a list of finite"),
    (annotation(90, 1, 7, [[1, 1, 2, 2, 3, 10**40]]), "annotation 90: a polygon must be a list of finite"),
    (annotation(90, 1, 7, [[1, [1], 2, 2, 3, 4]]), "annotation 90: a polygon must be a list of finite"),
    (annotation(90, 1, 7, [[1, 1, 2, 2, 3, 1e12]]), "annotation 90: its polygons span x 1 to 3, y 1 to 1e+12, far"),
    (annotation(90, 1, 7, []), "annotation 90: it has no segmentation"),
    (annotation(90, 1, 7, None), "annotation 90: it has no segmentation"),
    (annotation(90, 1, 7, 5), "annotation 90: its segmentation must be a list of polygons, or"),
    (annotation(90, 1, 7, RLE | {"counts": 5}), "annotation 90: its segmentation must be a list of polygons, or"),
    (annotation(90, 1, 7, {"counts": [600]}), "annotation 90: its segmentation must be a list of polygons, or"),
    (annotation(90, 1, 7, RLE | {"size": [30, 20]}), "annotation 90: its RLE is of 30 x 20 pixels (height x width)"),
    (annotation(90, 1, 7, RLE | {"counts": [0, 599]}), "annotation 90: its RLE covers 599 pixels; the image has 20 x"),
    (annotation(90, 1, 7, RLE | {"counts": [700, -100]}), "annotation 90: its RLE has a negative count"),
    (annotation(90, 1, 7, RLE | {"counts": [2**62] * 4 + [600]}), "annotation 90: its RLE has a count of 46116860184"),
    (annotation(90, 1, 7, RLE | {"counts": ""}), "annotation 90: its RLE covers 0 pixels"),
    (annotation(90, 1, 7, RLE | {"counts": "5"}), "annotation 90: its RLE covers 5 pixels"),
    (annotation(90, 1, 7, RLE | {"counts": "zz"}), "annotation 90: its RLE has characters beyond those"),
    (annotation(90, 1, 7, RLE | {"counts": "5P"}), "annotation 90: its RLE ends within a number"),
    (annotation(90, 1, 7, RLE | {"counts": "o" * 99 + "0"}), "annotation 90: its RLE has a number that no image needs"),
    (annotation(90, 1, 7, rectangle(0, 0, 3, 3), bbox=[40, 0, 5, 5]), "annotation 90: its bbox [40, 0, 5, 5] (x, y,"),
    (annotation(90, 1, 7, rectangle(0, 0, 3, 3), bbox=[0, 0, -5, 5]), "annotation 90: its bbox [0, 0, -5, 5] (x, y,"),
    (annotation(90, 1, 7, rectangle(0, 0, 3, 3), bbox=[0, 0]), "annotation 90: its bbox must be four numbers"),
    (annotation(90, 1, 7, rectangle(0, 0, 3, 3), bbox=[0, 0, 1, 10**400]), "annotation 90: its bbox must be four"),
    (annotation(90, 1, 7, [1, 1, 2, 2, 3, 3]), "annotation 90: a polygon must be a list of finite numbers"),
    (annotation(90, 1, 7, rectangle(0, 0, 3, 3), iscrowd=2), "annotation 90: iscrowd is 2; allowed are 0 and 1"),
    (annotation(11, 1, 7, rectangle(0, 0, 3, 3)), "annotation 11: the id stands there twice"),
    (annotation("90", 1, 7, rectangle(0, 0, 3, 3)), "annotation 5 of the list needs an id"),
    ({"id": 90, "category_id": 7}, "annotation 5 of the list needs an id, a whole number, and an image_id"),
]


@pytest.mark.parametrize(("entry", "words"), BROKEN)
def test_broken_annotation(trees, faults_of, entry, words):
    trees["train"]["annotations"].append(entry)
    message = faults_of()
    assert "(1 fault)" in message
    assert "annotations/train.json" in message
    assert words in message


def test_all_broken_annotations_at_once(trees, faults_of):
    for number, (entry, _) in enumerate(BROKEN[:-3], 100):
        trees["train"]["annotations"].append(entry | {"id": number})
    message = faults_of()
    assert all(f"annotation {number}: " in message for number in range(100, 100 + len(BROKEN) - 3))


def test_one_id_twice(trees, faults_of):
    trees["train"]["images"].append(picture(9, "one.jpg"))
    trees["train"]["annotations"].append(annotation(90, 9, 7, rectangle(0, 0, 3, 3)))
    assert "annotations/train.json: images 1 and 9 have the same id one" in faults_of()


def test_image_of_two_splits(trees, faults_of):
    trees["val"]["images"].append(picture(9, "one.png"))
    trees["val"]["annotations"].append(annotation(90, 9, 7, rectangle(0, 0, 3, 3)))
    message = faults_of()
    assert "annotations/val.json: one is an image of split train too" in message
    assert "one: in train and in val" in message


def test_splits_with_other_categories(trees, faults_of):
    trees["val"]["categories"] = [{"id": 3, "name": "table"}, {"id": 8, "name": "cup"}]
    trees["val"]["annotations"] = []
    assert "annotations/val.json has other categories than annotations/train.json" in faults_of()


@pytest.mark.parametrize(
    ("categories", "words"),
    [
        ([*coco_files.CATEGORIES, {"id": 3, "name": "chair"}], "category 3 (chair) stands there twice"),
        ([*coco_files.CATEGORIES, {"id": "x", "name": "chair"}], "category 3 of the list needs a whole number as id"),
        ([*coco_files.CATEGORIES, {"id": 9, "name": "background"}], "has a category named background"),
        ([{"id": k, "name": f"n{k}"} for k in range(300)], "has 300 categories; allowed are 1 to 254"),
    ],
)
def test_broken_categories(trees, faults_of, categories, words):
    trees["train"]["categories"] = categories
    assert words in faults_of()


def test_image_of_another_size(trees, faults_of):
    trees["train"]["images"][1]["height"] = 10**4
    message = faults_of()
    assert "annotations/train.json, image 1: 10000 x 30 pixels (height x width), but its image" in message
    assert "pictures/train/one.png has 20 x 30" in message


def test_absurd_size(trees, faults_of):
    trees["train"]["images"][1]["height"] = 10**9
    assert "image 1 of 1000000000 x 30 pixels; allowed are" in faults_of()


def test_missing_image_file(tmp_path, trees, coco_params, prepared):
    source = coco_files.write(tmp_path / "coco", trees)
    (source / "pictures/train/one.png").unlink()
    message = prepared.fault(source, coco_params())
    assert "pictures/train/one.png is missing; annotations/train.json lists the image" in message


def test_image_outside_its_folder_is_not_looked_for(trees, faults_of):
    trees["train"]["images"][1]["file_name"] = "../val/COCO_val2014_000000000042.png"
    assert "pictures/train/../val/COCO_val2014_000000000042.png is missing" in faults_of()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"{", "annotations/val.json: Expecting property name"),
        (b"\xff", "annotations/val.json is not UTF-8 text"),
        (b"[" * 10**5, "annotations/val.json"),
        (b"[]", "annotations/val.json has no list images, annotations, categories"),
        (b'{"images": [], "annotations": {}}', "annotations/val.json has no list annotations, categories"),
    ],
)
def test_no_instances_json(tmp_path, trees, coco_params, prepared, text, words):
    source = coco_files.write(tmp_path / "coco", trees)
    (source / "annotations/val.json").write_bytes(text)
    assert words in prepared.fault(source, coco_params())


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
