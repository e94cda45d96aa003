"""Losses on the average prediction against the papers' equations in double precision."""

import numpy as np
import pytest
import torch

from stages.segment.losses.average_prediction import log_average_prediction, tag_likelihood
from stages.segment.losses.size_losses import forward_kl


def size_divergence(logits, valid, sizes):
    return forward_kl(log_average_prediction(logits, valid), sizes)


def random_case(rng):
    batch, classes, height, width = rng.integers(1, 4), rng.integers(2, 6), *rng.integers(1, 7, 2)
    logits = rng.normal(scale=3, size=(batch, classes, height, width))
    valid = rng.random((batch, height, width)) < 0.7
    valid[:, 0, 0] = True
    return logits, valid


def averages(logits, valid):
    exponent = np.exp(logits)
    softmax = exponent / exponent.sum(1, keepdims=True)
    return np.stack([s[:, v].mean(1) for s, v in zip(softmax, valid, strict=True)])


def test_size_divergence_equals_the_equation_of_the_paper():
    rng = np.random.default_rng(0)
    for _ in range(100):
        logits, valid = random_case(rng)
        sizes = rng.dirichlet(np.full(logits.shape[1], 0.5), len(logits))
        sizes[:, -1] = 0
        sizes /= sizes.sum(1, keepdims=True)
        mean = averages(logits, valid)
        terms = np.where(sizes > 0, sizes * np.log(np.where(sizes > 0, sizes, 1) / mean), 0)
        got = size_divergence(torch.tensor(logits), torch.tensor(valid), torch.tensor(sizes))
        assert got.item() == pytest.approx(terms.sum(1).mean(), abs=1e-5)


def test_tag_likelihood_is_the_mean_log_over_present_classes():
    rng = np.random.default_rng(1)
    for _ in range(100):
        logits, valid = random_case(rng)
        tags = (rng.random(logits.shape[:2]) < 0.5).astype(float)
        tags[:, 0] = 1
        mean = averages(logits, valid)
        want = -np.mean([np.log(m[t > 0]).mean() for m, t in zip(mean, tags, strict=True)])
        got = tag_likelihood(torch.tensor(logits), torch.tensor(valid), torch.tensor(tags))
        assert got.item() == pytest.approx(want, abs=1e-5)


def test_gradient_of_the_size_loss_is_the_closed_form():
    """dL/dz_p^k = S_p^k / |Omega| (r_p - r_k) with r_k = v_k / S_k and r_p = sum_j S_p^j r_j."""
    rng = np.random.default_rng(2)
    logits = torch.tensor(rng.normal(size=(1, 3, 4, 5)), requires_grad=True)
    sizes = torch.tensor([[0.7, 0.3, 0.0]], dtype=torch.float64)
    size_divergence(logits, torch.ones(1, 4, 5, dtype=torch.bool), sizes).backward()
    softmax = logits.detach().softmax(1)[0].flatten(1)
    ratio = sizes[0] / softmax.mean(1)
    want = softmax / 20 * ((softmax * ratio[:, None]).sum(0) - ratio[:, None])
    assert torch.allclose(logits.grad[0].flatten(1), want, atol=1e-6)


def test_an_exact_average_costs_nothing():
    logits = torch.log(torch.tensor([0.6, 0.3, 0.1])).view(1, 3, 1, 1).expand(1, 3, 4, 4)
    loss = size_divergence(logits, torch.ones(1, 4, 4, dtype=torch.bool), torch.tensor([[0.6, 0.3, 0.1]]))
    assert loss.item() == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_a_forgotten_class_has_a_finite_loss_and_a_gradient(dtype):
    """In linear space the average underflows at a logit of -200 and the gradient vanishes or is NaN."""
    logits = torch.zeros(1, 2, 3, 3, dtype=dtype)
    logits[:, 1] = -200
    logits.requires_grad_()
    loss = size_divergence(logits, torch.ones(1, 3, 3, dtype=torch.bool), torch.tensor([[0.7, 0.3]]))
    loss.backward()
    assert loss.item() == pytest.approx(0.7 * np.log(0.7) + 0.3 * (np.log(0.3) + 200), rel=1e-3)
    assert logits.grad[:, 1].sum().item() == pytest.approx(-0.3, rel=1e-2)


def test_padding_counts_nowhere():
    rng = np.random.default_rng(3)
    logits = torch.tensor(rng.normal(size=(1, 3, 4, 4)), dtype=torch.float32)
    padded = torch.nn.functional.pad(logits, (0, 3, 0, 2), value=50.0).requires_grad_()
    valid = torch.zeros(1, 6, 7, dtype=torch.bool)
    valid[:, :4, :4] = True
    whole = log_average_prediction(logits, torch.ones(1, 4, 4, dtype=torch.bool))
    assert torch.allclose(log_average_prediction(padded, valid), whole, atol=1e-6)
    size_divergence(padded, valid, torch.tensor([[0.2, 0.5, 0.3]])).backward()
    assert padded.grad[:, :, 4:].abs().max() == 0
    assert torch.isfinite(padded.grad).all()


def test_an_image_without_tags_contributes_nothing():
    logits = torch.randn(2, 3, 4, 4, requires_grad=True)
    tags = torch.tensor([[0.0, 0.0, 0.0], [1.0, 0.0, 1.0]])
    valid = torch.ones(2, 4, 4, dtype=torch.bool)
    both, alone = tag_likelihood(logits, valid, tags), tag_likelihood(logits[1:], valid[1:], tags[1:])
    assert both.item() == pytest.approx(alone.item() / 2)
