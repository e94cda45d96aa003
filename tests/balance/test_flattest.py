"""The flattest choice of a given size against all choices, against `choose`, and below its bound."""

from __future__ import annotations

import itertools
import time

import numpy as np
import pytest

from stages.balance.flattest import bound, effective_cells, flattest
from stages.balance.selection import choose, priorities
from stages.core.faults import Fault


def level(counts: np.ndarray, chosen: np.ndarray) -> float:
    """The effective cells of a choice."""
    return effective_cells(counts[chosen].sum(0))


def test_effective_cells():
    assert effective_cells(np.array([7, 7, 7])) == 3
    assert effective_cells(np.array([0, 9, 0])) == 1
    assert effective_cells(np.array([0, 0])) == 0
    assert effective_cells(np.array([1, 2])) == pytest.approx(9 / 5)
    assert effective_cells(np.array([10, 20])) == effective_cells(np.array([1, 2]))


def test_close_to_the_best_of_all_choices_and_that_is_below_the_bound():
    generator = np.random.default_rng(0)
    shares = []
    for case in range(100):
        counts, images = generator.poisson(0.5, (10, 5)), int(generator.integers(1, 7))
        usable = np.flatnonzero(counts.any(1))
        if images > usable.size:
            continue
        chosen = flattest(counts, images, generator.permutation(10))
        assert chosen.sum() == images
        best = max(effective_cells(counts[list(rows)].sum(0)) for rows in itertools.combinations(usable, images))
        assert level(counts, chosen) <= best * (1 + 1e-12)
        if case % 8 == 0:
            assert best <= bound(counts, chosen) * (1 + 1e-6)
        shares.append(level(counts, chosen) / best)
    assert len(shares) > 80
    assert np.mean(shares) > 0.98
    assert min(shares) > 0.85


def test_never_less_flat_than_choose_with_as_many_images():
    generator = np.random.default_rng(1)
    for _ in range(40):
        counts = generator.poisson(generator.choice([0.05, 0.2, 0.8], 12), (40, 12))
        priority = generator.permutation(40)
        rows = choose(counts, int(generator.integers(2, 8)), priority)
        assert level(counts, flattest(counts, int(rows.sum()), priority)) >= level(counts, rows)


def test_no_exchange_of_one_image_for_another_helps():
    generator = np.random.default_rng(2)
    counts = generator.poisson(0.4, (40, 9))
    chosen = flattest(counts, 12, np.arange(40))
    found = level(counts, chosen)
    for inside, outside in itertools.product(np.flatnonzero(chosen), np.flatnonzero(~chosen)):
        other = chosen.copy()
        other[[inside, outside]] = False, True
        assert level(counts, other) <= found * (1 + 1e-12)


def test_a_level_choice_is_found_and_meets_its_bound():
    counts = np.eye(6, dtype=int).repeat([9, 5, 5, 7, 5, 5], 0)
    chosen = flattest(counts, 30, np.random.default_rng(0).permutation(len(counts)))
    np.testing.assert_array_equal(counts[chosen].sum(0), [5] * 6)
    assert bound(counts, chosen) == pytest.approx(6, rel=1e-6)


def test_the_order_of_the_pool_changes_nothing():
    generator = np.random.default_rng(3)
    ids, counts = [f"image_{number}" for number in range(80)], generator.integers(0, 2, (80, 6))

    def names(order: np.ndarray) -> set[str]:
        shuffled = [ids[row] for row in order]
        return {shuffled[row] for row in np.flatnonzero(flattest(counts[order], 20, priorities(shuffled, 0)))}

    expected = names(np.arange(80))
    assert all(names(generator.permutation(80)) == expected for _ in range(5))


def test_images_without_instances_are_never_chosen_and_too_many_are_refused():
    counts = np.array([[0, 0], [1, 0], [0, 2]])
    np.testing.assert_array_equal(flattest(counts, 2, np.arange(3)), [False, True, True])
    for images in (0, 3):
        with pytest.raises(Fault, match="2 images of the pool have an instance"):
            flattest(counts, images, np.arange(3))


def test_a_pool_of_thousands_ends_within_a_percent_of_the_bound(capsys: pytest.CaptureFixture):
    generator = np.random.default_rng(4)
    counts = generator.poisson(3 * generator.dirichlet(np.full(60, 0.5)), (5000, 60))
    start = time.perf_counter()
    chosen = flattest(counts, 1137, generator.permutation(5000))
    middle = time.perf_counter()
    best = bound(counts, chosen)
    with capsys.disabled():
        print(f"\n5000 images x 60 cells: {middle - start:.1f} s, bound {time.perf_counter() - middle:.1f} s")  # noqa: T201
    assert chosen.sum() == 1137
    assert 0.99 * best < level(counts, chosen) <= best * (1 + 1e-6)
    assert level(counts, chosen) > 1.5 * effective_cells(counts.sum(0))
