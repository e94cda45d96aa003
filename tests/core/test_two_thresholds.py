"""Upsampled scores, and the two-threshold rule against its definition."""

from __future__ import annotations

import numpy as np
import pytest

from stages.core.dense_crf import dense_crf_labels
from stages.core.params import Params
from stages.core.two_thresholds import label_scores, resize_maps, two_thresholds, upsample

CRF = Params(
    {
        "confidence": 0.7,
        "kernels": {"gaussian": {"xy": 3, "weight": 3}, "bilateral": {"xy": 50, "rgb": 5, "weight": 10}},
        "iterations": 2,
        "backend": "pydensecrf",
    }
)


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


def test_a_map_that_shrinks_is_averaged() -> None:
    maps = np.arange(64, dtype=np.float32).reshape(1, 8, 8)
    np.testing.assert_allclose(resize_maps(maps, (2, 2))[0], maps[0].reshape(2, 4, 2, 4).mean((1, 3)))


def test_no_maps_stay_none() -> None:
    assert resize_maps(np.zeros((0, 3, 4), np.float32), (6, 8)).shape == (0, 6, 8)


@pytest.mark.parametrize("background", [True, False])
def test_an_image_without_tags(background: bool) -> None:
    thresholds = Params({"foreground": 0.5, "background": 0.2, "crf": CRF})
    labels = label_scores(np.zeros((2, 3, 3), np.uint8), np.zeros((0, 2, 3)), np.zeros(0, int), background, thresholds)
    np.testing.assert_array_equal(labels, np.full((2, 3), 0 if background else 255))


def test_the_rule_is_the_label_crf_on_the_present_classes_at_both_thresholds() -> None:
    """Against the rule written out with one CRF per threshold, stopped early, where a label more would be seen."""
    random = np.random.default_rng(0)
    image = random.integers(0, 256, (24, 30, 3), dtype=np.uint8)
    scores = upsample(random.integers(0, 200, (2, 6, 8), dtype=np.uint8), (24, 30))
    maps = []
    for floor in (0.5, 0.3):
        constant = np.full((1, 24, 30), floor, np.float32)
        labels = np.concatenate([constant, scores]).argmax(axis=0)
        maps.append(np.array([0, 3, 7])[dense_crf_labels(image, labels, 3, 0.7, CRF).argmax(axis=0)])
    expected = np.where(maps[0] > 0, maps[0], np.where(maps[1] == 0, 0, 255))
    assert set(np.unique(expected)) >= {0, 3, 7, 255}
    thresholds = Params({"foreground": 0.5, "background": 0.3, "crf": CRF})
    np.testing.assert_array_equal(two_thresholds(image, scores, np.array([3, 7], np.uint8), thresholds), expected)
