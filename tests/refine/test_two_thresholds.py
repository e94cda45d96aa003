"""The rule for pseudo masks on scores chosen by hand, and with the CRF on pictures with known edges."""

from __future__ import annotations

import numpy as np
import pytest

from stages.core.dense_crf import dense_crf_labels
from stages.core.params import Params
from stages.refine.two_thresholds import pseudo_mask, two_thresholds, upsample

CRF = {
    "confidence": 0.7,
    "kernels": {"gaussian": {"xy": 3, "weight": 3}, "bilateral": {"xy": 50, "rgb": 5, "weight": 10}},
    "iterations": 10,
    "backend": "pydensecrf",
}
PLAIN = Params({"foreground": 0.5, "background": 0.2, "pamr": "none", "crf": "none"})
SMOOTH = Params({"foreground": 0.5, "background": 0.2, "pamr": "none", "crf": CRF})
IMAGE = np.zeros((1, 5, 3), np.uint8)
CAM = np.array([[[0, 100, 200, 255, 130]], [[40, 90, 210, 0, 130]]], np.uint8)  # thresholds at 127.5 and 51
CLASSES = np.array([3, 7])


def test_two_thresholds_by_hand() -> None:
    """Below both, between them, above both with either class ahead, and a tie, which the first class wins."""
    np.testing.assert_array_equal(pseudo_mask(IMAGE, CAM, CLASSES, True, PLAIN), [[0, 255, 7, 3, 3]])


def test_a_score_equal_to_the_threshold_is_background() -> None:
    """The constant background score comes first in the argmax, as in the published rule."""
    refine = Params({"foreground": 1.0, "background": 0.0, "pamr": "none", "crf": "none"})
    cam = np.array([[[255, 128, 0]]], np.uint8)
    np.testing.assert_array_equal(pseudo_mask(IMAGE[:, :3], cam, CLASSES[:1], True, refine), [[255, 255, 0]])


def test_without_background_by_hand() -> None:
    np.testing.assert_array_equal(pseudo_mask(IMAGE, CAM, np.array([0, 7]), False, PLAIN), [[255, 255, 7, 0, 0]])


@pytest.mark.parametrize("refine", [PLAIN, SMOOTH], ids=["plain", "crf"])
def test_images_without_tags(refine: Params) -> None:
    cam, classes = np.zeros((0, 1, 2), np.uint8), np.zeros(0, np.int64)
    np.testing.assert_array_equal(pseudo_mask(IMAGE, cam, classes, True, refine), np.zeros((1, 5)))
    np.testing.assert_array_equal(pseudo_mask(IMAGE, cam, classes, False, refine), np.full((1, 5), 255))


def test_upsampling_is_bilinear_between_pixel_centres() -> None:
    """Doubling a row of two: the new centres lie at -1/4, 1/4, 3/4, 5/4 of the old; beyond the ends it is constant."""
    result = upsample(np.array([[[0, 255]], [[255, 255]]], np.uint8), (2, 4))
    assert result.dtype == np.float32
    np.testing.assert_allclose(result, [[[0, 0.25, 0.75, 1]] * 2, [[1, 1, 1, 1]] * 2], atol=1e-6)


def test_upsampling_keeps_the_place() -> None:
    """A bump stays at the same relative place when the image is no multiple of the stride."""
    cam = np.zeros((1, 10, 13), np.uint8)
    cam[0, 7, 2] = 255
    row, column = np.unravel_index(upsample(cam, (37, 50))[0].argmax(), (37, 50))
    assert ((row + 0.5) / 37, (column + 0.5) / 50) == pytest.approx((7.5 / 10, 2.5 / 13), abs=0.02)


def picture(seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Two discs of different colour, 40 x 60, their true labels and coarse activation maps that overrun the edges."""
    random = np.random.default_rng(seed)
    rows, columns = np.mgrid[:40, :60]
    truth = np.zeros((40, 60), np.uint8)
    truth[(rows - 20) ** 2 + (columns - 15) ** 2 < 81] = 3
    truth[(rows - 18) ** 2 + (columns - 44) ** 2 < 64] = 7
    colours = np.zeros((256, 3))
    colours[[0, 3, 7]] = [[50, 120, 60], [200, 60, 50], [60, 70, 210]]
    image = (colours[truth] + random.normal(0, 2, (40, 60, 3))).clip(0, 255).astype(np.uint8)
    rows, columns = np.mgrid[:10, :15] * 4 + 2
    bumps = [np.exp(-((rows - y) ** 2 + (columns - x) ** 2) / 150) for y, x in ((21, 17), (17, 42))]
    return image, truth, np.round(255 * np.stack(bumps) / np.max(bumps, axis=(1, 2), keepdims=True)).astype(np.uint8)


def test_crf_moves_labels_to_the_edges_of_the_picture() -> None:
    image, truth, cam = picture()
    plain, smooth = (pseudo_mask(image, cam, CLASSES, True, refine) for refine in (PLAIN, SMOOTH))
    assert (plain == truth).mean() < 0.9
    assert (smooth == truth).mean() > 0.99


def test_crf_is_the_label_crf_on_the_present_classes_at_both_thresholds() -> None:
    """Against the rule written out with one CRF per threshold, stopped early, where a label more would be seen."""
    refine = Params(SMOOTH.plain() | {"crf": CRF | {"iterations": 2}})
    image, _, cam = picture(1)
    scores = upsample(cam, image.shape[:2])
    maps = []
    for floor in (0.5, 0.2):
        constant = np.full((1, *image.shape[:2]), floor, np.float32)
        labels = np.concatenate([constant, scores]).argmax(axis=0)
        maps.append(np.array([0, 3, 7])[dense_crf_labels(image, labels, 3, 0.7, refine.crf).argmax(axis=0)])
    expected = np.where(maps[0] > 0, maps[0], np.where(maps[1] == 0, 0, 255))
    assert set(np.unique(expected)) >= {0, 3, 7}
    np.testing.assert_array_equal(two_thresholds(image, scores, CLASSES.astype(np.uint8), refine), expected)


def test_crf_without_background_smooths_only_sure_pixels() -> None:
    """Single wrong pixels inside a region change, and what was below the threshold stays void."""
    image, truth, _ = picture()
    left = np.arange(60)[None] < 30
    scores = np.stack([left, ~left]).astype(float) * np.ones((1, 40, 60))
    scores[:, 20, 10] = scores[::-1, 20, 10]
    scores[:, :5] *= 0.4
    cam = np.round(scores * 255).astype(np.uint8)
    expected = np.where(left, 0, 7) * np.ones((40, 1), int)
    expected[:5] = 255
    flat = np.where(left[..., None], 40, 200) * np.ones((40, 1, 3))
    result = pseudo_mask(flat.astype(np.uint8), cam, np.array([0, 7]), False, SMOOTH)
    np.testing.assert_array_equal(result, expected)


@pytest.mark.parametrize("kernel", ["pamr", "par"])
def test_pixel_adaptive_refinement_fills_a_region_of_one_colour(kernel: str) -> None:
    """The map covers a third of a square; refined, its pseudo mask covers the square and nothing else."""
    image = np.full((32, 32, 3), 40, np.uint8)
    image[8:24, 8:24] = 200
    cam = np.zeros((1, 32, 32), np.uint8)
    cam[0, 8:24, 8:14] = 255
    labels = np.array([1])
    plain = pseudo_mask(image, cam, labels, True, PLAIN)
    pamr = Params({"kernel": kernel, "dilations": [1, 2, 4], "iterations": 40})
    low = {"foreground": 0.2, "background": 0.1, "crf": "none"}
    refined = pseudo_mask(image, cam, labels, True, Params(low | {"pamr": pamr}))
    square = np.zeros((32, 32), bool)
    square[8:24, 8:24] = True
    assert (plain[square] == 1).mean() < 0.5
    assert (refined[square] == 1).mean() > 0.95
    assert (refined[~square] == 0).mean() > 0.95
