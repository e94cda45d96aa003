"""Size weights against loops over the components that SciPy finds."""

import numpy as np
import pytest
from scipy import ndimage

from stages.segment.losses.size_weights import size_weights


def by_loops(labels, tau, reading, background):
    weights = np.where(labels == 255, 0.0, 1.0)
    classes = [k for k in np.unique(labels) if k != 255 and not (background and k == 0)]
    for k in classes:
        parts, count = ndimage.label(labels == k, np.ones((3, 3)))
        total = sum((labels == c).sum() for c in classes) if reading == "image" else (labels == k).sum()
        for part in range(1, count + 1):
            weights[parts == part] = min(tau, total / (parts == part).sum())
    return weights


def random_map(rng):
    height, width = rng.integers(1, 24, 2)
    if rng.random() < 0.4:  # noise: hundreds of components of a pixel or two
        return rng.choice([0, 1, 2, 7, 255], (height, width)).astype(np.uint8)
    labels = np.full((height, width), rng.choice([0, 0, 0, 3, 255]), np.uint8)
    for _ in range(rng.integers(0, 6)):
        top, left = rng.integers(height), rng.integers(width)
        labels[top : top + rng.integers(1, 12), left : left + rng.integers(1, 12)] = rng.choice([0, 1, 2, 254, 255])
    return labels


@pytest.mark.parametrize("background", [True, False])
@pytest.mark.parametrize("reading", ["image", "class"])
def test_equal_loops_over_components(reading, background):
    rng = np.random.default_rng(0)
    for _ in range(150):
        labels, tau = random_map(rng), rng.choice([0.5, 2.0, 5.0, 1e9])
        got = size_weights(labels, tau, reading, background)
        assert got.dtype == np.float32
        assert got.shape == labels.shape
        np.testing.assert_allclose(got, by_loops(labels, tau, reading, background), rtol=1e-6)


def test_an_image_by_hand():
    labels = np.zeros((8, 8), np.uint8)
    labels[:4, :4] = 1  # 16 pixels
    labels[6, 6] = 1  # 1
    labels[6, :3] = 2  # 3
    labels[4, 7] = 255
    got = size_weights(labels, 5, "image")
    assert got[0, 0] == np.float32(20 / 16)
    assert got[6, 6] == 5
    assert got[6, 0] == 5
    assert got[7, 7] == 1
    assert got[4, 7] == 0
    own = size_weights(labels, 5, "class")
    assert own[0, 0] == np.float32(17 / 16)
    assert own[6, 0] == 1  # alone in its class


@pytest.mark.parametrize("reading", ["image", "class"])
def test_limits(reading):
    for shape in ((1, 1), (5, 7)):
        for background in (True, False):
            assert (size_weights(np.full(shape, 255, np.uint8), 5, reading, background) == 0).all()
            assert (size_weights(np.zeros(shape, np.uint8), 5, reading, background) == 1).all()
            assert (size_weights(np.full(shape, 9, np.uint8), 5, reading, background) == 1).all()


def test_a_hole_is_background_and_no_part_of_the_object():
    labels = np.zeros((9, 9), np.uint8)
    labels[1:6, 1:6] = 1
    labels[2:5, 2:5] = 0
    labels[8, 8] = 2
    got = size_weights(labels, 5)
    assert got[3, 3] == 1
    assert got[1, 1] == np.float32(17 / 16)


def test_labels_may_be_a_view_and_the_reading_must_be_known():
    labels = np.random.default_rng(1).integers(0, 3, (12, 10)).astype(np.uint8)
    np.testing.assert_array_equal(size_weights(labels.T[::-1], 5), size_weights(labels, 5).T[::-1])
    with pytest.raises(ValueError, match="pixel"):
        size_weights(labels, 5, "pixel")
