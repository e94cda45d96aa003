"""Coarse answers, by hand and against a naive search."""

from __future__ import annotations

import numpy as np
import pytest

from stages.size_targets.corrupt import scaled
from stages.size_targets.quantise import in_bins, in_steps, quantised_factors


def test_steps_by_hand() -> None:
    true = np.array([0, 0.001, 0.02, 0.0249, 0.026, 0.07, 0.08, 0.5, 0.99, 1])
    expected = [0, 0.0125, 0.0125, 0.0125, 0.05, 0.05, 0.1, 0.5, 1, 1]
    np.testing.assert_allclose(in_steps(true, 0.05), expected)


def test_half_a_step_is_rounded_up() -> None:
    np.testing.assert_allclose(in_steps(np.array([0.125, 0.375]), 0.25), [0.25, 0.5])


def test_steps_against_a_search() -> None:
    """The nearest of the multiples of the step and, in place of 0, a quarter of it."""
    random = np.random.default_rng(0)
    for true, step in zip(random.uniform(0.0001, 1, 200), random.uniform(0.01, 0.3, 200), strict=True):
        multiples = np.arange(0, 1 + step, step)
        nearest = multiples[np.abs(multiples - true).argmin()]
        assert in_steps(np.array([true]), step)[0] == pytest.approx(nearest or step / 4)


def test_bins_by_hand() -> None:
    """Bins 0.0125-0.05 (its width in log size is that of the next), 0.05-0.2 and 0.2-1."""
    centres = np.sqrt([0.0125 * 0.05, 0.05 * 0.2, 0.2])
    true = np.array([0, 1e-9, 0.05, 0.0501, 0.2, 0.21, 1])
    np.testing.assert_allclose(in_bins(true, (0.05, 0.2)), [0, *centres[[0, 0, 1, 1, 2, 2]]])
    np.testing.assert_allclose(in_bins(np.array([0.05, 0.5]), (0.1,)), np.sqrt([0.01 * 0.1, 0.1]))


def test_the_error_within_a_bin_is_at_most_its_half_width_in_log_size() -> None:
    true = np.linspace(0.0126, 1, 1000)
    ratio = np.abs(np.log(in_bins(true, (0.05, 0.2)) / true))
    assert ratio.max() <= np.log(np.sqrt(5)) + 1e-12


@pytest.mark.parametrize("bins", [None, (0.02, 0.1, 0.3)])
def test_answers_are_what_the_targets_say_where_they_fit(bins: tuple[float, ...] | None) -> None:
    true = np.array([[0.5, 0.27, 0.23, 0], [0.01, 0.6, 0.38, 0.01]])
    target = scaled(true, quantised_factors(true, 0.1, bins), True)
    answers = in_steps(true, 0.1) if bins is None else in_bins(true, bins)
    np.testing.assert_allclose(target[0, 1:], answers[0, 1:])
    np.testing.assert_allclose(target.sum(1), 1)
    np.testing.assert_array_equal(target > 0, true > 0)
