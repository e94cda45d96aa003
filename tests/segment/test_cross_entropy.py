"""The cross-entropies against their equations, pixel by pixel in double precision."""

import math
import os

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from stages.core import distributed
from stages.segment.losses.cross_entropy import (
    balanced_cross_entropy,
    cross_entropy,
    ohem_cross_entropy,
    weighted_cross_entropy,
)

LOSSES = {  # of logits, labels and pixel weights
    "plain": lambda x, y, w: cross_entropy(x, y),
    "smooth": lambda x, y, w: cross_entropy(x, y, 0.1),
    "balanced": lambda x, y, w: balanced_cross_entropy(x, y),
    "balanced smooth": lambda x, y, w: balanced_cross_entropy(x, y, label_smoothing=0.1),
    "no background": lambda x, y, w: balanced_cross_entropy(x, y, background=False),
    "weights": weighted_cross_entropy,
    "weights pixels": lambda x, y, w: weighted_cross_entropy(x, y, w, "pixels"),
    "ohem": lambda x, y, w: ohem_cross_entropy(x, y, 0.4, 0.3),
    "ohem share": lambda x, y, w: ohem_cross_entropy(x, y, 0.25, 1e-9),
    "ohem threshold": lambda x, y, w: ohem_cross_entropy(x, y, 0.0, 0.5),
}
EVERY = pytest.mark.parametrize("name", list(LOSSES))


def hardest(image, share, threshold):
    """The costs of an image's hard pixels, by sorting."""
    image = sorted(image, reverse=True)
    above = sum(cost > -math.log(threshold) for cost in image)
    return image[: max(above, math.ceil(share * len(image)))]


def by_hand(name, logits, labels, weights):
    """The equation over a list of labelled pixels."""
    log_p = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    classes = logits.shape[1]
    smoothing = {"smooth": 0.1, "balanced smooth": 0.1}.get(name, 0.0)
    places = [at for at in np.ndindex(labels.shape) if labels[at] != 255]
    target = [(1 - smoothing) * np.eye(classes)[labels[at]] + smoothing / classes for at in places]
    costs = [-(t * log_p[b, :, y, x]).sum() for t, (b, y, x) in zip(target, places, strict=True)]
    if name.startswith("balanced"):
        groups = [[c for c, at in zip(costs, places, strict=True) if (labels[at] == 0) == zero] for zero in (0, 1)]
        return sum(np.mean(group) for group in groups if group)
    if name.startswith("weights"):
        total = sum(weights[at] * c for at, c in zip(places, costs, strict=True))
        count = sum(weights[at] for at in places) if name == "weights" else len(places)
        return total / count if count else 0.0
    if name.startswith("ohem"):
        share, threshold = {"ohem": (0.4, 0.3), "ohem share": (0.25, 1e-9), "ohem threshold": (0.0, 0.5)}[name]
        images = [[c for c, at in zip(costs, places, strict=True) if at[0] == b] for b in range(len(labels))]
        costs = [cost for image in images for cost in hardest(image, share, threshold)]
        return np.mean(costs) if costs else 0.0
    return np.mean(costs) if costs else 0.0


def random_case(rng, batch=None):
    batch, classes = batch or rng.integers(1, 4), rng.integers(2, 6)
    height, width = rng.integers(1, 6, 2)
    logits = rng.normal(scale=2, size=(batch, classes, height, width))
    labels = rng.integers(0, classes, (batch, height, width))
    labels[rng.random(labels.shape) < rng.choice([0, 0.3, 0.9, 1])] = 255
    return logits, labels, rng.random(labels.shape) * rng.integers(0, 3, labels.shape)


@EVERY
def test_equals_the_equation_over_labelled_pixels(name):
    rng = np.random.default_rng(0)
    for _ in range(150):
        logits, labels, weights = random_case(rng)
        got = LOSSES[name](*map(torch.tensor, (logits, labels, weights)))
        assert got.dtype == torch.float32
        assert got.item() == pytest.approx(by_hand(name, logits, labels, weights), rel=1e-5, abs=1e-5)


@EVERY
def test_gradient_equals_finite_differences_of_the_equation(name):
    rng = np.random.default_rng(1)
    step = 1e-6
    for _ in range(6):
        logits, labels, weights = random_case(rng, batch=2)
        tensor = torch.tensor(logits, requires_grad=True)
        LOSSES[name](tensor, torch.tensor(labels), torch.tensor(weights)).backward()
        want = np.zeros_like(logits)
        for at in np.ndindex(logits.shape):
            moved = logits.copy()
            moved[at] += step
            above = by_hand(name, moved, labels, weights)
            moved[at] -= 2 * step
            want[at] = (above - by_hand(name, moved, labels, weights)) / (2 * step)
        assert np.allclose(tensor.grad.numpy(), want, atol=1e-5)


@EVERY
def test_void_alone_costs_nothing_and_moves_nothing(name):
    logits = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(0), requires_grad=True)
    loss = LOSSES[name](logits, torch.full((2, 4, 4), 255), torch.ones(2, 4, 4))
    loss.backward()
    assert loss == 0
    assert logits.grad.abs().max() == 0


@EVERY
def test_empty_maps_cost_nothing(name):
    assert LOSSES[name](torch.zeros(2, 3, 0, 0), torch.zeros(2, 0, 0, dtype=torch.int64), torch.zeros(2, 0, 0)) == 0


@EVERY
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_logits_are_summed_in_single(name, dtype):
    generator = torch.Generator().manual_seed(1)
    logits = torch.randn(2, 3, 40, 40, generator=generator).to(dtype)
    labels = torch.randint(0, 3, (2, 40, 40), generator=generator)
    weights = torch.rand(2, 40, 40, generator=generator)
    assert LOSSES[name](logits, labels, weights) == LOSSES[name](logits.float(), labels, weights)


@EVERY
def test_padding_is_void(name):
    generator = torch.Generator().manual_seed(2)
    logits = torch.randn(2, 3, 4, 5, generator=generator)
    labels = torch.randint(0, 3, (2, 4, 5), generator=generator)
    weights = torch.rand(2, 4, 5, generator=generator)
    room = (0, 3, 0, 2)
    padded = LOSSES[name](
        F.pad(logits, room, value=50.0), F.pad(labels, room, value=255), F.pad(weights, room, value=1)
    )
    assert padded.item() == pytest.approx(LOSSES[name](logits, labels, weights).item(), rel=1e-6)


def test_one_pixel_of_foreground_weighs_as_much_as_all_background():
    logits = torch.zeros(1, 2, 10, 10, requires_grad=True)
    labels = torch.zeros(1, 10, 10, dtype=torch.int64)
    labels[0, 3, 4] = 1
    loss = balanced_cross_entropy(logits, labels)
    loss.backward()
    assert loss.item() == pytest.approx(2 * math.log(2))
    assert logits.grad[0, 1, 3, 4].item() == pytest.approx(-0.5)
    assert logits.grad[0, 1].sum().item() == pytest.approx(0, abs=1e-6)


def test_one_class_costs_nothing():
    logits, labels = torch.randn(1, 1, 3, 3), torch.zeros(1, 3, 3, dtype=torch.int64)
    for loss in LOSSES.values():
        assert loss(logits, labels, torch.ones(1, 3, 3)) == 0


def test_equal_pixels_are_all_kept_or_all_left():
    """An order among equals would depend on the sorting algorithm."""
    logits = torch.zeros(1, 2, 3, 4, requires_grad=True)
    ohem_cross_entropy(logits, torch.zeros(1, 3, 4, dtype=torch.int64), 0.1, 0.2).backward()
    assert logits.grad[0, 0].tolist() == pytest.approx(torch.full((3, 4), -0.5 / 12))
    everything = ohem_cross_entropy(logits, torch.zeros(1, 3, 4, dtype=torch.int64), 1.0, 0.2)
    assert everything.item() == pytest.approx(math.log(2))
    assert ohem_cross_entropy(logits, torch.zeros(1, 3, 4, dtype=torch.int64), 0.0, 0.2) == 0


def test_a_scale_of_the_weights_is_of_no_effect_unless_pixels_are_counted():
    logits, labels, weights = map(torch.tensor, random_case(np.random.default_rng(4), batch=2))
    labels[labels == 255] = 0
    weights += 0.1
    one, ten = (weighted_cross_entropy(logits, labels, factor * weights).item() for factor in (1, 10))
    assert one == pytest.approx(ten, rel=1e-5)
    one, ten = (weighted_cross_entropy(logits, labels, factor * weights, "pixels").item() for factor in (1, 10))
    assert 10 * one == pytest.approx(ten, rel=1e-5)
    with pytest.raises(KeyError):
        weighted_cross_entropy(logits, labels, weights, "images")


def batches():
    """Four images of which each process sees two, by what is labelled where."""
    generator = torch.Generator().manual_seed(5)
    images = torch.randn(4, 3, 6, 6, generator=generator)
    labels = torch.randint(0, 3, (4, 6, 6), generator=generator)
    weights = 3 * torch.rand(4, 6, 6, generator=generator)
    sparse, one_side, one_pixel = labels.clone(), labels.clone(), torch.full_like(labels, 255)
    sparse[:2][torch.rand(2, 6, 6, generator=generator) < 0.8] = 255
    sparse[2:][sparse[2:] == 1] = 0
    one_side[:2] = 255
    one_pixel[3, 2, 2] = 1
    return images, weights, {"sparse": sparse, "one side": one_side, "one pixel": one_pixel}


def gradients(path):
    images, weights, cases = batches()
    share = slice(None)
    if distributed.world_size() > 1:
        share = slice(2 * distributed.rank(), 2 * distributed.rank() + 2)
    found = {}
    for case, labels in cases.items():
        for name, loss in LOSSES.items():
            torch.manual_seed(0)
            network = nn.Conv2d(3, 3, 1)
            wrapped = distributed.parallel(network)
            value = loss(wrapped(images[share]), labels[share], weights[share])
            value.backward()
            found[f"{case}, {name}"] = [
                network.weight.grad,
                network.bias.grad,
                distributed.mean_over_processes(value.detach().clone()),
            ]
    if distributed.rank() == 0:
        torch.save(found, path)


def test_two_processes_with_different_counts_have_the_gradient_of_one(tmp_path, monkeypatch):
    results = []
    for count in ("1", "2"):
        monkeypatch.setitem(os.environ, "NPROC", count)
        distributed.launch(gradients, tmp_path / f"{count}.pt")
        results.append(torch.load(tmp_path / f"{count}.pt", weights_only=True))
    assert len(results[0]) == 3 * len(LOSSES)
    for name, values in results[0].items():
        for one, two in zip(values, results[1][name], strict=True):
            assert torch.allclose(one, two, atol=1e-6), name
    assert all(values[0].abs().max() > 1e-3 for name, values in results[0].items() if "threshold" not in name)
