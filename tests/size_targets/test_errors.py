"""The table of errors and the pairs of the plot, by hand."""

from __future__ import annotations

import numpy as np

from stages.core.dataset import DatasetInfo
from stages.size_targets.errors import COLUMNS, SHARES, divergence, error_rows, pair_rows, share_groups


def test_errors_by_hand() -> None:
    """Image 0: cat 0.25 -> 0.2 (1 pixel, small), dog 0.25 -> 0.3 (5, large). Image 1: cat 0.5 -> 0.25 (4, medium)."""
    info = DatasetInfo("few", ("background", "cat", "dog"), True, (), (2, 5), "masks", True, False)
    true = np.array([[0.5, 0.25, 0.25], [0.5, 0.5, 0], [1, 0, 0]])
    target = np.array([[0.5, 0.2, 0.3], [0.75, 0.25, 0], [1, 0, 0]])
    pixels = np.array([[10, 1, 5, 0], [4, 4, 0, 0], [9, 0, 0, 0]])
    first = 0.2 * np.log(0.8) + 0.3 * np.log(1.2)
    second = 0.75 * np.log(1.5) + 0.25 * np.log(0.5)
    nan = float("nan")
    spread = np.sqrt((0.2**2 + 0.2**2 + 0.5**2) / 3 - (0.5 / 3) ** 2)
    expected = {  # n, mean and median relative error, bias, deviation, absolute error, share within 10 %, kl
        "all": (3, 0.9 / 3, 0.2, -0.5 / 3, spread, 0.35 / 3, 0, (first + second) / 2),
        "cat": (2, 0.35, 0.35, -0.35, 0.15, 0.15, 0, (first + second) / 2),
        "dog": (1, 0.2, 0.2, 0.2, 0, 0.05, 0, first),
        "small": (1, 0.2, 0.2, -0.2, 0, 0.05, 0, first),
        "medium": (1, 0.5, 0.5, -0.5, 0, 0.25, 0, second),
        "large": (1, 0.2, 0.2, 0.2, 0, 0.05, 0, first),
        **dict.fromkeys(SHARES, (0, *[nan] * 7)),
        "20-40 %": (2, 0.2, 0.2, 0, 0.2, 0.05, 0, first),
        "40-60 %": (1, 0.5, 0.5, -0.5, 0, 0.25, 0, second),
    }
    rows = error_rows(true, target, pixels, info)
    assert [row["group"] for row in rows] == list(expected)
    for row in rows:
        found = [row[name] for name in COLUMNS[1:]]
        np.testing.assert_allclose(found, expected[row["group"]], atol=1e-12, err_msg=row["group"])


def test_empty_groups_have_no_error() -> None:
    info = DatasetInfo("few", ("background", "cat"), True, (), (2, 5), "masks", True, False)
    rows = error_rows(np.array([[1.0, 0]]), np.array([[1.0, 0]]), np.array([[8, 0, 0]]), info)
    assert all(row["n"] == 0 and np.isnan(row["mean_relative_error"]) and np.isnan(row["kl"]) for row in rows)


def test_divergence_is_finite_and_not_negative() -> None:
    true = np.array([[0.0, 1.0], [0.5, 0.5], [0.3, 0.7]])
    target = np.array([[0.1, 0.9], [0.0, 1.0], [0.3, 0.7]])
    expected = [0.1 * np.log(0.1 / 1e-6) + 0.9 * np.log(0.9), np.log(2), 0]
    np.testing.assert_allclose(divergence(target, true), expected, atol=1e-12)


def test_a_share_at_a_bound_belongs_to_the_larger_bin() -> None:
    groups = share_groups(np.array([0.0499, 0.05, 0.1, 0.2, 0.4, 0.6, 1.0]))
    assert list(groups) == list(SHARES)
    assert [list(np.flatnonzero(chosen)) for chosen in groups.values()] == [[0], [1], [2], [3], [4], [5, 6]]


def test_an_error_of_ten_percent_is_within_ten_percent() -> None:
    """(0.22 - 0.2) / 0.2 is a little over 0.1 in float64."""
    info = DatasetInfo("few", ("background", "cat"), True, (), (2, 5), "masks", True, False)
    true, target = np.array([[0.8, 0.2], [0.8, 0.2]]), np.array([[0.78, 0.22], [0.77, 0.23]])
    assert error_rows(true, target, np.array([[8, 2, 0]] * 2), info)[0]["within_10_percent"] == 0.5


def size_rows(count: int) -> list[dict]:
    """Rows as in size_targets.csv: a background and a cat in each image, in the last one a cat that is not there."""
    rows = []
    for number in range(count):
        cat = 0 if number == count - 1 else 0.25
        rows.append({"id": str(number), "class": 0, "name": "background", "true": f"{1 - cat:.9g}", "target": "0.7"})
        rows.append({"id": str(number), "class": 1, "name": "cat", "true": f"{cat:.9g}", "target": "0.3"})
    return rows


def test_pairs_are_those_of_true_objects() -> None:
    assert pair_rows(size_rows(3), True) == [
        {"id": "0", "class": "cat", "true": 0.25, "target": 0.3},
        {"id": "1", "class": "cat", "true": 0.25, "target": 0.3},
    ]
    assert len(pair_rows(size_rows(3), False)) == 5
    assert pair_rows([row | {"true": ""} for row in size_rows(3)], True) == []


def test_pairs_are_a_sample_that_new_images_hardly_change() -> None:
    few, more = (pair_rows(size_rows(count), True, 50) for count in (201, 221))
    assert len(few) == len(more) == 50
    kept = {row["id"] for row in few} & {row["id"] for row in more}
    assert 30 <= len(kept) < 50
    assert [row["id"] for row in few] == sorted((row["id"] for row in few), key=int)
