"""The pictures of the steps to a pseudo mask."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from stages.core.dataset import VOID, Dataset, DatasetInfo, ImageRecord, write_header
from stages.core.files import write_zip
from stages.core.pictures import HEAT, VOID_GREY
from stages.refine.sheets import step_sheets

SIDE, SHOWN = 200, slice(48, 248)  # pixels of a tile, which is shown as it is; its rows on a sheet
PALETTE = tuple((n, 255 - n, n // 2) for n in range(256))
TAGS = {"a": [1, 2], "b/c": []}


def column(picture: np.ndarray, number: int) -> np.ndarray:
    """A tile of a sheet."""
    left = 8 + number * (SIDE + 4)
    return picture[SHOWN, left : left + SIDE]


@pytest.fixture(params=[True, False])
def dataset(request: pytest.FixtureRequest, tmp_path: Path) -> Dataset:
    """Two grey images of 200 x 200, with and without true masks; class 1 is above class 2."""
    info = DatasetInfo("few", ("background", "cat", "dog"), True, PALETTE, (2, 5), "file", request.param, False)
    records = [ImageRecord(key, ("val",), f"raw:{key}.png", SIDE, SIDE, "") for key in TAGS]
    with write_zip(tmp_path / "raw.zip") as raw, write_zip(tmp_path / "dataset.zip") as archive:
        write_header(archive, info, records, TAGS)
        for key in TAGS:
            raw.png(f"{key}.png", np.full((SIDE, SIDE, 3), 100, np.uint8))
            if info.masks:
                archive.png(f"masks/{key}.png", halves(1, 2))
    return Dataset(tmp_path / "dataset.zip", tmp_path / "raw.zip")


def halves(above: float, below: float, kind: type = np.uint8) -> np.ndarray:
    """A map with two values."""
    return np.repeat(np.array([above, below], kind), SIDE // 2)[:, None].repeat(SIDE, 1)


def test_columns_are_the_steps_in_their_order(dataset: Dataset) -> None:
    low = np.stack([halves(0.5, 0, np.float32), halves(0, 0.25, np.float32)])
    high = np.array([[[1], [0]], [[0], [1]]], np.float32)  # coarse, as the activation maps are
    mask = halves(1, VOID)
    ((name, picture),) = step_sheets(dataset, [("a", {"cam": high, "walk": low, "empty": low * 0}, mask)])
    assert name == "00_a.png"
    first = int(dataset.info.masks)
    assert picture.shape[1] == 16 + (5 + first) * SIDE + (4 + first) * 4
    colours = np.array(PALETTE, np.float32)[[1, 2]]
    colours *= 255 / colours.max(1, keepdims=True)

    def seen(label: int, strength: float) -> np.ndarray:
        opacity = HEAT * round(strength * 255) / 255
        return np.round(100 * (1 - opacity) + colours[label - 1] * opacity)

    np.testing.assert_array_equal(column(picture, 0), np.full((SIDE, SIDE, 3), 100))
    if first:
        np.testing.assert_array_equal(column(picture, 1)[[0, -1], 0], [PALETTE[1], PALETTE[2]])
    np.testing.assert_array_equal(column(picture, first + 1)[[0, -1], 0], [seen(1, 1), seen(2, 1)])
    np.testing.assert_array_equal(column(picture, first + 2)[[0, -1], 0], [seen(1, 0.5), seen(2, 0.25)])
    np.testing.assert_array_equal(column(picture, first + 3), np.full((SIDE, SIDE, 3), 100))
    np.testing.assert_array_equal(column(picture, first + 4)[[0, -1], 0], [PALETTE[1], VOID_GREY])


def test_an_image_without_tags_and_one_without_a_mask(dataset: Dataset) -> None:
    none = np.zeros((0, 3, 3), np.float32)
    scores = np.ones((2, 3, 3), np.float32)
    found = dict(
        step_sheets(dataset, [("b/c", {"cam": none}, np.zeros((SIDE, SIDE), np.uint8)), ("a", {"cam": scores}, None)])
    )
    assert list(found) == ["00_b_c.png", "01_a.png"]
    first = int(dataset.info.masks)
    np.testing.assert_array_equal(column(found["00_b_c.png"], first + 1), np.full((SIDE, SIDE, 3), 100))
    assert (column(found["01_a.png"], first + 2) == 238).all(2).mean() > 0.95  # and a word


def test_scores_beyond_one_are_as_strong_as_one(dataset: Dataset) -> None:
    ones = np.ones((2, 4, 4), np.float32)
    mask = halves(0, 0)
    ((_, one),) = step_sheets(dataset, [("a", {"pamr": ones}, mask)])
    ((_, more),) = step_sheets(dataset, [("a", {"pamr": ones * np.float32(1.00001)}, mask)])
    np.testing.assert_array_equal(one, more)
