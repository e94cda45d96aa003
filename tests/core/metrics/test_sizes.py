"""Size bins: the bounds belong to the larger bin."""

from __future__ import annotations

import numpy as np

from stages.core.metrics.sizes import class_size_counts, octaves, size_bin


def test_an_area_equal_to_a_bound_is_in_the_larger_bin() -> None:
    areas = np.array([1, 1023, 1024, 9215, 9216, 200_000])
    np.testing.assert_array_equal(size_bin(areas, (1024, 9216)), [0, 0, 1, 1, 2, 2])


def test_octaves_change_at_powers_of_two() -> None:
    areas = np.array([1, 2, 3, 4, 7, 8, 1023, 1024, 2**40 - 1, 2**40])
    np.testing.assert_array_equal(octaves(areas), [0, 1, 1, 2, 2, 3, 9, 10, 39, 40])


def test_counts_by_class_and_size() -> None:
    labels, areas = np.array([1, 1, 2, 1]), np.array([3, 30, 3, 4])
    np.testing.assert_array_equal(
        class_size_counts(labels, areas, (5, 20), 4), [[0, 0, 0], [2, 0, 1], [1, 0, 0], [0, 0, 0]]
    )
    assert class_size_counts(labels[:0], areas[:0], (5, 20), 4).sum() == 0
