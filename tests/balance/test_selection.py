"""The greedy choice against all subsets, against chance, and in pools whose best choice is plain to see."""

from __future__ import annotations

import itertools

import numpy as np

from stages.balance.selection import choose, deviation, priorities


def every_subset(counts: np.ndarray, target: int) -> np.ndarray:
    """The deviation of each subset of a small pool."""
    subsets = np.array(list(itertools.product([0, 1], repeat=len(counts))))
    return ((subsets @ counts - target) ** 2).sum(1)


def test_one_instance_per_image_fills_every_cell_exactly() -> None:
    counts = np.eye(6, dtype=int).repeat(5, 0)
    chosen = choose(counts, 3, np.random.default_rng(0).permutation(len(counts)))
    np.testing.assert_array_equal(counts[chosen].sum(0), [3] * 6)


def test_a_cell_with_too_few_images_takes_them_all() -> None:
    counts = np.eye(2, dtype=int)[[0, 0, 1, 1, 1, 1]]
    chosen = choose(counts, 3, np.arange(6))
    np.testing.assert_array_equal(counts[chosen].sum(0), [2, 3])


def test_an_image_that_overfills_one_cell_is_left_out() -> None:
    counts = np.array([[2, 0], [9, 1], [0, 2]])
    np.testing.assert_array_equal(choose(counts, 2, np.arange(3)), [True, False, True])


def test_a_first_choice_is_taken_back_when_better_ones_follow() -> None:
    # rows 0, 2, 3 and 1 are each the best next one; then the cells hold (5, 4, 5), and without row 2 exactly 4
    counts = np.array([[1, 3, 1], [0, 0, 3], [1, 0, 1], [3, 1, 0]])
    np.testing.assert_array_equal(choose(counts, 4, np.arange(4)), [True, True, False, True])


def test_images_without_instances_are_never_chosen() -> None:
    assert not choose(np.zeros((4, 3), int), 5, np.arange(4)).any()
    assert choose(np.zeros((0, 3), int), 5, np.arange(0)).size == 0


def test_no_single_image_improves_the_result_and_all_subsets_are_little_better() -> None:
    generator = np.random.default_rng(0)
    exact, loss = 0, []
    for _ in range(150):
        counts, target = generator.poisson(0.4, (11, 6)), int(generator.integers(1, 4))
        chosen = choose(counts, target, generator.permutation(11))
        found, best = deviation(counts, chosen, target), every_subset(counts, target).min()
        for image in range(11):
            other = chosen.copy()
            other[image] ^= True
            assert deviation(counts, other, target) >= found
        exact += found == best
        loss.append((found - best) / (6 * target**2))
    assert exact > 70
    assert np.mean(loss) < 0.05
    assert max(loss) < 0.35


def test_much_closer_to_the_target_than_chance() -> None:
    generator = np.random.default_rng(1)
    rates = generator.choice([0.04, 0.1, 0.4], 24)  # some cells are rare, as small objects are
    counts = generator.poisson(rates, (400, 24))
    chosen = choose(counts, 10, generator.permutation(400))
    found = deviation(counts, chosen, 10)
    for _ in range(20):
        drawn = np.isin(np.arange(400), generator.choice(400, chosen.sum(), replace=False))
        assert found < deviation(counts, drawn, 10) / 5
    assert (counts[chosen].sum(0)[counts.sum(0) >= 30] >= 8).all()


def test_the_order_of_the_pool_changes_nothing_and_the_seed_does() -> None:
    generator = np.random.default_rng(2)
    ids = [f"image_{number}" for number in range(80)]
    counts = generator.integers(0, 2, (80, 6))

    def names(order: np.ndarray, seed: int) -> set[str]:
        shuffled = [ids[index] for index in order]
        return {shuffled[row] for row in np.flatnonzero(choose(counts[order], 6, priorities(shuffled, seed)))}

    expected = names(np.arange(80), 0)
    assert all(names(generator.permutation(80), 0) == expected for _ in range(5))
    assert names(np.arange(80), 1) != expected


def test_priorities_are_ranks() -> None:
    ids = ["b", "a", "c", "d", "e"]
    ranks = priorities(ids, 7)
    assert sorted(ranks) == [0, 1, 2, 3, 4]
    assert list(priorities(ids[::-1], 7)) == list(ranks[::-1])
    assert len({tuple(priorities(ids, seed)) for seed in range(5)}) > 1
