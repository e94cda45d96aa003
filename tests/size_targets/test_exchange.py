"""Partners and images without sizes: by hand, and what a new image changes."""

from __future__ import annotations

import numpy as np
import pytest

from stages.size_targets.corrupt import noise
from stages.size_targets.exchange import chances, partners, swapped, uniform, without_sizes

SIZES = np.array(
    [
        [0.5, 0.5, 0, 0],
        [0.2, 0, 0.3, 0.5],
        [0.9, 0, 0, 0.1],
        [0.4, 0.4, 0.2, 0],
        [0.1, 0.3, 0.3, 0.3],
    ]
)


def test_swapped_by_hand() -> None:
    """Images 0 and 2 have one object, 1 and 3 two, and 4 is alone with three."""
    everyone = np.stack([np.zeros(5), [0.1, 0.5, 0.7, 0.2, 0.3]], axis=1)
    expected = [[0.9, 0.1, 0, 0], [0.4, 0, 0.4, 0.2], [0.5, 0, 0, 0.5], [0.2, 0.3, 0.5, 0], SIZES[4]]
    np.testing.assert_array_equal(swapped(SIZES, everyone, 1, True), expected)
    first = everyone.copy()
    first[1:, 0] = 0.5
    np.testing.assert_array_equal(swapped(SIZES, first, 0.5, True), [expected[0], *SIZES[1:]])
    np.testing.assert_array_equal(swapped(SIZES, everyone, 0, True), SIZES)


def test_without_a_background_label_0_is_a_class() -> None:
    sizes = np.array([[0, 0.2, 0.8], [0.7, 0.3, 0]])
    expected = [[0, 0.7, 0.3], [0.2, 0.8, 0]]
    np.testing.assert_array_equal(swapped(sizes, np.array([[0, 0.1], [0, 0.2]]), 1, False), expected)


def test_partners_are_those_of_a_naive_search() -> None:
    """100 random sets: the next place among those with the same number, around the circle."""
    random = np.random.default_rng(0)
    for _ in range(100):
        number, places = random.integers(0, 4, 12), random.random(12)
        for index, found in enumerate(partners(number, places)):
            same = np.flatnonzero(number == number[index])
            distance = np.where(same == index, 1, (places[same] - places[index]) % 1)
            assert found == same[distance.argmin()]


def test_a_new_image_changes_one_other_at_most() -> None:
    random = np.random.default_rng(1)
    sizes = random.dirichlet(np.ones(4), 200) * (random.random((200, 4)) < 0.6)
    sizes[:, 0] = 1 - sizes[:, 1:].sum(1)
    draws = chances([str(number) for number in range(200)], 0)
    full = swapped(sizes, draws, 1, True)
    np.testing.assert_allclose(full.sum(1), 1)
    np.testing.assert_array_equal(full[:, 1:] > 0, sizes[:, 1:] > 0)
    assert (full != sizes).any(1).mean() > 0.8
    changed = []
    for left_out in range(200):
        rest = np.delete(np.arange(200), left_out)
        found = swapped(sizes[rest], draws[rest], 1, True)
        changed.append((found != full[rest]).any(1).sum())
    assert max(changed) == 1


def test_images_without_sizes_have_uniform_targets() -> None:
    draws = np.array([[0.1, 0], [0.5, 0], [0.3, 0], [0.9, 0], [0.39, 0]])
    expected = [[1 / 2, 1 / 2, 0, 0], SIZES[1], [1 / 2, 0, 0, 1 / 2], SIZES[3], [1 / 4] * 4]
    np.testing.assert_array_equal(without_sizes(SIZES, draws, 0.4, True), expected)
    np.testing.assert_array_equal(without_sizes(SIZES[:1], draws[:1], 0.4, True), uniform(SIZES[:1] > 0))


def test_the_background_is_one_of_the_tags_even_where_an_object_fills_the_image() -> None:
    full = np.array([[0.0, 1.0, 0.0]])
    np.testing.assert_array_equal(without_sizes(full, np.zeros((1, 2)), 1, True), [[0.5, 0.5, 0]])
    np.testing.assert_array_equal(without_sizes(full, np.zeros((1, 2)), 1, False), full)


@pytest.mark.parametrize("share", [0.1, 0.5])
def test_chances_belong_to_the_id(share: float) -> None:
    ids = [str(number) for number in range(4000)]
    draws = chances(ids, 3)
    np.testing.assert_array_equal(chances(ids[5:9], 3), draws[5:9])
    assert (draws[:, 0] < share).mean() == pytest.approx(share, abs=0.03)
    assert abs(np.corrcoef(draws.T)[0, 1]) < 0.05
    assert abs(np.corrcoef(draws[:, 0], noise(ids, 1, 3)[:, 0])[0, 1]) < 0.05
    assert not np.intersect1d(draws, chances(ids, 4)).size
