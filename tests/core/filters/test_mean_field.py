"""Mean-field inference of a batch of images against one image after the other."""

from __future__ import annotations

import numpy as np
import pytest

from stages.core.faults import Fault
from stages.core.filters.mean_field import mean_field, mean_field_batch
from stages.core.params import Params
from stages.download.shapes import render

KERNELS = {"gaussian": {"xy": 3, "weight": 3}, "bilateral": {"xy": 20, "rgb": 10, "weight": 5}}


def a_batch(count: int, problems: int, labels: int) -> tuple[np.ndarray, np.ndarray]:
    """Pictures (B, 40, 48, 3) and energies (B, S, K, 40 * 48) of coarse random distributions."""
    images = np.stack([render(0, 0, index, 48)[0][:40] for index in range(count)])
    generator = np.random.default_rng(count)
    coarse = generator.dirichlet(np.ones(labels), (count, problems, 5, 6)).repeat(8, 2).repeat(8, 3)
    return images, -np.log(np.moveaxis(coarse, -1, 2).reshape(count, problems, labels, -1) + 1e-5).astype(np.float32)


@pytest.mark.parametrize(("count", "problems", "labels"), [(1, 1, 2), (4, 1, 3), (3, 2, 5)])
def test_a_batch_equals_its_images_one_by_one(count: int, problems: int, labels: int) -> None:
    images, energies = a_batch(count, problems, labels)
    crf = Params({"kernels": KERNELS, "iterations": 10})
    got = mean_field_batch(images, energies, crf)
    assert got.dtype == np.float32
    assert got.shape == energies.shape
    expected = [mean_field(image, energy, crf) for image, energy in zip(images, energies, strict=True)]
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-6)
    np.testing.assert_allclose(got.sum(2), 1, atol=1e-5)


def test_without_kernels_or_iterations_it_is_the_softmax() -> None:
    images, energies = a_batch(2, 1, 3)
    expected = np.exp(-energies) / np.exp(-energies).sum(2, keepdims=True)
    for crf in ({"kernels": {}, "iterations": 5}, {"kernels": KERNELS, "iterations": 0}):
        np.testing.assert_allclose(mean_field_batch(images, energies, Params(crf)), expected, rtol=1e-5)


def test_another_kernel_is_refused() -> None:
    images, energies = a_batch(1, 1, 2)
    with pytest.raises(Fault, match="no dense CRF kernel 'box'"):
        mean_field_batch(images, energies, Params({"kernels": {"box": {"xy": 3, "weight": 1}}, "iterations": 1}))
