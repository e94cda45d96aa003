"""The grid Potts term against an edge-by-edge reference in double precision."""

import numpy as np
import pytest
import torch

from stages.segment.losses.grid_potts import grid_potts


def cosine(a, b):
    return (a * b).sum() / np.linalg.norm(a) / np.linalg.norm(b)


COSTS = {
    "bilinear": lambda a, b: (a * (1 - b)).sum(),
    "quadratic": lambda a, b: ((a - b) ** 2).sum() / 2,
    "log_quadratic": lambda a, b: -np.log(1 - ((a - b) ** 2).sum() / 2),
    "normalised_quadratic": lambda a, b: 1 - cosine(a, b),
    "collision": lambda a, b: -np.log(cosine(a, b)),
}


def reference(probabilities, images, valid, neighbours, relaxation):
    """One edge at a time, from the formula in the docstring."""
    steps = [(0, 1), (1, 0)] + ([(1, 1), (1, -1)] if neighbours == 8 else [])
    total = []
    for p, image, mask in zip(probabilities, images, valid, strict=True):
        height, width = mask.shape
        edges = [
            ((y, x), (y + dy, x + dx), np.hypot(dy, dx))
            for y in range(height)
            for x in range(width)
            for dy, dx in steps
            if y + dy < height and 0 <= x + dx < width and mask[y, x] and mask[y + dy, x + dx]
        ]
        if not edges:
            total.append(0.0)
            continue
        squared = [((image[:, a[0], a[1]] - image[:, b[0], b[1]]) ** 2).sum() for a, b, _ in edges]
        sigma2 = max(np.mean(squared), 5e-7)
        energy = 0.0
        for (a, b, distance), difference in zip(edges, squared, strict=True):
            pa, pb = p[:, a[0], a[1]], p[:, b[0], b[1]]
            energy += np.exp(-difference / (2 * sigma2)) / distance * COSTS[relaxation](pa, pb)
        total.append(energy / len(edges))
    return np.mean(total)


@pytest.mark.parametrize("neighbours", [4, 8])
@pytest.mark.parametrize("relaxation", sorted(COSTS))
def test_equals_the_sum_over_edges(neighbours, relaxation):
    rng = np.random.default_rng(neighbours)
    for _ in range(50):
        batch, classes, height, width = rng.integers(1, 4), rng.integers(2, 5), *rng.integers(2, 8, 2)
        probabilities = rng.dirichlet(np.ones(classes), (batch, height, width)).transpose(0, 3, 1, 2)
        images = rng.integers(0, 256, (batch, 3, height, width)).astype(float)
        valid = rng.random((batch, height, width)) < 0.8
        got = grid_potts(torch.tensor(probabilities), torch.tensor(images), torch.tensor(valid), neighbours, relaxation)
        assert got.item() == pytest.approx(reference(probabilities, images, valid, neighbours, relaxation), abs=1e-5)


def test_two_colours_and_the_right_cut_cost_less_than_any_other():
    image = torch.zeros(1, 3, 6, 6)
    image[..., 3:] = 255
    labels = torch.zeros(1, 6, 6, dtype=torch.long)
    valid = torch.ones(1, 6, 6, dtype=torch.bool)

    def energy(column):
        cut = labels.clone()
        cut[..., column:] = 1
        return grid_potts(torch.nn.functional.one_hot(cut, 2).permute(0, 3, 1, 2), image, valid).item()

    assert energy(3) == min(energy(column) for column in range(1, 6))
    assert energy(3) < energy(2) / 10


def test_bilinear_punishes_indecision_and_quadratic_does_not():
    soft = torch.full((1, 2, 4, 4), 0.5)
    image, valid = torch.zeros(1, 3, 4, 4), torch.ones(1, 4, 4, dtype=torch.bool)
    assert grid_potts(soft, image, valid, relaxation="quadratic").item() == 0
    assert grid_potts(soft, image, valid, relaxation="bilinear").item() > 0.3


@pytest.mark.parametrize("relaxation", sorted(COSTS))
def test_equal_certain_labels_cost_nothing_and_different_ones_are_finite(relaxation):
    labels = torch.zeros(1, 1, 2, dtype=torch.long)
    image, valid = torch.zeros(1, 3, 1, 2), torch.ones(1, 1, 2, dtype=torch.bool)
    same = torch.nn.functional.one_hot(labels, 3).permute(0, 3, 1, 2).float().requires_grad_()
    labels[..., 1] = 2
    different = torch.nn.functional.one_hot(labels, 3).permute(0, 3, 1, 2).float().requires_grad_()
    assert grid_potts(same, image, valid, 4, relaxation).item() == 0
    cost = grid_potts(different, image, valid, 4, relaxation)
    assert cost.item() == pytest.approx(-np.log(1e-6) if relaxation in ("collision", "log_quadratic") else 1)
    (cost + grid_potts(same, image, valid, 4, relaxation)).backward()
    assert torch.isfinite(different.grad).all()
    assert torch.isfinite(same.grad).all()


@pytest.mark.parametrize("relaxation", sorted(set(COSTS) - {"bilinear"}))
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_agreement_costs_nothing_however_uncertain(relaxation, dtype):
    soft = torch.tensor([0.5, 0.25, 0.25], dtype=dtype)[None, :, None, None].expand(1, 3, 4, 4)
    image, valid = torch.zeros(1, 3, 4, 4, dtype=dtype), torch.ones(1, 4, 4, dtype=torch.bool)
    assert grid_potts(soft, image, valid, 8, relaxation).item() == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("relaxation", sorted(COSTS))
def test_gradient_is_right_and_padding_gets_none(relaxation):
    rng = np.random.default_rng(0)
    images = torch.tensor(rng.integers(0, 256, (2, 3, 4, 5)).astype(float))
    valid = torch.ones(2, 4, 5, dtype=torch.bool)
    valid[1, :, 3:] = False
    logits = torch.tensor(rng.normal(size=(2, 3, 4, 5)), dtype=torch.float32, requires_grad=True)
    grid_potts(logits.softmax(1), images, valid, 8, relaxation).backward()
    assert (logits.grad[1, :, :, 3:] == 0).all()
    step = 1e-3
    for index in [tuple(index) for index in np.argwhere(np.ones(logits.shape))[::6]]:
        moved = []
        for sign in (1, -1):
            shifted = logits.detach().double().clone()
            shifted[index] += sign * step
            moved.append(reference(shifted.softmax(1).numpy(), images.numpy(), valid.numpy(), 8, relaxation))
        assert logits.grad[index].item() == pytest.approx((moved[0] - moved[1]) / (2 * step), abs=2e-5)


def test_an_image_without_edges_is_zero_and_finite():
    valid = torch.zeros(1, 3, 3, dtype=torch.bool)
    valid[0, 1, 1] = True
    logits = torch.randn(1, 2, 3, 3, requires_grad=True)
    loss = grid_potts(logits.softmax(1), torch.rand(1, 3, 3, 3), valid)
    loss.backward()
    assert loss.item() == 0
    assert (logits.grad == 0).all()
