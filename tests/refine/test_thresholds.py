"""Rules that choose a threshold: against brute force, and where there is nothing to choose."""

from __future__ import annotations

import numpy as np
import pytest

from stages.core.params import Params
from stages.refine.histogram import Curve, add_counts, count_scores, empty_histogram
from stages.refine.thresholds import (
    FIXED,
    ORACLE,
    UNSUPERVISED,
    VALIDATION,
    around,
    best_level,
    curve_rows,
    fixed,
    on_masks,
    otsu,
    threshold_rows,
    unsupervised,
)

REFINE = Params({"foreground": 0.4, "background": 0.25, "crf": "none"})


def within_class_variance(pixels: np.ndarray, level: int) -> float:
    """What Otsu's threshold makes least, from the values themselves."""
    values = np.repeat(np.arange(pixels.size), pixels)
    parts = values[values <= level], values[values > level]
    return sum(part.size * part.var() for part in parts) if all(part.size for part in parts) else np.inf


def test_otsu_leaves_the_least_variance_within_the_classes() -> None:
    """120 random distributions, empty levels among them; within plus between is constant, so least is most."""
    random = np.random.default_rng(0)
    for _ in range(120):
        pixels = random.integers(0, 9, 24) * (random.random(24) < random.choice([0.1, 0.5, 1]))
        losses = np.array([within_class_variance(pixels, level) for level in range(24)])
        if np.isinf(losses).all():
            assert otsu(pixels) is None
        else:
            assert losses[otsu(pixels)] == pytest.approx(losses.min(), abs=1e-9)


def test_otsu_lies_in_the_middle_of_a_gap() -> None:
    pixels = np.zeros(256, np.int64)
    pixels[[20, 220]] = 1000, 500
    assert otsu(pixels) == 120


def test_otsu_of_very_many_pixels() -> None:
    """10^13 of them: sums fit, and products are not of integers."""
    pixels = np.full(256, 4 * 10**10, np.int64)
    assert otsu(pixels) == 127


@pytest.mark.parametrize("level", [0, 100, 255])
def test_otsu_of_one_level_or_none(level: int) -> None:
    pixels = np.zeros(256, np.int64)
    assert otsu(pixels) is None
    pixels[level] = 10
    assert otsu(pixels) is None


def test_the_best_level_is_the_middle_of_equals() -> None:
    assert best_level(np.array([0.1, 0.7, 0.7, 0.7, np.nan, 0.2])) == 2
    assert best_level(np.array([0.7, 0.1, 0.7])) == 2
    assert best_level(np.full(4, np.nan)) is None


def test_the_pair_keeps_its_gap_and_stays_in_0_to_1() -> None:
    choice = around(VALIDATION, 102, REFINE, True, 7)
    assert (choice.threshold, choice.foreground, choice.background) == pytest.approx((0.4, 0.475, 0.325))
    assert choice.images == 7
    low, high = around(ORACLE, 0, REFINE, True, 7), around(ORACLE, 255, REFINE, True, 7)
    assert (low.foreground, low.background) == pytest.approx((0.075, 0))
    assert (high.foreground, high.background) == pytest.approx((1, 0.925))


def test_applied_changes_the_pair_alone_and_fixed_nothing() -> None:
    moved = around(VALIDATION, 102, REFINE, True, 7).applied(REFINE)
    assert moved.plain() == {"foreground": pytest.approx(0.475), "background": pytest.approx(0.325), "crf": "none"}
    own = fixed(REFINE, True)
    assert own.applied(REFINE) is REFINE
    assert (own.threshold, own.foreground, own.background, own.images) == (pytest.approx(0.325), 0.4, 0.25, 0)
    assert fixed(REFINE, False).threshold == 0.4


def two_halves(truth: np.ndarray | None) -> np.ndarray:
    """The histogram of a row of ten pixels, the left five with score 0.2 and the right five with 0.8."""
    scores = np.repeat(np.array([0.2, 0.8], np.float32), 5).reshape(1, 1, 10)
    histogram = empty_histogram(2)
    add_counts(histogram, count_scores(scores, np.array([1]), truth, 2))
    return histogram


def test_rules_on_two_halves() -> None:
    """Any threshold from 0.2 to below 0.8, levels 51 to 203, is perfect; the middle one is taken."""
    histogram = two_halves(np.repeat(np.uint8([[0, 1]]), 5, axis=1))
    assert on_masks(VALIDATION, histogram, REFINE, True, 1).threshold == pytest.approx(127 / 255)
    assert unsupervised(histogram, REFINE, True, 1).threshold == pytest.approx(127 / 255)
    other = two_halves(np.ones((1, 10), np.uint8))
    assert unsupervised(other, REFINE, True, 1) == unsupervised(histogram, REFINE, True, 1)
    assert on_masks(ORACLE, other, REFINE, True, 1).threshold == pytest.approx(25 / 255)


def test_rules_with_nothing_to_go_by() -> None:
    assert on_masks(VALIDATION, two_halves(None), REFINE, True, 1) is None
    assert on_masks(VALIDATION, empty_histogram(2), REFINE, True, 0) is None
    assert unsupervised(empty_histogram(2), REFINE, True, 0) is None


def test_rows_hold_the_scores_at_the_nearest_level() -> None:
    values = np.arange(256) / 1000
    curves = {"train": Curve(values, values, values), "val": Curve(values + 0.5, values, values)}
    choices = [fixed(REFINE, True), around(UNSUPERVISED, 102, REFINE, True, 9)]
    first, second = threshold_rows(choices, curves, UNSUPERVISED)
    assert (first["rule"], first["miou_train"], first["miou_val"], first["chosen"]) == (FIXED, 0.083, 0.583, 0)
    assert (second["rule"], second["miou_train"], second["images"], second["chosen"]) == (UNSUPERVISED, 0.102, 9, 1)


def test_the_curve_of_a_split_without_truth_has_no_rows() -> None:
    nothing, values = np.full(256, np.nan), np.linspace(0, 1, 256)
    rows = curve_rows({"train": Curve(nothing, nothing, nothing), "val": Curve(values, values, values)})
    assert [row["split"] for row in rows] == ["val"] * 256
    assert (rows[51]["threshold"], rows[51]["recall"]) == pytest.approx((0.2, 0.2))
