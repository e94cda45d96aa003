"""COCO's format: every fault of an annotation, image or category is told with its id, all at once."""

from __future__ import annotations

import pytest

from tests.prepare import coco_files
from tests.prepare.coco_files import HEIGHT, WIDTH, annotation, picture, rectangle

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
