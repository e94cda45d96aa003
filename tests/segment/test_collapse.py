"""The measures of collapse against their definitions, and on predictions whose answer is known."""

import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from stages.segment.losses.average_prediction import log_average_prediction
from stages.segment.losses.collapse import mean_entropy, mutual_information
from stages.segment.losses.size_losses import forward_kl


def size_divergence(logits, valid, sizes):
    return forward_kl(log_average_prediction(logits, valid), sizes)


def distributions(logits, valid):
    exponent = np.exp(logits)
    softmax = exponent / exponent.sum(1, keepdims=True)
    return [s[:, v] for s, v in zip(softmax, valid, strict=True)]  # (K, pixels) per image


def test_equal_their_definitions():
    rng = np.random.default_rng(0)
    for _ in range(120):
        batch, classes, height, width = rng.integers(1, 4), rng.integers(2, 6), *rng.integers(1, 7, 2)
        logits = rng.normal(scale=rng.choice([0.01, 1, 6]), size=(batch, classes, height, width))
        valid = rng.random((batch, height, width)) < 0.7
        valid[:, 0, 0] = True
        images = distributions(logits, valid)
        entropy = [-(s * np.log(s)).sum(0).mean() for s in images]
        whole = [-(s.mean(1) * np.log(s.mean(1))).sum() for s in images]
        got = mean_entropy(torch.tensor(logits), torch.tensor(valid)).item()
        assert got == pytest.approx(np.mean(entropy) / math.log(classes), abs=1e-6)
        assert 0 <= got <= 1 + 1e-6
        information = mutual_information(torch.tensor(logits), torch.tensor(valid)).item()
        assert information == pytest.approx(np.mean(whole) - np.mean(entropy), abs=2e-6)
        assert 0 <= information <= math.log(classes) + 1e-6


def test_every_pixel_at_the_size_target_is_a_perfect_loss_without_information():
    sizes = torch.tensor([[0.7, 0.2, 0.1]])
    valid = torch.ones(1, 10, 10, dtype=torch.bool)
    collapsed = sizes.log()[:, :, None, None].expand(1, 3, 10, 10)
    labels = torch.tensor([0] * 70 + [1] * 20 + [2] * 10).view(1, 10, 10)
    sure = F.one_hot(labels, 3).permute(0, 3, 1, 2) * 60.0
    entropy = -(sizes * sizes.log()).sum().item()
    for logits in (collapsed, sure):
        assert size_divergence(logits, valid, sizes).item() == pytest.approx(0, abs=1e-6)
    assert mutual_information(collapsed, valid).item() == pytest.approx(0, abs=1e-6)
    assert mean_entropy(collapsed, valid).item() == pytest.approx(entropy / math.log(3), rel=1e-5)
    assert mutual_information(sure, valid).item() == pytest.approx(entropy, rel=1e-5)
    assert mean_entropy(sure, valid).item() == pytest.approx(0, abs=1e-6)
    assert mutual_information(torch.zeros(1, 3, 2, 2), valid[:, :2, :2]) == 0
    assert mean_entropy(torch.zeros(1, 3, 2, 2), valid[:, :2, :2]).item() == pytest.approx(1)


def test_rounding_makes_no_negative_information():
    rng = np.random.default_rng(2)
    for _ in range(100):
        equal = torch.tensor(rng.normal(scale=3, size=(1, 7, 1, 1)), dtype=torch.float32).expand(1, 7, 9, 11)
        assert 0 <= mutual_information(equal, torch.ones(1, 9, 11, dtype=torch.bool)) < 2e-6


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_extreme_logits_and_single_pixels(dtype):
    logits = torch.zeros(1, 2, 1, 2, dtype=dtype)
    logits[0, 0, 0, 0] = 300
    logits[0, 1, 0, 1] = torch.inf if dtype is torch.float16 else 300
    logits = logits.nan_to_num(posinf=6e4)
    logits[0, 0, 0, 1] = -torch.inf
    valid = torch.ones(1, 1, 2, dtype=torch.bool)
    assert mutual_information(logits, valid).item() == pytest.approx(math.log(2), rel=1e-6)
    assert mean_entropy(logits, valid).item() == 0
    assert mutual_information(logits[..., :1], valid[..., :1]) == 0  # one pixel is its own average


def test_padding_counts_nowhere_and_no_gradient_is_kept():
    generator = torch.Generator().manual_seed(1)
    small, large = torch.randn(1, 3, 2, 3, generator=generator), torch.randn(1, 3, 4, 4, generator=generator)
    batch = torch.cat([F.pad(small, (0, 1, 0, 2), value=7.0), large]).requires_grad_()
    valid = torch.ones(2, 4, 4, dtype=torch.bool)
    valid[0, 2:], valid[0, :, 3:] = False, False
    for measure in (mean_entropy, mutual_information):
        got = measure(batch, valid)
        each = [measure(x, torch.ones(1, *x.shape[2:], dtype=torch.bool)).item() for x in (small, large)]
        assert got.item() == pytest.approx(np.mean(each), rel=1e-5)
        assert not got.requires_grad
