"""Bootstrap over images: against the textbook's loop, against theory, and paired."""

from __future__ import annotations

import numpy as np
import pytest

from stages.core.metrics.bootstrap import differences, distribution, interval, intervals, resamples
from stages.core.metrics.confusion import confusion_matrix
from stages.core.metrics.image_counts import ImageCounts, count_image
from stages.core.metrics.summary import Summands


def image(number: int, right: int) -> ImageCounts:
    """100 pixels of two halves, of which the first `right` are predicted right and the others wrong."""
    mask = np.repeat(np.array([0, 1], np.uint8), 50).reshape(10, 10)
    prediction = np.where(np.arange(100).reshape(10, 10) < right, mask, 1 - mask).astype(np.uint8)
    return count_image(str(number), confusion_matrix(mask, prediction, 2), mask, None, prediction, True)


def summands(rights: list[int]) -> Summands:
    return Summands([image(number, right) for number, right in enumerate(rights)], (10, 30), 2, True)


RIGHTS = np.random.default_rng(1).integers(40, 95, 200).tolist()


def test_a_resample_is_the_score_of_the_images_drawn() -> None:
    few = summands(RIGHTS[:7])
    found = distribution(few, 150, seed=3)["miou"]
    drawn = np.concatenate(list(resamples(7, 150, seed=3))).astype(int)
    assert (drawn.sum(1) == 7).all()
    for row, weights in enumerate(drawn[::10]):
        images = [image(number, RIGHTS[number]) for number in np.repeat(np.arange(7), weights)]
        alone = Summands(images, (10, 30), 2, True).sums().scores()["miou"][0]
        assert found[10 * row] == pytest.approx(alone)


def test_the_interval_of_a_mean_is_the_one_of_theory() -> None:
    # all images have as many pixels, so the pixel accuracy is the mean of the images' own
    low, high = intervals(summands(RIGHTS), 4000)["pixel_accuracy"]
    shares = np.array(RIGHTS) / 100
    half = 1.96 * shares.std() / np.sqrt(len(shares))
    assert (low, high) == pytest.approx((shares.mean() - half, shares.mean() + half), abs=0.06 * half * 2)


def test_the_seed_decides() -> None:
    one = summands(RIGHTS[:20])
    np.testing.assert_equal(intervals(one, 200, seed=1), intervals(one, 200, seed=1))
    assert intervals(one, 200, seed=1)["miou"] != intervals(one, 200, seed=2)["miou"]


def test_undefined_resamples_are_left_out() -> None:
    assert interval(np.array([np.nan, *range(101)])) == pytest.approx((2.5, 97.5))
    assert np.isnan(interval(np.full(3, np.nan))).all()


def test_a_paired_difference_is_surer_than_two_intervals() -> None:
    better = [min(100, right + 2 + number % 2) for number, right in enumerate(RIGHTS)]
    one, other = summands(RIGHTS), summands(better)
    low, high, share = differences(one, other, 1000)["pixel_accuracy"]
    assert 0.02 < low < high < 0.03
    assert share == 0
    alone = intervals(one, 1000)["pixel_accuracy"]
    assert high - low < (alone[1] - alone[0]) / 10
    assert differences(other, one, 1000)["pixel_accuracy"][2] == 1


def test_a_set_against_itself_differs_in_nothing() -> None:
    one = summands(RIGHTS[:30])
    low, high, share = differences(one, one, 100)["miou"]
    assert (low, high, share) == (0, 0, 1)


def test_other_images_cannot_be_paired() -> None:
    with pytest.raises(ValueError, match="same images: 3 and 4"):
        differences(summands(RIGHTS[:3]), summands(RIGHTS[:4]), 10)
