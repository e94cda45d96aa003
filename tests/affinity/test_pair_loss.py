"""The pair loss against a loop over all pairs in double precision."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import torch

from stages.affinity.pair_loss import at_size, pair_affinity, pair_labels, pair_loss

EPSILON = 1e-5


def between(one: tuple[int, int], two: tuple[int, int]) -> list[tuple[int, int]]:
    """The pixels in the box of two less than 1 from the line through them."""
    direction = np.subtract(two, one)
    rows, columns = (range(min(pair), max(pair) + 1) for pair in zip(one, two, strict=True))
    away = {(y, x): abs(direction[0] * (x - one[1]) - direction[1] * (y - one[0])) for y, x in product(rows, columns)}
    return [place for place, area in away.items() if area < np.hypot(*direction)]


def loss_by_hand(edges: np.ndarray, labels: np.ndarray, radius: int, background: bool) -> dict[str, float]:
    """The loss and its terms, from the equations."""
    kinds: dict[str, list[float]] = {"background": [], "foreground": [], "apart": []}
    for plane, label in zip(edges, labels, strict=True):
        places = list(np.ndindex(plane.shape))
        for number, one in enumerate(places):
            for two in places[number + 1 :]:
                if np.hypot(*np.subtract(two, one)) > radius - 1e-9 or 255 in (label[one], label[two]):
                    continue
                affinity = 1 - max(plane[place] for place in between(one, two))
                if label[one] != label[two]:
                    kinds["apart"].append(-np.log(1 + EPSILON - affinity))
                else:
                    kind = "background" if background and label[one] == 0 else "foreground"
                    kinds[kind].append(-np.log(affinity + EPSILON))
    terms = {kind: float(np.mean(values)) if values else 0.0 for kind, values in kinds.items()}
    return {"loss": ((terms["background"] + terms["foreground"]) / 2 + terms["apart"]) / 2, **terms}


@pytest.mark.parametrize("background", [True, False])
@pytest.mark.parametrize(
    ("shape", "radius", "seed"), [((2, 7, 9), 5, 0), ((1, 5, 12), 10, 1), ((3, 9, 4), 3, 2), ((1, 1, 6), 4, 3)]
)
def test_it_equals_the_loop(shape: tuple[int, int, int], radius: int, seed: int, background: bool) -> None:
    random = np.random.default_rng(seed)
    edges, labels = random.random(shape), random.choice([0, 1, 2, 255], shape)
    found = pair_loss(torch.from_numpy(edges), torch.from_numpy(labels), radius, background)
    expected = loss_by_hand(edges, labels, radius, background)
    assert {name: value.item() for name, value in found.items()} == pytest.approx(expected, rel=1e-9)


def test_affinity_is_one_less_the_strongest_boundary_and_labels_are_of_the_ends() -> None:
    """A column of five pixels with a boundary in the second, pairs at 1 and at 2 pixels."""
    edges = torch.tensor([0.1, 0.8, 0.2, 0.0, 0.3])[None, :, None]
    labels = torch.tensor([0, 255, 1, 1, 2])[None, :, None]
    expected = [0.2, 0.2, 0.8, 0.7, 0.2, 0.2, 0.7]
    torch.testing.assert_close(pair_affinity(edges, 3)[0], torch.tensor(expected))
    first, second = pair_labels(labels, 3)
    assert first[0].tolist() == [0, 255, 1, 1, 0, 255, 1]
    assert second[0].tolist() == [255, 1, 1, 2, 1, 1, 2]


@pytest.mark.parametrize("value", [0, 255], ids=["one label", "void"])
@pytest.mark.parametrize("edge", [0.0, 1.0])
def test_without_pairs_of_a_kind_its_mean_is_zero_and_all_stays_finite(value: int, edge: float) -> None:
    edges = torch.full((2, 4, 4), edge, requires_grad=True)
    terms = pair_loss(edges, torch.full((2, 4, 4), value), 3, True)
    terms["loss"].backward()
    assert terms["foreground"] == terms["apart"] == 0
    assert all(torch.isfinite(term) for term in terms.values())
    assert torch.isfinite(edges.grad).all()


def test_the_gradient_is_that_of_finite_differences() -> None:
    random = torch.Generator().manual_seed(0)
    edges = torch.rand(1, 4, 5, generator=random, dtype=torch.float64, requires_grad=True)
    labels = torch.randint(0, 3, (1, 4, 5), generator=random)
    assert torch.autograd.gradcheck(lambda planes: pair_loss(planes, labels, 4, True)["loss"], edges)


def test_labels_are_taken_at_the_middle_of_each_cell() -> None:
    labels = torch.arange(64).reshape(1, 8, 8)
    assert at_size(labels, (2, 2)).tolist() == [[[18, 22], [50, 54]]]
