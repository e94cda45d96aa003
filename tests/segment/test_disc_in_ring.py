"""The filter of a disc in a ring against the correlation written out, and the places that it finds in drawn scenes."""

import numpy as np
import pytest

from stages.segment.disc_in_ring import SOFTEN, Series, contrast, differences, disc, locate

SIDE = 64


def scene(rng, centre, inner, outer, level=0.8):
    """Clutter with a bright disc in a dark ring: (SIDE, SIDE) float32 in 0..1."""
    rows, columns = np.mgrid[:SIDE, :SIDE]
    image = 0.3 + 0.2 * np.sin(rows / rng.uniform(3, 8)) * np.cos(columns / rng.uniform(3, 8))
    distance = np.hypot(rows - centre[0], columns - centre[1])
    image[distance < np.sqrt((inner + outer) / np.pi)] = 0.15
    image[distance < np.sqrt(inner / np.pi)] = level
    return (image + rng.normal(0, 0.03, image.shape)).clip(0, 1).astype(np.float32)


def series_of(images, place, inner, outer):
    inner, outer = np.broadcast_to(inner, len(images)).astype(float), np.broadcast_to(outer, len(images)).astype(float)
    return Series(np.stack(images), np.array(place), inner, outer, inner + outer)


def test_contrast_is_the_correlation_with_disc_and_ring():
    rng = np.random.default_rng(0)
    for _ in range(100):
        image = rng.random((rng.integers(12, 20), rng.integers(12, 20))).astype(np.float32)
        inner, outer = rng.uniform(5, 40), rng.uniform(5, 60)
        row, column = rng.integers(image.shape[0]), rng.integers(image.shape[1])
        reach = int(np.ceil(np.sqrt((inner + outer) / np.pi) + 0.5))
        window = np.pad(image.astype(float), reach, mode="symmetric")
        window = window[row : row + 2 * reach + 1, column : column + 2 * reach + 1]
        core = disc(np.sqrt(inner / np.pi), reach).astype(float)
        whole = disc(np.sqrt((inner + outer) / np.pi), reach).astype(float)
        share = whole / whole.sum()
        mean, shape_mean = (share * window).sum(), core.sum() / whole.sum()
        covariance = (core * window).sum() / whole.sum() - shape_mean * mean
        # core * (whole - core) is not 0 on the soft edge, where a pixel is part of both; the two-valued variance is
        variance = (share * (window - mean) ** 2).sum() + SOFTEN**2
        expected = covariance / np.sqrt(variance * shape_mean * (1 - shape_mean))
        assert contrast(image, inner, outer)[row, column] == pytest.approx(expected, abs=1e-4)


def test_contrast_is_nearly_one_at_the_disc_and_nothing_in_a_flat_image():
    image = scene(np.random.default_rng(1), (30, 25), 120, 160)
    found = contrast(image, 120, 160)
    assert np.unravel_index(found.argmax(), found.shape) == (30, 25)
    assert 0.9 < found.max() <= 1
    assert contrast(1 - image, 120, 160)[30, 25] == pytest.approx(-found[30, 25], abs=1e-4)
    assert abs(contrast(np.full((20, 20), 0.7, np.float32), 20, 30)).max() < 1e-4


def test_a_disc_is_found_in_each_image_of_a_subject():
    rng = np.random.default_rng(2)
    for _ in range(25):
        middle = rng.uniform(22, 42, 2)
        inner, outer = rng.uniform(60, 140, 4), rng.uniform(90, 160, 4)
        centres = middle + rng.uniform(-2, 2, (4, 2))
        images = [scene(rng, *values) for values in zip(centres, inner, outer, strict=True)]
        location = locate(series_of(images, [0, 0, 1, 1], inner, outer))
        assert np.hypot(*(location.centres - centres).T).max() < 2
        assert np.hypot(*(location.subject - middle)) < 5


def test_what_moves_wins_over_a_twin_that_does_not():
    rng = np.random.default_rng(3)
    fixed = scene(rng, (18, 18), 100, 120)
    pair = []
    for inner in (60, 130):
        image, rows_columns = fixed.copy(), np.mgrid[:SIDE, :SIDE]
        distance = np.hypot(rows_columns[0] - 44, rows_columns[1] - 44)
        image[distance < np.sqrt(220 / np.pi)] = 0.15
        image[distance < np.sqrt(inner / np.pi)] = 0.7
        pair.append(image)
    together = locate(series_of(pair, [0, 0], [60, 130], [160, 90]))
    assert abs(together.centres - 44).max() < 1.5
    assert together.motion[:, 40:48, 40:48].mean() > 5 * together.motion[:, 10:26, 10:26].mean()


def test_differences_are_of_a_place():
    rng = np.random.default_rng(4)
    images = rng.random((5, 6, 7)).astype(np.float32)
    found = differences(series_of(list(images), [0, 1, 0, 1, 2], 0, 0))
    assert np.array_equal(found[0], abs(images[0] - images[2]))
    assert np.array_equal(found[0], found[2])
    assert np.array_equal(found[3], abs(images[1] - images[3]))
    assert not found[4].any()


@pytest.mark.parametrize(("inner", "outer"), [(0, 0), (0, 100), (100, 0), (4, 100)])
def test_an_image_without_disc_or_ring_has_no_centre(inner, outer):
    images = [scene(np.random.default_rng(n), (30, 30), 80, 90) for n in range(2)]
    location = locate(series_of(images, [0, 1], inner, outer))
    assert np.isnan(location.centres).all()
    assert np.isfinite(location.subject).all()


def test_one_pixel_and_a_black_image():
    for size in ((1, 1), (32, 32)):
        location = locate(series_of([np.zeros(size, np.float32)], [0], 20, 20))
        assert (location.subject < size).all()
        assert (location.motion == 1).all()
