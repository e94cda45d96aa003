"""Pixel-adaptive refinement against the formulas, pixel by pixel, and its limits."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from stages.core.filters.pamr import OFFSETS, affinity, refine_masks


def weights_by_hand(image: np.ndarray, row: int, column: int, dilations: tuple[int, ...], kernel: str) -> np.ndarray:
    """The weights of one pixel's neighbours, from the equations, in double precision."""
    _, height, width = image.shape

    def at(y: int, x: int) -> np.ndarray:
        return image[:, min(max(y, 0), height - 1), min(max(x, 0), width - 1)].astype(float)

    centre = at(row, column)
    around = np.array([at(row + d * dy, column + d * dx) for d in dilations for dy, dx in OFFSETS])
    deviation = np.concatenate([around, np.repeat(centre[None], len(dilations), 0)]).std(axis=0, ddof=1)
    scale = {"pamr": 0.1, "par": 0.3}[kernel]
    relative = np.abs(around - centre) / (1e-8 + scale * deviation)
    score = -relative.mean(1) if kernel == "pamr" else -(relative**2).mean(1)
    weights = np.exp(score - score.max())
    weights /= weights.sum()
    if kernel == "par":
        distance = np.array([d * np.hypot(dy, dx) for d in dilations for dy, dx in OFFSETS])
        near = np.exp(-((distance / (0.3 * distance.std(ddof=1) + 1e-8)) ** 2))
        weights = (weights + 0.01 * near / near.sum()) / 1.01
    return weights


@pytest.fixture
def image() -> np.ndarray:
    return np.random.default_rng(0).random((3, 9, 11)).astype(np.float32)


@pytest.mark.parametrize("kernel", ["pamr", "par"])
@pytest.mark.parametrize("dilations", [(1,), (1, 2, 4)])
def test_weights_equal_the_equations(image: np.ndarray, kernel: str, dilations: tuple[int, ...]) -> None:
    found = affinity(torch.from_numpy(image)[None], dilations, kernel)[0].numpy()
    for row, column in np.ndindex(9, 11):
        expected = weights_by_hand(image, row, column, dilations, kernel)
        np.testing.assert_allclose(found[:, row, column], expected, atol=2e-5)


@pytest.mark.parametrize("kernel", ["pamr", "par"])
def test_an_iteration_is_the_weighted_mean_of_the_neighbours(image: np.ndarray, kernel: str) -> None:
    masks = np.random.default_rng(1).random((2, 9, 11)).astype(np.float32)
    dilations = (1, 3)
    found = refine_masks(torch.from_numpy(image)[None], torch.from_numpy(masks)[None], 1, dilations, kernel)[0].numpy()
    for row, column in ((0, 0), (4, 5), (8, 10), (0, 7)):
        weights = weights_by_hand(image, row, column, dilations, kernel)
        steps = [(row + d * dy, column + d * dx) for d in dilations for dy, dx in OFFSETS]
        around = [masks[:, min(max(y, 0), 8), min(max(x, 0), 10)] for y, x in steps]
        np.testing.assert_allclose(found[:, row, column], weights @ np.array(around), atol=2e-5)


@pytest.mark.parametrize("kernel", ["pamr", "par"])
def test_masks_stay_distributions(image: np.ndarray, kernel: str) -> None:
    masks = torch.rand(1, 4, 9, 11, generator=torch.Generator().manual_seed(0)).softmax(1)
    found = refine_masks(torch.from_numpy(image)[None], masks, kernel=kernel)
    torch.testing.assert_close(found.sum(1), torch.ones(1, 9, 11))
    assert found.min() >= 0


def test_a_mask_grows_to_the_colour_edge_and_not_across() -> None:
    image = torch.zeros(1, 3, 24, 24)
    image[..., 12:] = 1
    image += 0.02 * torch.rand(image.shape, generator=torch.Generator().manual_seed(0))
    masks = torch.zeros(1, 2, 24, 24)
    masks[0, 0, :, :6], masks[0, 1, :, 18:] = 1, 1
    found = refine_masks(image, masks, 20, (1, 2, 4))
    assert (found[0, 0, :, :12] > found[0, 1, :, :12]).all()
    assert (found[0, 1, :, 12:] > found[0, 0, :, 12:]).all()


def test_images_of_a_batch_do_not_touch_each_other(image: np.ndarray) -> None:
    images = torch.stack([torch.from_numpy(image), torch.from_numpy(image[:, ::-1].copy())])
    masks = torch.rand(2, 3, 9, 11, generator=torch.Generator().manual_seed(1))
    together = refine_masks(images, masks, 3, (1, 2))
    for number in range(2):
        alone = refine_masks(images[number : number + 1], masks[number : number + 1], 3, (1, 2))
        torch.testing.assert_close(together[number : number + 1], alone)


def test_the_scale_of_the_colours_does_not_matter(image: np.ndarray) -> None:
    small, large = (affinity(torch.from_numpy(image * factor)[None], (1, 2)) for factor in (1, 255))
    torch.testing.assert_close(small, large, rtol=1e-4, atol=1e-6)


def test_one_colour_everywhere_averages_all_neighbours_alike() -> None:
    found = affinity(torch.full((1, 3, 6, 6), 0.4), (1, 2))
    torch.testing.assert_close(found, torch.full_like(found, 1 / 16))
