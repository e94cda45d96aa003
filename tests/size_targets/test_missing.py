"""Classes without a size: the three rules by hand."""

from __future__ import annotations

import numpy as np
import pytest

from stages.core.faults import Fault
from stages.size_targets.missing import RULES, complete, means

NAN = float("nan")
SIZES = np.array(
    [
        [NAN, 0.2, 0.4, NAN],  # complete
        [NAN, 0.1, NAN, NAN],  # one class without a size
        [NAN, NAN, NAN, NAN],  # none has one
        [NAN, NAN, NAN, NAN],  # nothing in it
        [NAN, 0.9, NAN, NAN],  # little left
    ]
)
TAGS = np.array([[0, 1, 1, 0], [0, 1, 1, 0], [0, 1, 0, 1], [0, 0, 0, 0], [0, 1, 1, 1]], bool)
IDS = list("abcde")
EXPECTED = {
    "tags": [
        [0.4, 0.2, 0.4, 0],
        [0.45, 0.1, 0.45, 0],
        [1 / 3, 1 / 3, 0, 1 / 3],
        [1, 0, 0, 0],
        [0.1 / 3, 0.9, 0.1 / 3, 0.1 / 3],
    ],
    # means: class 1 (0.2 + 0.1 + 0.9) / 3 = 0.4, class 2 0.4, class 3 of all four sizes 0.4; in c they take 0.8 of at
    # most 2 / 3, in e 0.8 of at most 2 / 3 of 0.1
    "class_mean": [
        [0.4, 0.2, 0.4, 0],
        [0.5, 0.1, 0.4, 0],
        [1 / 3, 1 / 3, 0, 1 / 3],
        [1, 0, 0, 0],
        [0.1 / 3, 0.9, 0.1 / 3, 0.1 / 3],
    ],
    "image_tags": [
        [0.4, 0.2, 0.4, 0],
        [1 / 3, 1 / 3, 1 / 3, 0],
        [1 / 3, 1 / 3, 0, 1 / 3],
        [1, 0, 0, 0],
        [1 / 4] * 4,
    ],
}


@pytest.mark.parametrize("rule", RULES)
def test_rules_by_hand(rule: str) -> None:
    np.testing.assert_allclose(complete(SIZES, TAGS, rule, True, IDS), EXPECTED[rule])


def test_class_means() -> None:
    known = TAGS & ~np.isnan(SIZES)
    np.testing.assert_allclose(means(np.nan_to_num(SIZES), known)[1:], 0.4)
    np.testing.assert_allclose(means(np.zeros((2, 4)), np.zeros((2, 4), bool)), 0.25)


def test_sizes_of_what_is_not_tagged_are_not_read() -> None:
    sizes = np.array([[0.5, 0.2, 0.7, NAN]])
    found = complete(sizes, np.array([[False, True, False, False]]), "tags", True, ["a"])
    np.testing.assert_allclose(found, [[0.8, 0.2, 0, 0]])


def test_without_background_sizes_are_divided_by_their_sum() -> None:
    sizes = np.array([[0.2, 0.3, NAN], [0.25, NAN, NAN], [0.25, NAN, NAN]])
    tags = np.array([[1, 1, 0], [1, 1, 1], [1, 0, 0]], bool)
    expected = [[0.4, 0.6, 0], [0.25, 0.375, 0.375], [1, 0, 0]]
    np.testing.assert_allclose(complete(sizes, tags, "tags", False, IDS[:3]), expected)
    found = complete(sizes, tags, "image_tags", False, IDS[:3])
    np.testing.assert_allclose(found, [expected[0], [1 / 3] * 3, expected[2]])
    # means 0.7 / 3, 0.3 and 0.8 / 3 (that of all): 0.25 + 0.3 + 1 / 4 (of the four sizes 0.2, 0.3, 0.25, 0.25)
    found = complete(sizes, tags, "class_mean", False, IDS[:3])
    np.testing.assert_allclose(found[1], np.array([0.25, 0.3, 0.25]) / 0.8)


@pytest.mark.parametrize("rule", RULES)
def test_random_rows_sum_to_one_and_have_every_tag(rule: str) -> None:
    random = np.random.default_rng(0)
    tags = random.random((500, 5)) < 0.5
    tags[:, 0] = False
    sizes = np.where(random.random((500, 5)) < 0.6, random.dirichlet(np.ones(5), 500), NAN)
    found = complete(sizes, tags, rule, True, list(map(str, range(500))))
    np.testing.assert_allclose(found.sum(1), 1)
    np.testing.assert_array_equal(found[:, 1:] > 0, tags[:, 1:])
    whole = ~(tags & np.isnan(sizes)).any(1)
    np.testing.assert_allclose(found[whole][tags[whole]], sizes[whole][tags[whole]])


def test_sizes_that_fill_the_image_leave_something_for_the_classes_without_one() -> None:
    sizes = np.array([[NAN, 1.0, NAN], [NAN, 0.5, NAN], [NAN, 0.6, 0.4]])
    tags = np.array([[0, 1, 1]] * 3, bool)
    by_tags = complete(sizes, tags, "tags", True, IDS[:3])
    np.testing.assert_allclose(by_tags, [[0.0005, 0.999, 0.0005], [0.25, 0.5, 0.25], [0, 0.6, 0.4]])
    np.testing.assert_allclose(complete(sizes, tags, "image_tags", True, IDS[:3])[0], 1 / 3)


def test_an_image_without_any_class_is_a_fault() -> None:
    sizes, tags = np.full((2, 3), NAN), np.array([[0, 1, 1], [0, 0, 0]], bool)
    with pytest.raises(Fault, match="b: has no tag, and so no size"):
        complete(sizes, tags, "tags", False, IDS[:2])
