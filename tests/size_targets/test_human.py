"""The simulator of people's errors against the published table of one person's."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from stages.size_targets.corrupt import FLOOR, noise, scaled
from stages.size_targets.errors import SHARE_BOUNDS
from stages.size_targets.human import FREEDOM, KNOTS, LARGEST, SHIFT, SPREAD, human_factors

# experiment1.csv of github.com/XFan2018/size-estimation-experiment, by true share of the image.
COUNT = np.array([63, 86, 164, 329, 229, 129])
MEAN_ERROR = np.array([0.351, 0.207, 0.143, 0.101, 0.080, 0.059])
BIAS = np.array([0.284, 0.101, 0.051, 0.019, -0.001, -0.005])
DEVIATION = np.array([0.444, 0.259, 0.185, 0.152, 0.121, 0.090])  # of the signed relative error
BOUNDS = np.array([0.005, *SHARE_BOUNDS, 0.99])  # the smallest and the largest cat


def answered(size: np.ndarray, seed: int, scale: float = 1.0) -> np.ndarray:
    """Simulated answers to one object of each size."""
    true = np.stack([1 - size, size], axis=1)
    draws = np.random.default_rng(seed).standard_normal(true.shape)
    return scaled(true, human_factors(true, draws, scale), True)[:, 1]


def table_sizes(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """As many sizes in each bin as in the table, uniform in log size within it, and the index of their bins."""
    bins = np.repeat(np.arange(6), COUNT)
    low, high = np.log(BOUNDS[bins]), np.log(BOUNDS[bins + 1])
    return np.exp(np.random.default_rng(seed).uniform(low, high)), bins


@pytest.fixture(scope="module")
def tables() -> tuple[np.ndarray, np.ndarray]:
    """Mean relative error and bias by bin of 300 simulated tables, both (300, 6)."""
    errors, biases = [], []
    for seed in range(300):
        size, bins = table_sizes(seed)
        signed = answered(size, 1000 + seed) / size - 1
        errors.append(np.bincount(bins, np.abs(signed)) / COUNT)
        biases.append(np.bincount(bins, signed) / COUNT)
    return np.array(errors), np.array(biases)


def test_the_table_by_size_lies_within_its_sampling_error(tables: tuple[np.ndarray, np.ndarray]) -> None:
    """The human values are within two standard deviations of the same tables, redrawn from the simulator."""
    errors, biases = tables
    assert (np.abs(errors.mean(0) - MEAN_ERROR) < 2 * errors.std(0)).all(), errors.mean(0)
    assert (np.abs(biases.mean(0) - BIAS) < 2 * biases.std(0)).all(), biases.mean(0)


def test_the_table_is_no_wider_than_that_of_people(tables: tuple[np.ndarray, np.ndarray]) -> None:
    """So that the test above can fail: the simulator's standard errors are those of the published deviations."""
    published = DEVIATION / np.sqrt(COUNT)
    assert (tables[1].std(0) < 1.25 * published).all()
    assert (tables[1].std(0) > 0.75 * published).all()


def test_the_overall_error_is_that_of_people(tables: tuple[np.ndarray, np.ndarray]) -> None:
    """12.3 % and a bias of 4.0 %, up to two standard errors of 1000 answers."""
    errors, biases = (table @ COUNT / COUNT.sum() for table in tables)
    assert abs(errors.mean() - 0.1226) < 2 * errors.std()
    assert errors.std() < 0.008
    assert abs(biases.mean() - 0.040) < 2 * biases.std()


def test_scale_reaches_other_levels() -> None:
    size = np.tile(table_sizes(0)[0], 20)
    reached = [np.abs(answered(size, 7, scale) / size - 1).mean() for scale in (0, 0.5, 1, 1.27, 2)]
    assert reached[0] == 0
    assert reached == sorted(reached)
    assert reached[3] == pytest.approx(0.16, abs=0.01)


def test_factors_by_definition() -> None:
    """100 random sizes and draws against the definition, value by value."""
    random = np.random.default_rng(1)
    for size, draw in zip(random.uniform(0.001, 1, 100), random.standard_normal(100), strict=True):
        shift = np.interp(np.log(size), np.log(KNOTS), SHIFT)
        spread = np.exp(np.interp(np.log(size), np.log(KNOTS), np.log(SPREAD)))
        t = np.clip(stats.t.ppf(stats.norm.cdf(draw), FREEDOM), -LARGEST, LARGEST)
        found = human_factors(np.array([[size]]), np.array([[draw]]), 0.7)[0, 0]
        assert found == pytest.approx(np.exp(0.7 * (shift + spread * t)), rel=1e-9)


def test_extreme_draws_stay_finite_and_ordered() -> None:
    draws = np.array([[-40.0, -9, -3, 0, 3, 9, 40]])
    factors = human_factors(np.full(draws.shape, 0.05), draws, 1)
    assert np.isfinite(factors).all()
    assert (np.diff(factors) >= 0).all()
    np.testing.assert_allclose(factors[0, [0, 1]] / factors[0, 3], np.exp(-largest_error(0.05)))
    np.testing.assert_allclose(factors[0, [-2, -1]] / factors[0, 3], np.exp(largest_error(0.05)))


def largest_error(size: float) -> float:
    """The largest s t at a size."""
    return np.exp(np.interp(np.log(size), np.log(KNOTS), np.log(SPREAD))) * LARGEST


def test_absent_classes_and_full_images() -> None:
    true = np.array([[0.0, 1.0, 0.0], [0.4, 0.3, 0.3]])
    draws = noise(["a", "b"], 3, 0)
    factors = human_factors(true, draws, 1)
    np.testing.assert_array_equal(factors[0, [0, 2]], 1)
    result = scaled(true, factors * 5, True)
    np.testing.assert_allclose(result.sum(1), 1)
    assert result[1, 0] == pytest.approx(FLOOR * 0.4)
    assert result[0, 1] == 1
