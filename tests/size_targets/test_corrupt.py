"""Corrupted sizes against the formulas, hand-computed values and the errors known for real object sizes."""

from __future__ import annotations

import csv
import os
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from stages.core.faults import Fault
from stages.size_targets.corrupt import FLOOR, VARIANTS, corrupt, noise

TRUE = np.array([[0.5, 0.3, 0.2, 0]])
DRAWS = np.array([[1.0, -1.0, 2.0, 3.0]])  # with sigma 0.5: factors 1.5, 0.5, 2, 2.5


@pytest.mark.parametrize(
    ("renormalise", "expected"),
    [
        ("background", [0.45, 0.15, 0.4, 0]),
        ("joint", [0.5 / 1.05, 0.15 / 1.05, 0.4 / 1.05, 0]),
        ("all", [0.75 / 1.3, 0.15 / 1.3, 0.4 / 1.3, 0]),
    ],
)
def test_variants_by_hand(renormalise: str, expected: list[float]) -> None:
    np.testing.assert_allclose(corrupt(TRUE, DRAWS, 0.5, renormalise, True), [expected], atol=1e-15)


def test_foreground_beyond_the_image_is_scaled_down() -> None:
    """Factors 1, 2, 3 make the objects 0.6 + 0.6 = 1.2 of the image; FLOOR of the background's 0.5 is left to it."""
    result = corrupt(TRUE, np.array([[0.0, 1, 2, 0]]), 1, "background", True)
    rest = FLOOR * 0.5
    np.testing.assert_allclose(result, [[rest, (1 - rest) / 2, (1 - rest) / 2, 0]])


def test_sizes_stay_positive() -> None:
    """A factor of 1 - 5 would turn the size negative; FLOOR of it remains."""
    result = corrupt(TRUE, np.array([[0.0, -5, 0, 0]]), 1, "background", True)
    np.testing.assert_allclose(result, [[1 - 0.2 - 0.3 * FLOOR, 0.3 * FLOOR, 0.2, 0]])


def test_an_object_that_fills_the_image() -> None:
    true = np.array([[0.0, 1.0], [0.0, 1.0]])
    result = corrupt(true, np.array([[0.0, 0.5], [0.0, -0.5]]), 0.2, "background", True)
    np.testing.assert_allclose(result, [[0, 1], [0.1, 0.9]])


@pytest.mark.parametrize(
    ("renormalise", "expected"),
    [
        ("background", [0.35, 0.15, 0.5, 0]),
        ("joint", [0.5 / 1.15, 0.15 / 1.15, 0.5 / 1.15, 0]),
        ("all", [1.0 / 1.65, 0.15 / 1.65, 0.5 / 1.65, 0]),
    ],
)
def test_lognormal_variants_by_hand(renormalise: str, expected: list[float]) -> None:
    """Factors 2, 1 / 2 and 2.5."""
    draws = np.log([[2, 0.5, 2.5, 3]]) / 0.5
    np.testing.assert_allclose(corrupt(TRUE, draws, 0.5, renormalise, True, "lognormal"), [expected], atol=1e-15)


def test_lognormal_factors_stay_finite() -> None:
    result = corrupt(TRUE, np.array([[0.0, -9, 9, 0]]), 1000, "all", True, "lognormal")
    expected = np.array([0.5, 0.3 * FLOOR, 0.2 / FLOOR, 0])
    np.testing.assert_allclose(result, [expected / expected.sum()])


def random_sizes(count: int, classes: int) -> np.ndarray:
    """Distributions in which about half of the objects are absent."""
    random = np.random.default_rng(0)
    sizes = random.dirichlet(np.ones(classes), count)
    sizes[:, 1:] *= random.random((count, classes - 1)) < 0.5
    return sizes / sizes.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("renormalise", VARIANTS)
@pytest.mark.parametrize("sigma", [0.05, 0.5, 2])
def test_targets_are_distributions_over_the_same_classes(renormalise: str, sigma: float) -> None:
    true = random_sizes(500, 6)
    result = corrupt(true, noise([f"image {n}" for n in range(500)], 6, 0), sigma, renormalise, True)
    np.testing.assert_allclose(result.sum(axis=1), 1, atol=1e-12)
    np.testing.assert_array_equal(result[:, 1:] > 0, true[:, 1:] > 0)
    assert (result >= 0).all()


@pytest.mark.parametrize("renormalise", VARIANTS)
def test_sigma_zero_changes_nothing(renormalise: str) -> None:
    true = random_sizes(20, 4)
    np.testing.assert_array_equal(corrupt(true, np.ones((20, 4)), 0, renormalise, True), true)


@pytest.mark.parametrize(
    ("renormalise", "slope"), [("background", 1.0), ("joint", 0.7), ("all", 0.7 * np.sqrt(2))], ids=list(VARIANTS)
)
def test_error_of_small_noise_is_that_of_the_first_order(renormalise: str, slope: float) -> None:
    """One object of 30 % of the image: mean relative error sqrt(2 / pi) sigma times 1, 1 - v or sqrt(2) (1 - v)."""
    true = np.tile([0.7, 0.3], (20_000, 1))
    draws = np.random.default_rng(0).standard_normal(true.shape)
    error = np.abs(corrupt(true, draws, 0.01, renormalise, True) - true)[:, 1] / 0.3
    assert error.mean() == pytest.approx(np.sqrt(2 / np.pi) * 0.01 * slope, rel=0.02)


def test_noise_is_standard_normal_and_independent_of_class() -> None:
    draws = noise([str(n) for n in range(5000)], 3, 0)
    np.testing.assert_allclose(draws.mean(axis=0), 0, atol=0.06)
    np.testing.assert_allclose(np.cov(draws.T), np.eye(3), atol=0.08)


def test_noise_belongs_to_the_id() -> None:
    few, more = noise(["b", "c"], 4, 7), noise(["a", "b", "c", "d"], 4, 7)
    np.testing.assert_array_equal(few, more[1:3])
    assert len(np.unique(more)) == more.size
    assert not np.intersect1d(few, noise(["b", "c"], 4, 8)).size


def test_noise_is_the_same_on_every_machine() -> None:
    """Frozen values: another hash, seed or draw would change every corrupted target that was ever published."""
    np.testing.assert_allclose(
        noise(["2007_000032"], 3, 0), [[-0.78228096873, -0.51009904428, -2.34537658285]], rtol=1e-9
    )


def test_faults() -> None:
    with pytest.raises(Fault, match="no size_targets.renormalise 'none'; there are background, joint, all"):
        corrupt(TRUE, DRAWS, 0.5, "none", True)
    for renormalise in ("background", "joint"):
        with pytest.raises(Fault, match="needs a background, which this data set lacks; use all"):
            corrupt(TRUE, DRAWS, 0.5, renormalise, False)
        np.testing.assert_array_equal(corrupt(TRUE, DRAWS, 0, renormalise, False), TRUE)
    expected = corrupt(TRUE, DRAWS, 0.5, "all", True)
    np.testing.assert_array_equal(corrupt(TRUE, DRAWS, 0.5, "all", False), expected)


# Mean relative error of the foreground, simulated once and independently on the same 1000 real cat sizes.
REACHED = {
    "background": {0.05: 0.040, 0.1: 0.079, 0.2: 0.160, 0.4: 0.311, 0.6: 0.449, 0.8: 0.568, 1.0: 0.666},
    "joint": {0.05: 0.027, 0.1: 0.053, 0.2: 0.107, 0.4: 0.218, 0.6: 0.329, 0.8: 0.415, 1.0: 0.498},
    "all": {0.05: 0.038, 0.1: 0.076, 0.2: 0.155, 0.4: 0.382, 0.6: 0.740, 0.8: 1.14, 1.0: 1.48},
}


LOGNORMAL = {0.05: 0.040, 0.1: 0.080, 0.2: 0.160, 0.4: 0.322, 0.6: 0.478, 0.8: 0.643, 1.0: 0.792}


@cache
def real_noise(count: int) -> list[np.ndarray]:
    """Twenty draws of the noise of `count` images with one class."""
    return [noise([str(n) for n in range(count)], 2, seed) for seed in range(20)]


@pytest.mark.skipif("SIZEWISE_REAL_DATA" not in os.environ, reason="SIZEWISE_REAL_DATA is not set: no real cat sizes")
@pytest.mark.parametrize("renormalise", [*VARIANTS, "lognormal"])
def test_error_on_real_object_sizes(renormalise: str) -> None:
    """The known value lies within three standard deviations of single draws (20 of them), plus its rounding."""
    path = Path(os.environ["SIZEWISE_REAL_DATA"]) / "voc2012_meta" / "human_sizes_cat_1000.csv"
    with path.open(newline="") as file:
        size = np.array([float(row["GT"]) / 100 for row in csv.DictReader(file)])
    true = np.stack([1 - size, size], axis=1)
    normal = (renormalise, True, "relative_gaussian")
    variant = ("background", True, "lognormal") if renormalise == "lognormal" else normal
    for sigma, expected in (REACHED | {"lognormal": LOGNORMAL})[renormalise].items():
        found = [corrupt(true, draws, sigma, *variant) for draws in real_noise(len(size))]
        reached = [(np.abs(target - true)[:, 1] / size).mean() for target in found]
        assert abs(np.mean(reached) - expected) < 3 * np.std(reached) + 0.0005, (sigma, np.mean(reached))
