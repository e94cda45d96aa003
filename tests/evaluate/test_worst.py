"""The sheets of the worst instances: which are chosen, what a tile shows, and what becomes of large and tiny crops."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import ImageFont

from stages.core.dataset import Dataset, DatasetInfo, ImageRecord, write_header
from stages.core.files import ZipReader, encode_png, write_zip
from stages.evaluate.worst import PREDICTED, TRUTH, around, fitted, resized, tile, worst, worst_sheets

SIDE = 64  # pixels of the images
PALETTE = ((0, 0, 0), (200, 0, 0), (0, 150, 0), *((0, 0, 0),) * 253)
GREY = 99  # of every photograph
SMALL, MEDIUM = (2, 3, 6), (20, 30, 14)  # top, left and side of the two squares of every image: 36 and 196 pixels
SHIFTED = (2, 5, 6)  # where the small one is predicted: two columns to the right
IDS = (7, 300)  # in the instance map


def window(place: tuple[int, int, int]) -> tuple[slice, slice]:
    top, left, side = place
    return slice(top, top + side), slice(left, left + side)


@pytest.fixture
def archives(tmp_path: Path) -> tuple[Dataset, ZipReader]:
    """Three images with a small cat and a medium dog; cats are predicted shifted, dogs not at all."""
    info = DatasetInfo("squares", ("background", "cat", "dog"), True, PALETTE, (100, 400), "masks", True, True)
    names = ["a", "b", "c"]
    records = [ImageRecord(name, ("val",), f"raw:{name}.png", SIDE, SIDE, "") for name in names]
    mask, instances = np.zeros((SIDE, SIDE), np.uint8), np.zeros((SIDE, SIDE), np.uint16)
    prediction = np.zeros((SIDE, SIDE), np.uint8)
    for label, (place, identity) in enumerate(zip((SMALL, MEDIUM), IDS, strict=True), start=1):
        mask[window(place)], instances[window(place)] = label, identity
    prediction[window(SHIFTED)] = 1
    with (
        write_zip(tmp_path / "raw.zip") as raw,
        write_zip(tmp_path / "dataset.zip") as dataset,
        write_zip(tmp_path / "predictions.zip") as predictions,
    ):
        write_header(dataset, info, records, {name: [1, 2] for name in names})
        for name in names:
            raw.png(f"{name}.png", np.full((SIDE, SIDE, 3), GREY, np.uint8))
            dataset.png(f"masks/{name}.png", mask)
            dataset.png(f"instances/{name}.png", instances)
            predictions.png(f"masks/{name}.png", prediction)
    return Dataset(tmp_path / "dataset.zip", tmp_path / "raw.zip"), ZipReader(tmp_path / "predictions.zip")


def row(image_id: str, instance: int, iou: float, size: str = "small") -> dict[str, Any]:
    return {"id": image_id, "instance": instance, "class": "cat", "size": 36, "bin": size, "iou": iou, "missed": 0}


def rows_of(names: Sequence[str]) -> list[dict[str, Any]]:
    cats = [row(name, IDS[0], 0.5) for name in names]
    return cats + [row(name, IDS[1], 0.0, "medium") | {"class": "dog", "size": 196} for name in names]


def chosen(rows: list[dict[str, Any]], count: int) -> list[tuple[str, int]]:
    return [(row["id"], row["instance"]) for row in worst(rows, count)]


def test_the_lowest_iou_comes_first_and_ties_go_by_id_and_instance() -> None:
    rows = [row("b", 3, 0.2), row("a", 10, 0.2), row("a", 9, 0.2), row("c", 1, 0.1), row("d", 1, 0.9)]
    assert chosen(rows, 4) == [("c", 1), ("a", 9), ("a", 10), ("b", 3)]
    assert chosen(rows[::-1], 4) == chosen(rows, 4)
    assert chosen(rows, 99)[-1] == ("d", 1)
    assert chosen(rows, 0) == []


def test_at_most_two_are_of_one_image() -> None:
    rows = [row("a", instance, 0.0) for instance in range(1, 6)] + [row("b", 1, 0.5), row("c", 1, 0.6)]
    assert chosen(rows, 3) == [("a", 1), ("a", 2), ("b", 1)]
    assert chosen(rows, 12) == [("a", 1), ("a", 2), ("b", 1), ("c", 1)]


def test_each_size_that_has_instances_has_a_sheet(archives: tuple[Dataset, ZipReader]) -> None:
    dataset, predictions = archives
    pictures = dict(worst_sheets(dataset, rows_of("abc"), predictions))
    assert list(pictures) == ["worst_small.png", "worst_medium.png"]
    for picture in pictures.values():
        assert picture.dtype == np.uint8
        assert picture.shape[1:] == (4 * 192 + 3 * 4 + 2 * 8, 3)
        assert 192 < len(picture) < 2 * 192  # one line of tiles
        assert (picture == PREDICTED).all(2).any()
    assert list(worst_sheets(dataset, rows_of("abc"), predictions, 0)) == []
    assert list(worst_sheets(dataset, [], predictions)) == []


def test_twelve_instances_take_three_lines(
    archives: tuple[Dataset, ZipReader], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stages.evaluate.worst.OF_ONE_IMAGE", 99)
    dataset, predictions = archives
    ((_, twelve),) = worst_sheets(dataset, [row("a", IDS[0], 0.5)] * 20, predictions, 12)
    ((_, four),) = worst_sheets(dataset, [row("a", IDS[0], 0.5)] * 20, predictions, 4)
    assert len(twelve) - len(four) == 2 * (192 + 2 * 20 + 2 * 4)


def test_the_sheets_are_the_same_bytes_twice(archives: tuple[Dataset, ZipReader]) -> None:
    dataset, predictions = archives
    one, two = (
        [(name, encode_png(picture)) for name, picture in worst_sheets(dataset, rows, predictions)]
        for rows in (rows_of("abc"), rows_of("cba"))
    )
    assert one == two


def coloured(picture: np.ndarray, colour: tuple[int, int, int]) -> np.ndarray:
    return (picture == colour).all(2)


def test_the_outline_lies_on_the_border_pixels_of_the_instance(archives: tuple[Dataset, ZipReader]) -> None:
    """The small square is shown with the upper left 32 x 32 pixels of the image, each as 6 x 6."""
    picture = tile(archives[0], row("a", IDS[0], 0.5), archives[1])
    assert picture.shape == (192, 192, 3)
    border = np.zeros((32, 32), bool)
    border[window(SMALL)] = True
    border[3:7, 4:8] = False
    drawn = coloured(picture, TRUTH)
    assert (drawn <= border.repeat(6, 0).repeat(6, 1)).all()
    by_pixel = drawn.reshape(32, 6, 32, 6).any((1, 3))
    np.testing.assert_array_equal(by_pixel, border)
    assert drawn.sum() == 36**2 - (36 - 4) ** 2  # two pixels wide, inside the 36 x 36 pixels


def test_the_predictions_outline_lies_around_it_and_under_that_of_the_truth(
    archives: tuple[Dataset, ZipReader],
) -> None:
    picture = tile(archives[0], row("a", IDS[0], 0.5), archives[1])
    drawn = coloured(picture, PREDICTED)
    top, left, side = (6 * value for value in SHIFTED)
    assert not drawn[top : top + side, left : left + side].any()
    ring = np.zeros((192, 192), bool)
    ring[top - 2 : top + side + 2, left - 2 : left + side + 2] = True
    ring[top : top + side, left : left + side] = False
    np.testing.assert_array_equal(drawn, ring & ~coloured(picture, TRUTH))
    assert drawn.sum() > 100


def test_what_is_far_from_an_outline_is_the_photograph(archives: tuple[Dataset, ZipReader]) -> None:
    picture = tile(archives[0], row("a", IDS[0], 0.5), archives[1])
    assert (picture[80:, 100:] == GREY).all()
    assert (picture[6 * 2 - 1, 6 * 3 : 6 * 5 - 4] == GREY // 3).all()  # the dark edge along the truth


def test_only_predictions_of_the_instances_class_are_outlined(archives: tuple[Dataset, ZipReader]) -> None:
    """The dog is shown with the cat beside it, whose prediction is not of its class."""
    picture = tile(archives[0], row("a", IDS[1], 0.0), archives[1])
    assert coloured(picture, TRUTH).any()
    assert not coloured(picture, PREDICTED).any()


@pytest.mark.parametrize(
    ("place", "size", "expected"),
    [
        ((100, 100, 4, 4), (300, 300), ((86, 118), (86, 118))),  # 32 pixels at least, centred
        ((0, 290, 10, 10), (300, 300), ((0, 32), (268, 300))),  # moved into the image
        ((100, 100, 20, 10), (300, 300), ((86, 134), (81, 129))),  # 40 pixels are needed, 48 make a tile
        ((100, 50, 120, 150), (250, 400), ((0, 250), (0, 300))),  # 300 are needed, the image is 250 high
        ((5, 5, 10, 10), (20, 24), ((0, 20), (0, 24))),  # an image smaller than a crop
    ],
)
def test_the_window_around_an_instance(
    place: tuple[int, int, int, int], size: tuple[int, int], expected: tuple[tuple[int, int], tuple[int, int]]
) -> None:
    top, left, height, width = place
    instance = np.zeros(size, bool)
    instance[top : top + height, left : left + width] = True
    found = around(instance)
    assert tuple((span.start, span.stop) for span in found) == expected


def test_crops_grow_by_whole_factors_and_shrink_to_a_tile() -> None:
    assert resized(np.zeros((32, 32, 3), np.uint8), smooth=True).shape == (192, 192, 3)
    assert resized(np.zeros((20, 24), np.uint8), smooth=False).shape == (120, 144)
    assert resized(np.zeros((1, 1), np.uint8), smooth=False).shape == (6, 6)
    assert resized(np.zeros((150, 192), np.uint8), smooth=False).shape == (150, 192)
    assert resized(np.zeros((192, 384, 3), np.uint8), smooth=True).shape == (96, 192, 3)
    pixels = np.array([[1, 2], [3, 4]], np.uint8)
    np.testing.assert_array_equal(resized(pixels, smooth=True)[::6, ::6], pixels)
    halves = np.zeros((384, 384), np.uint8)
    halves[:, 1::2] = 1
    assert set(np.unique(resized(halves, smooth=False))) <= {0, 1}


def test_a_long_name_keeps_its_end() -> None:
    font = ImageFont.load_default(14)
    assert fitted("val_00001", font, 192) == "val_00001"
    shown = fitted("a/very/long/path/of/an/image/" * 3 + "00001", font, 192)
    assert shown.startswith("...")
    assert shown.endswith("00001")
    assert font.getlength(shown) <= 192
