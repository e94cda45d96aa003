"""Losses between an average prediction and a size target: NumPy in double precision, hand values, gradients, limits."""

import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from stages.segment.losses.average_prediction import log_average_prediction
from stages.segment.losses.size_losses import (
    FLOOR,
    SIZE_LOSSES,
    barrier,
    forward_kl,
    log_barrier,
    quadratic_barrier,
    reverse_kl,
    squared,
)

MARGIN, T = 0.1, 12.0
EVERY = pytest.mark.parametrize("name", list(SIZE_LOSSES))


def evaluate(name, log_average, sizes):
    return SIZE_LOSSES[name](log_average, sizes, MARGIN, T)


def psi(z, t):
    return -math.log(-z) / t if z <= -1 / t**2 else t * z - math.log(1 / t**2) / t + 1 / t


def by_hand(name, s, v):
    """The equation for one image, class by class."""
    s, v = [float(x) for x in s], [float(x) for x in v]
    raised = [max(x, FLOOR) for x in v]
    total = 0.0
    for sk, vk, rk in zip(s, v, raised, strict=True):
        low, high = vk * (1 - MARGIN), vk * (1 + MARGIN)
        if name == "forward_kl" and vk > 0:
            total += vk * math.log(vk / sk)
        if name == "reverse_kl":
            total += sk * math.log(sk / (rk / sum(raised)))
        if name == "squared":
            total += (sk - vk) ** 2
        if name == "quadratic_barrier":
            total += (sk - low) ** 2 if sk < low else (sk - high) ** 2 if sk > high else 0
        if name == "log_barrier":
            total += psi(sk - high, T) + (psi(low - sk, T) if vk > 0 else 0)
    return total


def random_shares(rng, batch, classes):
    """Average predictions and sizes, some of them absent and some met within the margin."""
    sizes = rng.dirichlet(np.full(classes, 0.5), batch)
    sizes[rng.random(sizes.shape) < 0.3] = 0
    sizes[:, 0] += 0.01
    sizes /= sizes.sum(1, keepdims=True)
    other = rng.dirichlet(np.full(classes, 0.5), batch) + 1e-6
    share = rng.choice([0, 0.05, 1], (batch, 1))
    average = (1 - share) * (sizes + 1e-6) + share * other
    return average / average.sum(1, keepdims=True), sizes


@EVERY
def test_equals_the_equation(name):
    rng = np.random.default_rng(0)
    for _ in range(150):
        average, sizes = random_shares(rng, rng.integers(1, 5), rng.integers(2, 8))
        want = np.mean([by_hand(name, s, v) for s, v in zip(average, sizes, strict=True)])
        got = evaluate(name, torch.tensor(average).log(), torch.tensor(sizes))
        assert got.item() == pytest.approx(want, rel=1e-9, abs=1e-12)
        single = evaluate(name, torch.tensor(average).log().float(), torch.tensor(sizes).float())
        assert single.dtype == torch.float32
        assert single.item() == pytest.approx(want, rel=1e-5, abs=1e-5)


@EVERY
def test_gradients(name):
    rng = np.random.default_rng(1)
    for _ in range(20):
        average, sizes = random_shares(rng, 2, 4)
        logits = torch.tensor(np.log(average), requires_grad=True)
        assert torch.autograd.gradcheck(lambda x, v: evaluate(name, x.log_softmax(1), v), (logits, torch.tensor(sizes)))


@pytest.mark.parametrize(
    ("share", "forward", "reverse", "square"),
    [
        (0.1, (0.154, -0.200), (0.116, -0.122), (0.080, -0.072)),
        (0.01, (0.778, -0.290), (0.309, -0.037), (0.168, -0.0115)),
        (0.001, (1.462, -0.299), (0.350, -0.006), (0.179, -0.0012)),
        (0.0001, (2.152, -0.300), (0.356, -0.0008), (0.180, -0.0001)),
    ],
)
def test_only_the_forward_divergence_pulls_a_forgotten_class_back(share, forward, reverse, square):
    """Two classes, v = (0.7, 0.3), equal pixels: value and gradient on the object's logit.

    No size is below the floor of the reverse divergence, so it plays no part.
    """
    sizes = torch.tensor([[0.7, 0.3]], dtype=torch.float64)
    for loss, (value, slope) in ((forward_kl, forward), (reverse_kl, reverse), (squared, square)):
        logits = torch.tensor([[1 - share, share]], dtype=torch.float64).log().requires_grad_()
        got = loss(logits.log_softmax(1), sizes)
        got.backward()
        assert got.item() == pytest.approx(value, abs=6e-4)
        digits = 4 if abs(slope) < 0.02 and loss is not reverse_kl or abs(slope) < 0.001 else 3
        assert logits.grad[0, 1].item() == pytest.approx(slope, abs=0.6 * 10**-digits)
    exact = share * (1 - share) * (math.log(share / 0.3) - math.log((1 - share) / 0.7))
    logits = torch.tensor([[1 - share, share]], dtype=torch.float64).log().requires_grad_()
    reverse_kl(logits.log_softmax(1), sizes).backward()
    assert logits.grad[0, 1].item() == pytest.approx(exact, rel=1e-9)


@EVERY
def test_meeting_the_sizes_is_the_minimum(name):
    """Among random predictions none is better, and there is no slope at it; no size is below the floor."""
    rng = np.random.default_rng(2)
    sizes = torch.tensor([[0.6, 0.3, 0.1]], dtype=torch.float64)
    logits = sizes.log().requires_grad_()
    best = evaluate(name, logits.log_softmax(1), sizes)
    best.backward()
    assert logits.grad.abs().max() < 1e-9
    if name != "log_barrier":
        assert best.item() == pytest.approx(0, abs=1e-12)
    for other in torch.tensor(rng.dirichlet(np.ones(3), 200)):
        assert evaluate(name, other.log()[None], sizes) > best - 1e-12


def test_the_floor_bounds_the_cost_of_an_absent_class():
    absent = torch.tensor([[1.0, 0.0]], dtype=torch.float64)
    for floor in (1e-2, 1e-3, 1e-4):
        met = torch.tensor([[1.0, floor]], dtype=torch.float64)
        met /= met.sum()
        assert reverse_kl(met.log(), absent, floor).item() == pytest.approx(0, abs=1e-12)
        half = reverse_kl(torch.full((1, 2), 0.5, dtype=torch.float64).log(), absent, floor)
        assert half.item() == pytest.approx(-math.log(2) - 0.5 * math.log(floor) + math.log(1 + floor))


@EVERY
def test_an_absent_class_is_pushed_down(name):
    sizes = torch.tensor([[0.8, 0.2, 0.0]], dtype=torch.float64)
    logits = torch.tensor([[0.72, 0.18, 0.1]], dtype=torch.float64).log().requires_grad_()
    evaluate(name, logits.log_softmax(1), sizes).backward()
    assert logits.grad[0, 2] > 1e-3


def test_within_the_margin_the_quadratic_barrier_is_flat():
    sizes = torch.tensor([[0.5, 0.5]])
    for inside in (0.451, 0.5, 0.549):
        assert quadratic_barrier(torch.tensor([[inside, 1 - inside]]).log(), sizes, 0.1) == 0
    outside = quadratic_barrier(torch.tensor([[0.4, 0.6]], dtype=torch.float64).log(), sizes.double(), 0.1)
    assert outside.item() == pytest.approx(2 * 0.05**2)


def test_the_barrier_is_continuous_with_its_slope():
    for t in (0.5, 5.0, 100.0):
        edge = -1 / t**2
        z = torch.tensor([edge * (1 + 1e-7), edge * (1 - 1e-7)], dtype=torch.float64, requires_grad=True)
        values = barrier(z, t)
        values.sum().backward()
        assert values[0].item() == pytest.approx(values[1].item(), rel=1e-6)
        assert z.grad.tolist() == pytest.approx([t, t], rel=1e-6)
        far = torch.tensor([-3.0, 0.0, 5.0], dtype=torch.float64)
        assert barrier(far, t).tolist() == pytest.approx([psi(x, t) for x in far.tolist()])


def test_shares_and_pixel_counts_differ_by_the_factors_that_are_stated():
    """The papers' losses on numbers of pixels, divided by the number of pixels, from those on shares."""
    sizes, pixels, t = torch.tensor([[0.7, 0.3]], dtype=torch.float64), 4096, 5.0
    offsets = []
    for share in (0.001, 0.1, 0.268, 0.3, 0.32, 0.5, 0.99):
        average = [1 - share, share]
        log_average = torch.tensor([average], dtype=torch.float64).log()
        square = barriers = 0.0
        for s, v in zip(average, [0.7, 0.3], strict=True):
            count, low, high = pixels * s, pixels * v * 0.9, pixels * v * 1.1
            square += (max(low - count, 0) ** 2 + max(count - high, 0) ** 2) / pixels
            barriers += (psi(count - high, t) + psi(low - count, t)) / pixels
        assert pixels * quadratic_barrier(log_average, sizes, 0.1).item() == pytest.approx(square)
        ours = log_barrier(log_average, sizes, 0.1, t * math.sqrt(pixels)).item() / math.sqrt(pixels)
        offsets.append(ours - barriers)
    assert offsets == pytest.approx([offsets[0]] * len(offsets), abs=1e-9)


@pytest.mark.parametrize(("t", "pulled"), [(2.0, False), (100.0, True)])
def test_a_log_barrier_with_a_small_t_has_no_slope_at_a_forgotten_class(t, pulled):
    logits = torch.tensor([[10.0, 0.0]], dtype=torch.float64, requires_grad=True)
    log_average = logits.log_softmax(1)
    log_average.retain_grad()
    log_barrier(log_average, torch.tensor([[0.9, 0.1]], dtype=torch.float64), 0.1, t).backward()
    slope = (log_average.grad / log_average.exp())[0, 1].item()
    assert slope == pytest.approx(-t if pulled else 0, rel=0.2, abs=1e-9)


@EVERY
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_logits_of_any_precision_and_forgotten_classes_are_finite(name, dtype):
    logits = torch.zeros(2, 3, 4, 5, dtype=dtype)
    logits[:, 1] = -200
    logits[1, 2] = 300
    logits.requires_grad_()
    valid = torch.ones(2, 4, 5, dtype=torch.bool)
    sizes = torch.tensor([[0.5, 0.5, 0.0], [1.0, 0.0, 0.0]])
    loss = evaluate(name, log_average_prediction(logits, valid), sizes)
    loss.backward()
    assert loss.dtype == torch.float32
    assert torch.isfinite(loss)
    assert torch.isfinite(logits.grad).all()


@EVERY
def test_a_padded_batch_is_the_mean_of_its_images(name):
    generator = torch.Generator().manual_seed(3)
    images = [torch.randn(1, 3, *size, generator=generator) for size in ((4, 6), (5, 2), (1, 1))]
    sizes = torch.tensor([[0.5, 0.5, 0.0], [0.2, 0.3, 0.5], [1.0, 0.0, 0.0]])
    padded = torch.cat([F.pad(x, (0, 6 - x.shape[3], 0, 5 - x.shape[2]), value=9.0) for x in images])
    valid = torch.zeros(3, 5, 6, dtype=torch.bool)
    for row, x in zip(valid, images, strict=True):
        row[: x.shape[2], : x.shape[3]] = True
    padded.requires_grad_()
    got = evaluate(name, log_average_prediction(padded, valid), sizes)
    got.backward()
    each = [
        evaluate(name, log_average_prediction(x, torch.ones(1, *x.shape[2:], dtype=torch.bool)), v[None])
        for x, v in zip(images, sizes, strict=True)
    ]
    assert got.item() == pytest.approx(np.mean([x.item() for x in each]), rel=1e-5)
    assert padded.grad.masked_fill(valid[:, None], 0).abs().max() == 0


def test_one_class_costs_what_it_must():
    alone = torch.zeros(1, 1)
    for name in ("forward_kl", "reverse_kl", "squared", "quadratic_barrier"):
        assert evaluate(name, alone, torch.ones(1, 1)) == 0
