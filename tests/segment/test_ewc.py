"""The Fisher information in closed form, and the penalty under everything that wraps a network."""

import io

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from stages.segment.losses.ewc import Consolidated, fisher_diagonal, flat, normalised, trainable


class Toy(nn.Module):
    """A segmenter of two layers, one of them its encoder; its normalisation is frozen but for the bias."""

    def __init__(self):
        super().__init__()
        self.encoder = nn.Conv2d(3, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.norm.weight.requires_grad_(False)
        self.head = nn.Conv2d(4, 2, 1)

    def forward(self, images):
        return self.head(self.norm(self.encoder(images)).relu())


def consolidated(seed=0):
    torch.manual_seed(seed)
    network = Consolidated(Toy())
    network.consolidate(torch.rand_like(network.fisher) + 0.1)
    return network


def step(wrapped, seed=0, rate=0.1):
    """One step of SGD on the wrapped network's first output; returns the penalty that it reports afterwards."""
    images = torch.rand(2, 3, 6, 6, generator=torch.Generator().manual_seed(seed))
    parameters = [p for p in wrapped.parameters() if p.requires_grad]
    logits, penalty = wrapped(images)
    (logits.square().mean() + penalty).backward()
    torch.optim.SGD(parameters, rate).step()
    for parameter in parameters:
        parameter.grad = None
    return wrapped(images)[1]


def logistic(rng):
    """Random softmax regression: inputs, labels, parameters, and each sample's gradient by its formula."""
    samples, features, classes = rng.integers(2, 9), rng.integers(1, 5), rng.integers(2, 5)
    x, y = rng.normal(size=(samples, features)), rng.integers(0, classes, samples)
    weight, bias = rng.normal(size=(classes, features)), rng.normal(size=classes)
    scores = x @ weight.T + bias
    errors = np.exp(scores) / np.exp(scores).sum(1, keepdims=True) - np.eye(classes)[y]  # d loss / d scores
    by_sample = np.concatenate([(errors[:, :, None] * x[:, None]).reshape(samples, -1), errors], 1)
    parameters = [torch.tensor(value, requires_grad=True) for value in (weight, bias)]
    inputs, targets = torch.tensor(x), torch.tensor(y)

    def loss(indices):
        return F.cross_entropy(F.linear(inputs[indices], *parameters), targets[indices])

    return parameters, loss, by_sample


@pytest.mark.parametrize("kind", ["per_sample", "batch", "running"])
def test_logistic_regression_has_its_closed_form(kind):
    rng = np.random.default_rng(0)
    for _ in range(100):
        parameters, loss, by_sample = logistic(rng)
        order = rng.permutation(len(by_sample))
        size = int(rng.integers(1, 10))
        step = 1 if kind == "per_sample" else min(size, len(order))
        batches = [order[start : start + step] for start in range(0, len(order) - step + 1, step)]
        squares = [by_sample[batch].mean(0) ** 2 for batch in batches]
        expected = np.mean(squares, 0)
        if kind == "running":
            expected = np.ones(by_sample.shape[1])
            for square in squares:
                expected = 0.9 * square + 0.1 * expected
        got = fisher_diagonal(parameters, loss, order, kind, size)
        assert got.dtype == torch.float32
        np.testing.assert_allclose(got, expected, rtol=2e-5, atol=1e-8)


def test_a_long_running_average_forgets_what_float32_cannot_hold():
    parameter = torch.ones(1, requires_grad=True)
    values = np.random.default_rng(0).normal(size=200)
    called = []

    def loss(indices):
        called.extend(indices)
        return (parameter * values[indices[0]]).sum()

    expected = 1.0
    for value in values:
        expected = 0.9 * value**2 + 0.1 * expected
    got = fisher_diagonal([parameter], loss, range(200), "running", 1)
    assert got.item() == pytest.approx(expected, rel=1e-6)
    assert called == list(range(154, 200))


@pytest.mark.parametrize("size", [2, 4])
def test_batches_of_equal_and_of_orthogonal_samples(size):
    rng = np.random.default_rng(1)
    weight = torch.tensor(rng.normal(size=(3, 8)), requires_grad=True)
    labels = torch.tensor(rng.integers(0, 3, 8))

    def fisher(inputs, targets, kind):
        return fisher_diagonal(
            [weight], lambda i: F.cross_entropy(inputs[i] @ weight.T, targets[i]), range(8), kind, size
        )

    # each sample has a feature of its own, so a batch's gradient is its samples' side by side, each over B
    basis = torch.eye(8, dtype=torch.float64)
    torch.testing.assert_close(fisher(basis, labels, "batch"), fisher(basis, labels, "per_sample") / size)
    same, target = basis[:1].expand(8, 8) + 0.3, labels[:1].expand(8)
    torch.testing.assert_close(fisher(same, target, "batch"), fisher(same, target, "per_sample"))


def test_a_parameter_that_the_loss_does_not_reach():
    used, unused = (torch.ones(2, requires_grad=True) for _ in range(2))
    for kind, rest in (("per_sample", 0.0), ("batch", 0.0), ("running", 1e-3)):
        got = fisher_diagonal([used, unused], lambda indices: (3 * used).sum(), range(3), kind, 1)
        np.testing.assert_allclose(got[2:], rest, rtol=1e-6)
        assert (got[:2] > 8).all()


def test_normalisation_by_tensor_and_by_all():
    rng = np.random.default_rng(2)
    for _ in range(100):
        parameters = [torch.zeros(tuple(rng.integers(1, 4, rng.integers(1, 4)))) for _ in range(rng.integers(1, 5))]
        values = [rng.random(p.numel()).astype(np.float32) * 10.0 ** rng.integers(-12, 3) for p in parameters]
        fisher = torch.tensor(np.concatenate(values))
        spans = [np.ptp(v) for v in values]
        by_tensor = [(v - v.min()) / span if span else 0 * v for v, span in zip(values, spans, strict=True)]
        np.testing.assert_allclose(normalised(fisher, parameters, "tensor"), np.concatenate(by_tensor), rtol=1e-5)
        np.testing.assert_allclose(normalised(fisher, parameters, "all"), fisher / fisher.max(), rtol=1e-6)
        assert normalised(fisher, parameters, "none") is fisher
    nothing = torch.zeros(5)
    for how in ("tensor", "all"):
        assert (normalised(nothing, [torch.zeros(5)], how) == 0).all()


def test_the_penalty_is_exactly_0_with_no_gradient_before_task_b_and_at_the_anchor():
    torch.manual_seed(0)
    network = Consolidated(Toy())
    assert not network.fisher.any()
    for _ in range(2):
        penalty = network(torch.rand(2, 3, 6, 6))[1]
        assert penalty.item() == 0
        for gradient in torch.autograd.grad(penalty, trainable(network.segmenter)):
            assert (gradient == 0).all()
        network.consolidate(torch.rand_like(network.fisher) + 0.1)
        assert network.fisher.all()


def test_the_penalty_and_its_gradient_equal_their_formulas():
    rng = np.random.default_rng(3)
    network = consolidated()
    parameters = trainable(network.segmenter)
    assert len(parameters) == 5  # not the frozen weight
    anchor, fisher = network.anchor.double().numpy(), network.fisher.double().numpy()
    for _ in range(100):
        with torch.no_grad():
            for parameter in parameters:
                parameter.add_(torch.tensor(rng.normal(scale=0.1, size=parameter.shape)))
        away = flat(parameters).detach().double().numpy() - anchor
        penalty = network.penalty()
        assert penalty.item() == pytest.approx((fisher * away**2).sum(), rel=1e-5)
        np.testing.assert_allclose(
            flat(torch.autograd.grad(penalty, parameters)), 2 * fisher * away, rtol=1e-4, atol=1e-6
        )


def test_descent_ends_where_the_two_tasks_balance():
    # L_B = a/2 (theta - b)^2, so theta* = (a b + 2 lambda F theta_A) / (a + 2 lambda F)
    curvature, goal, fisher = 0.5, 3.0, 0.7
    distances = []
    for weight in (0.0, 1.0, 10.0, 1000.0):
        network = Consolidated(nn.Linear(1, 1, bias=False))
        network.consolidate(torch.tensor([fisher]))
        theta, anchor = network.segmenter.weight, network.anchor.item()
        optimiser = torch.optim.SGD([theta], 1 / (curvature + 2 * weight * fisher + 0.5))
        for _ in range(40):
            optimiser.zero_grad()
            (curvature / 2 * (theta - goal).square().sum() + weight * network.penalty()).backward()
            optimiser.step()
        best = (curvature * goal + 2 * weight * fisher * anchor) / (curvature + 2 * weight * fisher)
        assert theta.item() == pytest.approx(best, abs=1e-4)
        distances.append(abs(theta.item() - anchor))
    assert distances == sorted(distances, reverse=True)
    assert distances[-1] < 3e-3


def test_a_saved_state_restores_the_penalty():
    network = consolidated()
    step(network)
    file = io.BytesIO()
    torch.save(network.state_dict(), file)
    file.seek(0)
    other = Consolidated(Toy())
    other.load_state_dict(torch.load(file, weights_only=True))
    assert network.penalty().item() == other.penalty().item() > 0


@pytest.mark.parametrize("cast", [torch.bfloat16, torch.float16])
def test_the_penalty_is_float32_under_autocast(cast):
    network = consolidated()
    step(network)
    with torch.autocast("cpu", cast):
        penalty = network(torch.rand(2, 3, 6, 6))[1]
    assert penalty.dtype == network.fisher.dtype == network.anchor.dtype == torch.float32
    assert penalty.item() == network.penalty().item()


def test_the_penalty_acts_under_what_renames_parameters():
    expected = step(consolidated()).item()
    assert expected > 1e-4
    assert step(nn.DataParallel(consolidated())).item() == pytest.approx(expected, rel=1e-5)
    # traced as ever, but not made C++ of, which takes a compiler and most of a minute
    assert step(torch.compile(consolidated(), backend="aot_eager")).item() == pytest.approx(expected, rel=1e-5)
