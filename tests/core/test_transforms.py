"""Augmentation on pictures whose result is known, and padding."""

import numpy as np
import pytest
import torch

from stages.core.params import Params
from stages.core.samples import View, collate
from stages.core.transforms import augment, pad_batch, valid_pixels

AUGMENT = {"resize": "keep", "crop": "none", "flip": True, "rotate90": True, "jitter": 0.3}


def test_augmentation_without_a_crop_keeps_the_relative_sizes():
    rng = np.random.default_rng(0)
    labels = np.zeros((40, 60), np.uint8)
    labels[:20, :30] = 1
    image = np.stack([labels * 200] * 3, -1)
    for _ in range(20):
        view, view_labels = augment(image, labels, Params(AUGMENT | {"resize": [30, 120]}), rng)
        assert view.shape[:2] == view_labels.shape
        assert (view_labels == 1).mean() == pytest.approx(0.25, abs=0.03)
        assert abs(view[view_labels == 1].mean() - view[view_labels == 0].mean()) > 20


def test_crop_takes_the_same_window_of_both():
    image = np.arange(30 * 40, dtype=np.uint16).reshape(30, 40).astype(np.uint8)
    recipe = Params(AUGMENT | {"crop": 16, "jitter": 0.0})
    view, labels = augment(np.stack([image] * 3, -1), image, recipe, np.random.default_rng(3))
    assert view.shape == (16, 16, 3)
    assert np.array_equal(view[..., 0], labels)


def test_padding_is_marked():
    batch = collate(
        [
            View(np.ones((*size, 3), np.uint8), np.ones(size, np.uint8), np.zeros(1, np.float32), np.ones(size, "f"))
            for size in ((2, 3), (4, 2))
        ]
    )
    assert torch.equal(batch.weights == 1, batch.valid)
    assert batch.images.shape == (2, 3, 4, 3)
    assert torch.equal(batch.labels == 1, batch.valid)
    assert torch.equal(batch.labels == 255, ~batch.valid)
    assert pad_batch([np.zeros((1, 2)), np.zeros((3, 1))]).shape == (2, 3, 2)
    assert valid_pixels([(1, 2)], 2, 2).tolist() == [[[True, True], [False, False]]]
