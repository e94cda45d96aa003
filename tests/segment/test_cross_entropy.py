"""Cross-entropy against its equation in double precision."""

import numpy as np
import pytest
import torch

from stages.segment.losses.cross_entropy import cross_entropy


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_equals_the_equation_over_labelled_pixels(smoothing):
    rng = np.random.default_rng(0)
    for _ in range(50):
        classes, height, width = rng.integers(2, 6), *rng.integers(1, 6, 2)
        logits = rng.normal(scale=2, size=(2, classes, height, width))
        labels = rng.integers(0, classes, (2, height, width))
        labels[rng.random(labels.shape) < 0.3] = 255
        labels[0, 0, 0] = 1
        log_p = logits - np.log(np.exp(logits).sum(1, keepdims=True))
        costs = [
            -((1 - smoothing) * log_p[b, labels[b, y, x], y, x] + smoothing * log_p[b, :, y, x].mean())
            for b, y, x in np.ndindex(labels.shape)
            if labels[b, y, x] != 255
        ]
        got = cross_entropy(torch.tensor(logits), torch.tensor(labels), smoothing)
        assert got.item() == pytest.approx(np.mean(costs), abs=1e-5)
