"""Sheets: which images, what is in a tile, and what stands for a missing one."""

from __future__ import annotations

import numpy as np

from stages.core.dataset import DatasetInfo
from stages.core.pictures import Tile, heat, painted, sample_ids, sheet, shown_size

PALETTE = ((0, 0, 0), (100, 0, 0), (0, 128, 0), *((9, 9, 9),) * 253)
INFO = DatasetInfo("blocks", ("background", "cat", "dog"), True, PALETTE, (5, 9), "masks", True, False)


def test_samples_are_evenly_spaced_and_stable() -> None:
    ids = [f"{number:02d}" for number in range(24)]
    assert sample_ids(ids[::-1], 4) == ["00", "06", "12", "18"]
    assert sample_ids(ids[:3], 12) == ids[:3]
    assert sample_ids(ids, 0) == []


def test_void_is_light_grey() -> None:
    picture = painted(np.array([[0, 1, 255]], np.uint8), INFO)
    np.testing.assert_array_equal(picture, [[[0, 0, 0], [100, 0, 0], [215, 215, 215]]])


def test_heat_is_the_class_of_the_highest_map_at_its_strength() -> None:
    image = np.full((4, 6, 3), 100, np.uint8)
    cam = np.zeros((2, 4, 6), np.uint8)
    cam[0, :, :2], cam[1, :, 4:] = 255, 255
    cam[0, :, 4:] = 100
    picture = heat(image, cam, np.array([1, 2]), INFO)
    np.testing.assert_array_equal(picture[0, 0], [round(0.15 * 100 + 0.85 * 255), 15, 15])
    np.testing.assert_array_equal(picture[0, 5], [15, round(0.15 * 100 + 0.85 * 255), 15])
    np.testing.assert_array_equal(picture[0, 2:4], [[100] * 3] * 2)
    np.testing.assert_array_equal(heat(image, cam[:0], np.array([], int), INFO), image)


def test_small_tiles_grow_by_whole_factors_and_large_ones_shrink() -> None:
    assert shown_size(96, 96) == (192, 192)
    assert shown_size(24, 30) == (168, 210)
    assert shown_size(200, 300) == (200, 300)
    assert shown_size(480, 640) == (240, 320)


def test_a_sheet_holds_the_tiles_and_none_for_a_missing_one() -> None:
    tile = np.zeros((80, 100, 3), np.uint8)
    tile[:40] = 7, 70, 170
    tiles = [Tile("a title", None if column == 2 else tile) for column in range(5)]
    picture = sheet(tiles, "an id", [1, 2, 255], INFO)
    assert picture.shape[1] == 2 * 8 + 5 * 200 + 4 * 4
    top = 8 + 2 * 20
    for column in range(5):
        left = 8 + column * 204
        if column == 2:
            assert picture[top, left].tolist() == [238, 238, 238]
            assert (picture[top : top + 160, left : left + 200] < 100).any()  # the word
        else:
            np.testing.assert_array_equal(picture[top : top + 160, left : left + 200], tile.repeat(2, 0).repeat(2, 1))
        assert (picture[8 + 20 : top, left : left + 100] < 100).any()  # the title
    below = picture[top + 160 :].reshape(-1, 3).tolist()
    assert [100, 0, 0] in below
    assert [0, 128, 0] in below
    assert [215, 215, 215] in below


def test_a_long_legend_takes_more_lines() -> None:
    info = DatasetInfo(
        "many", tuple(f"class number {n}" for n in range(40)), True, PALETTE, (5, 9), "masks", True, False
    )
    tiles = [Tile("a title", np.zeros((160, 60, 3), np.uint8))] * 5
    assert len(sheet(tiles, "an id", range(40), info)) > len(sheet(tiles, "an id", range(2), info)) + 100


def test_only_smooth_tiles_are_averaged_where_they_shrink() -> None:
    chessboard = np.indices((480, 480)).sum(0)[..., None].repeat(3, 2).astype(np.uint8) % 2 * 200
    picture = sheet([Tile("a", chessboard, smooth=True), Tile("b", chessboard)], "an id", [], INFO)
    assert set(np.unique(picture[48:288, 8:248])) == {100}
    assert set(np.unique(picture[48:288, 252:492])) <= {0, 200}
