"""The walk against dense matrix powers in double precision, and its limits."""

from __future__ import annotations

import tracemalloc
from itertools import product

import numpy as np
import pytest

from stages.core.filters.random_walk import power_series, random_walk, transitions


def between(one: tuple[int, int], two: tuple[int, int]) -> list[tuple[int, int]]:
    """The pixels in the box of two less than 1 from the line through them."""
    direction = np.subtract(two, one)
    rows, columns = (range(min(pair), max(pair) + 1) for pair in zip(one, two, strict=True))
    away = {(y, x): abs(direction[0] * (x - one[1]) - direction[1] * (y - one[0])) for y, x in product(rows, columns)}
    return [place for place, area in away.items() if area < np.hypot(*direction)]


def dense_affinity(edges: np.ndarray, radius: int) -> np.ndarray:
    """The affinities of all pairs, (h w, h w), by the definition."""
    places = list(np.ndindex(edges.shape))
    result = np.eye(len(places))
    for (i, one), (j, two) in product(enumerate(places), repeat=2):
        if i != j and np.hypot(*np.subtract(two, one)) < radius - 1e-9:
            result[i, j] = 1 - max(edges[place] for place in between(one, two))
    return result


def dense_transitions(edges: np.ndarray, radius: int, beta: float) -> np.ndarray:
    """T, whose columns sum to 1."""
    affinity = dense_affinity(edges, radius) ** beta
    return affinity / affinity.sum(0, keepdims=True)


def random_case(height: int, width: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Scores of two classes and an edge map with weak and strong places."""
    random = np.random.default_rng(seed)
    return random.random((2, height, width)), random.random((height, width)) ** 4


@pytest.mark.parametrize(
    ("height", "width", "radius", "beta", "steps"),
    [
        (6, 6, 5, 10, 256),
        (5, 11, 5, 10, 256),
        (12, 3, 5, 4, 64),
        (1, 9, 3, 1, 16),
        (8, 7, 2, 8, 256),
        (13, 12, 5, 10, 256),
    ],
)
def test_the_walk_is_the_power_of_the_dense_matrix(height: int, width: int, radius: int, beta: float, steps: int):
    scores, edges = (part.astype(np.float32) for part in random_case(height, width, height * width))
    power = np.linalg.matrix_power(dense_transitions(edges.astype(float), radius, beta), steps)
    expected = (scores * (1 - edges)).reshape(2, -1).astype(float) @ power
    found = random_walk(scores, edges, radius, beta, steps)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found.reshape(2, -1), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("radius", [2, 3, 5])
def test_affinity_is_one_less_the_strongest_boundary_between(radius: int) -> None:
    """T's entries over the diagonal one of the same column are the affinities."""
    _, edges = random_case(7, 8, radius)
    found = transitions(edges, radius, 1).toarray().T
    np.testing.assert_allclose(found / found.diagonal(), dense_affinity(edges, radius), atol=1e-6)


def test_without_boundaries_the_scores_mix_and_their_weighted_sum_is_kept() -> None:
    """Each pixel counts by the number of its neighbours; in the end all have the mean that these weights give."""
    scores, _ = random_case(9, 14, 0)
    open_map = np.zeros((9, 14), np.float32)
    weights = dense_affinity(open_map, 5).sum(0).reshape(9, 14)
    for steps in (1, 10, 1000):
        walked = random_walk(scores, open_map, 5, 10, steps)
        np.testing.assert_allclose((walked * weights).sum((1, 2)), (scores * weights).sum((1, 2)), rtol=1e-4)
    mean = (scores * weights).sum((1, 2)) / weights.sum()
    np.testing.assert_allclose(walked, np.broadcast_to(mean[:, None, None], walked.shape), rtol=1e-4)


def test_a_boundary_across_the_image_stops_the_flow() -> None:
    """On the left all becomes alike, on the right nothing arrives, and nothing stays on the boundary."""
    edges = np.zeros((8, 15), np.float32)
    edges[:, 7] = 1
    scores = np.zeros((1, 8, 15), np.float32)
    scores[0, 3, 2], scores[0, :, 7] = 1, 1
    walked = random_walk(scores, edges, 5, 10, 500)[0]
    assert walked[:, :7].min() > 0
    np.testing.assert_allclose(walked[:, :7], walked[0, 0], rtol=1e-3)
    assert (walked[:, 7:] == 0).all()


def test_constant_scores_stay_and_no_score_grows() -> None:
    scores, edges = random_case(10, 12, 3)
    step = transitions(edges, 5, 10)
    np.testing.assert_allclose(step.sum(1), np.ones(120), atol=1e-6)
    walked = random_walk(scores, edges, 5, 10, 256)
    assert walked.min() >= 0
    assert walked.max() <= (scores * (1 - edges)).max() + 1e-6


@pytest.mark.parametrize(("steps", "products"), [(1, 1), (2, 2), (7, 7), (32, 32), (256, 102), (1000, 204)])
def test_the_series_is_the_power(steps: int, products: int) -> None:
    values = np.cos(np.linspace(0, np.pi, 501))
    series = np.polynomial.chebyshev.chebval(values, power_series(steps))
    np.testing.assert_allclose(series, values**steps, rtol=0, atol=1e-10)
    assert len(power_series(steps)) == products + 1


@pytest.mark.parametrize("steps", [1, 2, 3, 256])
def test_the_walk_is_one_step_after_another(steps: int) -> None:
    """On a map too large for the dense matrix."""
    scores, edges = random_case(30, 41, 5)
    step = transitions(edges, 5, 10)
    flat = (scores * (1 - edges)).reshape(2, -1).T
    for _ in range(steps):
        flat = step @ flat
    np.testing.assert_allclose(random_walk(scores, edges, 5, 10, steps).reshape(2, -1), flat.T, rtol=0, atol=1e-6)


def test_no_classes() -> None:
    assert random_walk(np.zeros((0, 4, 5)), np.zeros((4, 5)), 5, 10, 3).shape == (0, 4, 5)


def test_the_memory_of_an_image_of_pascal_voc() -> None:
    """375 x 500 at stride 4; 12 bytes are a value in double precision and an index."""
    step = transitions(np.random.default_rng(0).random((94, 125), np.float32), 5, 10)
    assert step.nnz <= 69 * 94 * 125  # a pixel has 68 neighbours at most
    assert step.nnz * 12 <= 150e6
    assert step.data.nbytes + step.indices.nbytes + step.indptr.nbytes <= step.nnz * 12 + 4 * (94 * 125 + 1)


def test_the_memory_of_a_walk_on_an_image_of_pascal_voc() -> None:
    """With all that is built on the way, of which the dense matrix alone would be 550 MB in single precision."""
    scores, edges = random_case(94, 125, 0)
    tracemalloc.start()
    random_walk(scores, edges, 5, 10, 4)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak <= 150e6
