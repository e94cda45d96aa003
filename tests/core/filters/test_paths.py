"""Pairs of pixels and the pixels between them: by hand, and by their definition."""

from __future__ import annotations

import numpy as np
import pytest

from stages.core.filters.paths import pair_offsets, pairs, path


@pytest.mark.parametrize(
    ("offset", "pixels"),
    [
        ((0, 1), {(0, 0), (0, 1)}),
        ((0, 3), {(0, 0), (0, 1), (0, 2), (0, 3)}),
        ((2, 0), {(0, 0), (1, 0), (2, 0)}),
        # at 45 degrees the pixels beside the line lie 0.71 from it
        ((1, 1), {(0, 0), (0, 1), (1, 0), (1, 1)}),
        ((1, -1), {(0, 0), (0, -1), (1, 0), (1, -1)}),
        ((2, 2), {(0, 0), (0, 1), (1, 0), (1, 1), (1, 2), (2, 1), (2, 2)}),
        # of the box of 2 x 3 all lie less than 1 from the line through (0, 0) and (1, 2), the corners 2 / sqrt 5
        ((1, 2), {(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2)}),
        # and of that of 3 x 4 the corners lie 6 / sqrt 13 from it, their neighbours in a row 4 / sqrt 13
        ((2, -3), {(0, 0), (0, -1), (1, 0), (1, -1), (1, -2), (1, -3), (2, -2), (2, -3)}),
    ],
)
def test_paths_by_hand(offset: tuple[int, int], pixels: set[tuple[int, int]]) -> None:
    assert set(path(offset)) == pixels
    assert len(path(offset)) == len(pixels)


def test_a_radius_of_two_has_the_eight_neighbours_once() -> None:
    assert pair_offsets(2) == ((0, 1), (1, -1), (1, 0), (1, 1))


@pytest.mark.parametrize(("radius", "count"), [(5, 34), (10, 152)])
def test_offsets_are_half_of_the_disc(radius: int, count: int) -> None:
    """With their opposites and the centre they are all pixels less than the radius away."""
    offsets = pair_offsets(radius)
    both = {*offsets, *((-y, -x) for y, x in offsets), (0, 0)}
    reach = range(-radius, radius + 1)
    assert both == {(y, x) for y in reach for x in reach if y * y + x * x < radius * radius}
    assert len(both) == 2 * len(offsets) + 1 == 2 * count + 1


@pytest.mark.parametrize(("height", "width"), [(7, 9), (2, 8), (6, 1), (1, 1)])
def test_windows_hold_all_pairs_that_fit(height: int, width: int) -> None:
    grid = np.arange(height * width).reshape(height, width)
    found = []
    for pair in pairs(5, height, width):
        found += zip(grid[pair.first].ravel().tolist(), grid[pair.second].ravel().tolist(), strict=True)
        assert {grid[place].shape for place in pair.between} == {grid[pair.first].shape}
    places = list(np.ndindex(height, width))
    near = {
        (one, two)
        for one, (y, x) in enumerate(places)
        for two, (v, u) in enumerate(places)
        if one < two and (v - y) ** 2 + (u - x) ** 2 < 25
    }
    assert len(found) == len(near)
    assert {tuple(sorted(pair)) for pair in found} == near
