"""The permutohedral lattice against its geometry, exact sums, its own transpose, and pydensecrf."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from stages.core.dense_crf import dense_crf_labels
from stages.core.filters.permutohedral import Lattice, elevate, find_neighbours, simplices
from stages.core.params import Params
from stages.download.shapes import render

IRN = {"gaussian": {"xy": 3, "weight": 3}, "bilateral": {"xy": 50, "rgb": 5, "weight": 10}}
PSA = {"gaussian": {"xy": 3, "weight": 3}, "bilateral": {"xy": 80, "rgb": 13, "weight": 10}}
DEEPLAB = {"gaussian": {"xy": 1, "weight": 3}, "bilateral": {"xy": 67, "rgb": 3, "weight": 4}}


def some_features(count: int, d: int, spread: float = 4.0, seed: int = 0) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).random((count, d)) * spread).float()


@pytest.mark.parametrize("d", [1, 2, 3, 5])
def test_each_point_is_the_mean_of_its_corners(d: int) -> None:
    points = some_features(200, d)
    codes, strides, weights = simplices(points)
    assert weights.min() >= -1e-6
    torch.testing.assert_close(weights.sum(0), torch.ones(200))
    # a code is linear in the corner, so the mean of the codes is the code of the point
    place = elevate(points).double()
    torch.testing.assert_close(place.sum(0), torch.zeros(200, dtype=torch.double), atol=1e-4, rtol=0)
    mean = (codes * weights.double()).sum(0)
    torch.testing.assert_close(mean, (place[:d] * strides[:, None]).sum(0), rtol=1e-5, atol=1e-3 * float(strides[-1]))


@pytest.mark.parametrize("d", [1, 2, 5])
def test_neighbours_are_one_step_along_an_axis_away(d: int) -> None:
    codes, strides, _ = simplices(some_features(300, d))
    unique = codes.unique()
    neighbours = find_neighbours(unique, strides)
    known = {int(code): index for index, code in enumerate(unique)}
    for axis in range(d + 1):
        step = -int(strides.sum()) + ((d + 1) * int(strides[axis]) if axis < d else 0)
        for side, sign in ((0, 1), (1, -1)):
            expected = [known.get(int(code) + sign * step, len(known)) for code in unique]
            assert neighbours[axis, side].tolist() == expected


@pytest.mark.parametrize("d", [1, 2, 3, 5])
def test_near_the_exact_sums(d: int) -> None:
    """Normalised, so that the lattice's constant does not matter; dense enough that it is not all about one pixel.

    Measured distances of the smoothed values, which span 0.3 to 0.7: 0.006, 0.010, 0.013, 0.021 on average.
    """
    points = some_features(1500, d, spread=3.0)
    values = (points[:, :1] > 1.5).float()
    exact = torch.exp(-torch.cdist(points, points).square() / 2)
    lattice = Lattice(points)
    smoothed = lattice.apply(values) / lattice.apply(torch.ones_like(values))
    expected = (exact @ values) / exact.sum(1, keepdim=True)
    assert (smoothed - expected).abs().mean() < 0.03
    wider = torch.exp(-torch.cdist(points, points).square() / 2 / 1.5**2)
    other = (wider @ values) / wider.sum(1, keepdim=True)
    assert (smoothed - expected).abs().mean() < 0.7 * (smoothed - other).abs().mean()


def test_normalised_is_the_symmetric_scaling_of_the_plain_filter() -> None:
    points, values = some_features(400, 3), some_features(400, 2, seed=1)
    plain, scaled = Lattice(points), Lattice(points, normalised=True)
    root = plain.apply(torch.ones(400, 1)).rsqrt()
    torch.testing.assert_close(scaled.apply(values), root * plain.apply(root * values))


@pytest.mark.parametrize("normalised", [False, True])
def test_reverse_is_the_transposed_filter(normalised: bool) -> None:
    points = some_features(60, 5, spread=2.0)
    lattice = Lattice(points, normalised)
    matrix = lattice.apply(torch.eye(60))
    torch.testing.assert_close(lattice.apply(torch.eye(60), reverse=True), matrix.T)
    # of 60 scattered points most vertices have no neighbour, and there the order of the axes matters most
    assert 0 < (matrix - matrix.T).abs().max() < 0.2 * matrix.max()


def test_the_order_of_the_pixels_does_not_matter() -> None:
    points, values = some_features(300, 5), some_features(300, 2, seed=1)
    order = torch.from_numpy(np.random.default_rng(2).permutation(300))
    moved = Lattice(points[order]).apply(values[order])
    torch.testing.assert_close(moved, Lattice(points).apply(values)[order], rtol=1e-5, atol=1e-5)


def test_one_place_for_all_pixels_sums_them() -> None:
    lattice = Lattice(torch.full((50, 5), 0.3), normalised=True)
    values = some_features(50, 2)
    torch.testing.assert_close(lattice.apply(values), values.mean(0).expand(50, 2))


def test_features_on_far_too_fine_a_scale_are_refused() -> None:
    with pytest.raises(ValueError, match="too many for one code"):
        Lattice(some_features(10, 5, spread=1e5))


@pytest.mark.parametrize("normalised", [False, True])
@pytest.mark.parametrize("d", [1, 2, 5])
def test_images_in_one_lattice_equal_one_after_the_other(d: int, normalised: bool) -> None:
    """Forward and reverse, for images of different size whose features overlap, one of them a single pixel."""
    generator = np.random.default_rng(d)
    for _ in range(20):
        counts = [1, *generator.integers(1, 80, generator.integers(1, 4))]
        parts = [some_features(n, d, 3.0, int(generator.integers(1e6))) for n in counts]
        values = [some_features(n, 3, 1.0, int(generator.integers(1e6))) for n in counts]
        image = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))
        together = Lattice(torch.cat(parts), normalised, image)
        alone = [Lattice(part, normalised) for part in parts]
        assert together.size == sum(lattice.size for lattice in alone)
        for reverse in (False, True):
            expected = [lattice.apply(one, reverse) for lattice, one in zip(alone, values, strict=True)]
            got = together.apply(torch.cat(values), reverse)
            torch.testing.assert_close(got, torch.cat(expected), rtol=1e-6, atol=1e-6)


def test_pixels_of_images_may_come_in_any_order() -> None:
    points, values = some_features(200, 5), some_features(200, 2, seed=1)
    image = torch.from_numpy(np.random.default_rng(2).integers(0, 3, 200))
    got = Lattice(points, image=image).apply(values)
    for number in range(3):
        alone = Lattice(points[image == number]).apply(values[image == number])
        torch.testing.assert_close(got[image == number], alone, rtol=1e-6, atol=1e-6)


def test_numbers_of_images_count_in_the_codes() -> None:
    points = some_features(10, 5, spread=300.0)
    image = torch.arange(10)
    Lattice(points, image=image)
    with pytest.raises(ValueError, match=r"in each of \d+ images, too many for one code"):
        Lattice(points, image=image * 10**8)
    with pytest.raises(ValueError, match=r"\(9,\) image numbers for 10 pixels"):
        Lattice(points, image=image[:9])


def test_sixty_four_images_have_room_with_the_narrowest_kernel() -> None:
    ends = torch.tensor([[0.0] * 5, [500 / 67, 375 / 67, 85, 85, 85]]).repeat(64, 1)
    lattice = Lattice(ends, image=torch.arange(64).repeat_interleave(2))
    assert lattice.size == 64 * Lattice(ends[:2]).size


def test_filtering_is_in_single_precision_under_autocast() -> None:
    points, values = some_features(100, 2), some_features(100, 4, seed=3)
    lattice = Lattice(points, normalised=True)
    expected = lattice.apply(values)
    with torch.autocast("cpu", torch.bfloat16):
        got = Lattice(points, normalised=True).apply(values)
    torch.testing.assert_close(got, expected, rtol=0, atol=0)


def compare(image: np.ndarray, kernels: dict, seed: int) -> tuple[float, float]:
    """Share of equal labels and mean distance of the probabilities, after 10 iterations from coarse random labels."""
    generator = np.random.default_rng(seed)
    height, width = image.shape[:2]
    coarse = generator.integers(0, 3, (height // 24 + 1, width // 24 + 1))
    labels = np.kron(coarse, np.ones((24, 24), int))[:height, :width]
    ours, theirs = (
        dense_crf_labels(image, labels, 3, 0.7, Params({"kernels": kernels, "iterations": 10, "backend": backend}))
        for backend in ("lattice", "pydensecrf")
    )
    return (ours.argmax(0) == theirs.argmax(0)).mean(), float(np.abs(ours - theirs).mean())


@pytest.mark.parametrize("kernels", [IRN, PSA, DEEPLAB], ids=["irn", "psa", "deeplab"])
def test_equals_pydensecrf_on_generated_images(kernels: dict) -> None:
    for index in range(3):
        same, distance = compare(render(0, 0, index, 96)[0], kernels, index)
        assert same >= 0.999
        assert distance <= 1e-3


@pytest.mark.parametrize("kernels", [IRN, PSA, DEEPLAB], ids=["irn", "psa", "deeplab"])
def test_equals_pydensecrf_on_photographs(real_data: Path, kernels: dict) -> None:
    paths = sorted((real_data / "voc_sample/VOC2012/JPEGImages").glob("*.jpg"))[:30:10]
    assert len(paths) == 3
    for index, path in enumerate(paths):
        with Image.open(path) as image:
            same, distance = compare(np.array(image.convert("RGB")), kernels, index)
        assert same >= 0.999
        assert distance <= 1e-3
