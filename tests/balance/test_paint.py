"""Each rule of painting, on rectangles whose maps are written by hand."""

from __future__ import annotations

import numpy as np
import pytest

from stages.balance.annotations import Annotation, ImageWork
from stages.balance.mapping import CLASSES, table
from stages.balance.paint import paint
from stages.core.dataset import INSTANCE_VOID, VOID

SIDE = 40
ALL = frozenset(range(1, 21))
Box = tuple[int, int, int, int]  # top, left, bottom, right


def box(top: int, left: int, bottom: int, right: int) -> tuple[np.ndarray, ...]:
    """A rectangle as one polygon."""
    return (np.array([left, top, right, top, right, bottom, left, bottom], np.float64),)


def runs(*boxes: Box) -> dict:
    """Rectangles as a run-length code, the form of COCO's crowds: runs by columns, the first one of zeros."""
    pixels = np.zeros((SIDE, SIDE), np.uint8)
    for top, left, bottom, right in boxes:
        pixels[top:bottom, left:right] = 1
    flat = pixels.ravel(order="F")
    edges = np.flatnonzero(np.diff(flat, prepend=0))
    return {"size": [SIDE, SIDE], "counts": np.diff([0, *edges, flat.size]).tolist()}


def drawn(lvis=(), coco=(), crowds=(), known=(), not_exhaustive=()) -> tuple[np.ndarray, np.ndarray]:
    """The maps of objects given as (synset, box), and (class, box) or (class, code) of COCO.

    known: the classes of which LVIS speaks in this image.
    """
    rows = [(Annotation(n, 1, 0, False, box(*b)), table()[synset]) for n, (synset, b) in enumerate(lvis, 1)]
    objects = [(Annotation(n, 1, 0, False, box(*b)), CLASSES.index(name)) for n, (name, b) in enumerate(coco, 1)]
    objects += [(Annotation(n, 1, 0, True, code), CLASSES.index(name)) for n, (name, code) in enumerate(crowds, 100)]
    labels = frozenset(map(CLASSES.index, known))
    incomplete = frozenset(map(CLASSES.index, not_exhaustive))
    return paint(ImageWork("1", SIDE, SIDE, "", False, tuple(rows), tuple(objects), ALL - labels, incomplete))


def expect(maps: tuple[np.ndarray, np.ndarray], *regions: tuple[str, int, Box]) -> None:
    """Compares with rectangles (class or void, id, box) painted one over the other on background."""
    mask, ids = np.zeros((SIDE, SIDE), np.uint8), np.zeros((SIDE, SIDE), np.uint16)
    for name, number, (top, left, bottom, right) in regions:
        void = name == "void"
        mask[top:bottom, left:right] = VOID if void else CLASSES.index(name)
        ids[top:bottom, left:right] = INSTANCE_VOID if void else number
    assert maps[0].dtype == np.uint8
    assert maps[1].dtype == np.uint16
    np.testing.assert_array_equal(maps[0], mask)
    np.testing.assert_array_equal(maps[1], ids)


BIG, SMALL, FAR = (2, 2, 22, 22), (5, 5, 11, 11), (26, 26, 38, 38)


def test_the_smaller_object_keeps_its_pixels_whatever_the_order():
    objects = [("dog.n.01", SMALL), ("sofa.n.01", BIG), ("person.n.01", FAR)]
    for lvis in (objects, objects[::-1]):
        expect(drawn(lvis), ("sofa", 1, BIG), ("dog", 3, SMALL), ("person", 2, FAR))


def test_what_can_hardly_be_seen_is_void_and_the_ids_have_no_gap():
    maps = drawn([("cat.n.01", (0, 0, 3, 3)), ("dog.n.01", (10, 0, 15, 2)), ("sofa.n.01", BIG)])
    expect(maps, ("sofa", 1, BIG), ("void", 0, (0, 0, 3, 3)), ("dog", 2, (10, 0, 15, 2)))


def test_coco_fills_a_class_of_which_lvis_says_nothing():
    expect(drawn(coco=[("person", BIG)]), ("person", 1, BIG))


def test_an_object_of_coco_that_lvis_does_not_have_is_void_where_lvis_speaks_of_the_class():
    expect(drawn(coco=[("person", BIG)], known=["person"]), ("void", 0, BIG))
    expect(drawn([("person.n.01", FAR)], [("person", BIG)], known=["person"]), ("void", 0, BIG), ("person", 1, FAR))


def test_an_object_of_coco_is_void_where_lvis_left_some_out():
    maps = drawn([("person.n.01", FAR)], [("person", BIG), ("person", FAR)], not_exhaustive=["person"])
    expect(maps, ("void", 0, BIG), ("person", 1, FAR))


def test_where_both_are_silent_there_is_background():
    expect(drawn())


@pytest.mark.parametrize("rows", [11, 12])
def test_the_same_object_is_not_there_twice(rows):
    """20 x 20 against `rows` of its rows and 4 columns beside it: IoU below 0.5, or 0.5 and more."""
    lvis, coco = (0, 0, 20, 20), (20 - rows, 0, 20, 24)
    overlap = rows * 20
    same = overlap / (400 + rows * 24 - overlap) >= 0.5
    assert same == (rows == 12)
    maps = drawn([("jeep.n.01", lvis)], [("car", coco)])
    # below: another object, but most of it lies on the jeep: doubtful
    expect(maps, *([] if same else [("void", 0, coco)]), ("car", 1, lvis))


def test_another_object_of_the_class_is_filled_beside_a_special_kind():
    expect(drawn([("cab.n.03", BIG)], [("car", BIG), ("car", FAR)]), ("car", 1, BIG), ("car", 2, FAR))


def test_the_same_object_under_another_class_keeps_the_name_of_lvis():
    expect(drawn([("armchair.n.01", BIG)], [("sofa", BIG)]), ("chair", 1, BIG))


def test_one_object_under_two_names_of_lvis():
    inner = (2, 2, 22, 21)
    expect(drawn([("car.n.01", BIG), ("cab.n.03", inner)]), ("car", 1, BIG))
    expect(drawn([("sofa.n.01", BIG), ("armchair.n.01", inner)]), ("void", 0, BIG))


def test_void_categories_are_void():
    expect(drawn([("pickup.n.01", BIG)]), ("void", 0, BIG))
    expect(drawn([("raft.n.01", BIG), ("person.n.01", SMALL)]), ("void", 0, BIG), ("person", 1, SMALL))


def test_out_wins_over_void_and_void_over_core():
    expect(drawn([("truck.n.01", BIG)], [("car", BIG)]))
    expect(drawn([("truck.n.01", BIG), ("car.n.01", BIG)]))
    expect(drawn([("statue.n.01", BIG)], [("person", BIG)]))
    expect(drawn([("pickup.n.01", BIG)], [("car", BIG)]), ("void", 0, BIG))
    expect(drawn([("cruiser.n.01", BIG), ("car.n.01", BIG)]), ("void", 0, BIG))
    expect(drawn([("bench.n.01", BIG)], [("chair", FAR)]), ("chair", 1, FAR))
    expect(drawn([("truck.n.01", BIG), ("pickup.n.01", BIG)]))
    expect(drawn([("truck.n.01", BIG), ("pickup.n.01", BIG)], [("car", BIG)]))
    expect(drawn([("truck.n.01", FAR), ("pickup.n.01", BIG)]), ("void", 0, BIG))


def test_what_is_out_makes_nothing_doubtful():
    """20 x 20 pixels moved by 4 columns each: IoU 2/3 with the next one, 3/7 with the one after it."""
    truck, pickup, car = ((2, left, 22, left + 20) for left in (2, 6, 10))
    expect(drawn([("truck.n.01", truck), ("pickup.n.01", pickup), ("car.n.01", car)]), ("car", 1, car))
    expect(drawn([("truck.n.01", truck), ("pickup.n.01", pickup)], [("car", car)]), ("car", 1, car))


@pytest.mark.parametrize(
    ("lvis", "coco", "known", "not_exhaustive"),
    [
        ([("raft.n.01", SMALL)], [], [], []),
        ([("table.n.02", SMALL)], [], [], []),
        ([("vase.n.01", SMALL)], [], [], []),
        ([("cat.n.01", SMALL), ("dog.n.01", SMALL)], [], [], []),
        ([("person.n.01", FAR)], [("person", SMALL)], ["person"], []),
        ([("person.n.01", FAR)], [("person", SMALL)], [], ["person"]),
        ([("person.n.01", FAR), ("pickup.n.01", SMALL)], [("car", SMALL)], [], []),
    ],
)
def test_a_doubtful_object_is_void_on_a_larger_one_too(lvis, coco, known, not_exhaustive):
    maps = drawn([("sofa.n.01", BIG), *lvis], coco, known=known, not_exhaustive=not_exhaustive)
    person = [("person", 2, FAR)] if ("person.n.01", FAR) in lvis else []
    expect(maps, ("sofa", 1, BIG), ("void", 0, SMALL), *person)


def test_of_two_with_as_many_pixels_the_doubtful_one_lies_on_top():
    turned = (11, 2, 21, 42 - 2)  # 10 x 38 pixels
    upright = (1, 2, 39, 12)  # 38 x 10
    expect(drawn([("sofa.n.01", turned), ("raft.n.01", upright)]), ("sofa", 1, turned), ("void", 0, upright))


def test_a_doubtful_object_of_a_class_that_is_not_in_doubt_leaves_the_pixels_of_its_class():
    over = (8, 8, 14, 30)
    lvis = [("person.n.01", BIG), ("sofa.n.01", (0, 24, 24, 40))]
    maps = drawn(lvis, [("person", over)], known=["person"])
    expect(maps, ("void", 0, over), ("sofa", 2, lvis[1][1]), ("void", 0, over), ("person", 1, BIG))
    maps = drawn([("car.n.01", BIG), ("pickup.n.01", over)])  # whether this is a car is in doubt
    expect(maps, ("car", 1, BIG), ("void", 0, over))


def test_crowds_are_void_below_the_objects():
    crowd = runs(BIG, (30, 0, 34, 4))
    maps = drawn([("person.n.01", SMALL)], crowds=[("person", crowd)])
    expect(maps, ("void", 0, BIG), ("void", 0, (30, 0, 34, 4)), ("person", 1, SMALL))


def test_a_plain_table_is_a_dining_table_where_coco_has_one():
    expect(drawn([("table.n.02", BIG)]), ("void", 0, BIG))
    expect(drawn([("table.n.02", BIG)], [("diningtable", BIG)]), ("diningtable", 1, BIG))
    expect(drawn([("table.n.02", BIG)], [("diningtable", FAR)]), ("void", 0, BIG), ("diningtable", 1, FAR))
    half = (2, 2, 22, 11)  # 180 of the 400 pixels
    expect(drawn([("table.n.02", BIG)], [("diningtable", half)]), ("void", 0, BIG), ("diningtable", 1, half))
    expect(drawn([("coffee_table.n.01", BIG)], [("diningtable", BIG)]))


def test_a_tablecloth_is_void_where_it_touches_a_table_and_background_elsewhere():
    cloth = (18, 2, 30, 22)
    expect(drawn([("tablecloth.n.01", cloth)]))
    expect(drawn([("tablecloth.n.01", FAR), ("dining_table.n.01", BIG)]), ("diningtable", 1, BIG))
    expect(drawn([("tablecloth.n.01", cloth), ("coffee_table.n.01", BIG)]))
    expect(drawn([("tablecloth.n.01", cloth), ("dining_table.n.01", BIG)]), ("diningtable", 1, BIG), ("void", 0, cloth))
    expect(drawn([("tablecloth.n.01", BIG)], [("diningtable", BIG)]), ("void", 0, BIG))
    large, person = (4, 0, 36, 40), (24, 4, 36, 36)  # larger than the table, and smaller than what stands on it
    maps = drawn([("tablecloth.n.01", large), ("dining_table.n.01", BIG), ("person.n.01", person)])
    expect(maps, ("diningtable", 1, BIG), ("void", 0, large), ("person", 2, person))
    bottle = ("bottle", 2, SMALL)
    maps = drawn([("tablecloth.n.01", large), ("dining_table.n.01", BIG), ("bottle.n.01", SMALL)])
    expect(maps, ("diningtable", 1, BIG), ("void", 0, large), bottle)


def test_potted_plants_come_from_coco_alone():
    for synset in ("pot.n.04", "vase.n.01", "flower_arrangement.n.01", "window_box.n.01"):
        expect(drawn([(synset, BIG)]), ("void", 0, BIG))
        expect(drawn([(synset, BIG)], [("pottedplant", FAR)]), ("pottedplant", 1, FAR))
        expect(drawn([(synset, BIG)], [("pottedplant", BIG)]), ("pottedplant", 1, BIG))


def test_railcars_are_a_train_where_there_is_none():
    cars = [("car.n.02", (2, 2, 22, 10)), ("freight_car.n.01", (2, 12, 22, 22))]
    whole = (0, 0, 23, 23)
    expect(drawn(cars), ("train", 2, cars[0][1]), ("train", 1, cars[1][1]))
    expect(drawn([*cars, ("train.n.01", whole)]), ("train", 1, whole))
    expect(drawn(cars, [("train", whole)]), ("train", 1, whole))
    over = ("car.n.02", (10, 16, 20, 26))  # 70 of 100 pixels on the train
    expect(drawn([over, ("train.n.01", whole)]), ("void", 0, over[1]), ("train", 1, whole))


def test_a_sail_is_void_outside_its_boat_and_does_not_make_the_boat_doubtful():
    expect(drawn([("sail.n.01", (0, 2, 20, 22)), ("boat.n.01", BIG)]), ("void", 0, (0, 2, 20, 22)), ("boat", 1, BIG))
    expect(drawn([("sail.n.01", SMALL), ("boat.n.01", BIG)]), ("boat", 1, BIG))
    expect(drawn([("sail.n.01", SMALL), ("sofa.n.01", BIG)]), ("sofa", 1, BIG), ("void", 0, SMALL))


def test_the_polygons_of_an_object_are_united_and_thin_ones_are_nothing():
    two = (*box(2, 2, 10, 10), *box(2, 20, 10, 28))
    row = table()["dog.n.01"]
    thin = (np.array([3.0, 3.0, 9.0, 9.0]),)
    lvis = ((Annotation(1, 1, 0, False, two), row), (Annotation(2, 1, 0, False, thin), row))
    maps = paint(ImageWork("1", SIDE, SIDE, "", False, lvis, (), ALL, frozenset()))
    expect(maps, ("dog", 1, (2, 2, 10, 10)), ("dog", 1, (2, 20, 10, 28)))


@pytest.mark.parametrize(
    ("outline", "text"),
    [
        ((np.array([1.0, 2.0, 3.0]),), "no list of numbers"),
        ((np.array([1.0, 2.0, np.nan, 1.0, 3.0, 3.0]),), "no list of numbers"),
        ((np.array([1.0, 2.0, 1e9, 1.0, 3.0, 3.0]),), "far outside"),
        ({"size": [3, 3], "counts": [9]}, "of size"),
        ({"size": [SIDE, SIDE], "counts": [9]}, "do not add up"),
        ({"size": [SIDE, SIDE], "counts": [-1, SIDE * SIDE + 1]}, "do not add up"),
        ({"size": [SIDE, SIDE], "counts": "0T^2"}, "RLE"),
    ],
)
def test_wrong_outlines_are_all_named(outline, text):
    lvis = ((Annotation(17, 1, 0, False, outline), table()["dog.n.01"]),)
    coco = ((Annotation(18, 1, 0, False, outline), 1),)
    with pytest.raises(ValueError, match=f"annotation 17 of LVIS: .*{text}.*annotation 18 of COCO: .*{text}"):
        paint(ImageWork("1", SIDE, SIDE, "", False, lvis, coco, ALL, frozenset()))
