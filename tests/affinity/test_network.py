"""The boundary network: its shapes, what learns in it, and that it finds boundaries."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from stages.affinity.edges import edge_maps
from stages.affinity.network import BoundaryNet
from stages.affinity.pair_loss import at_size, pair_loss
from stages.affinity.train import train_network
from stages.core.networks.encoders import read_model
from stages.core.params import Params
from tests.affinity.conftest import IRN


@pytest.mark.parametrize(
    ("encoder", "stride", "levels"),
    [("slim_resnet10", 8, 4), ("resnet18", 16, 5), ("resnet18", 32, 5), ("mit_b0", 32, 4)],
)
def test_an_edge_map_at_stride_four_from_all_levels(encoder: str, stride: int, levels: int) -> None:
    network = BoundaryNet(encoder, stride, 4).eval()
    assert len(network.levels) == levels
    sides = (64, 96) if encoder == "mit_b0" else (70, 93)
    assert network(torch.randn(2, 3, *sides)).shape == (2, -(-sides[0] // 4), -(-sides[1] // 4))


def test_only_the_branch_learns() -> None:
    torch.manual_seed(0)
    network = BoundaryNet("slim_resnet10", 8, 4).train()
    assert network.training
    assert not any(module.training for module in network.encoder.modules())
    before = {name: value.clone() for name, value in network.encoder.state_dict().items()}
    edges = network(torch.randn(2, 3, 32, 40)).sigmoid()
    pair_loss(edges, torch.randint(0, 2, edges.shape), 4, True)["loss"].backward()
    for name, parameter in network.named_parameters():
        assert (parameter.grad is None) == name.startswith("encoder."), name
    assert network.head.weight.grad.abs().sum() > 0
    assert all(level[0].weight.grad.abs().sum() > 0 for level in network.levels)
    for name, value in network.encoder.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert {name.split(".")[0] for name in network.branch_state()} == {"levels", "head"}


class LeftHalf(nn.Module):
    """Its logits are 4 in the left half of whatever it sees, mirrored or not, and 0 in the right."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits = torch.zeros(len(images), 2, 4)
        logits[..., :2] = 4
        return logits


def test_logits_of_an_image_and_its_flip_are_averaged() -> None:
    edges = edge_maps(LeftHalf(), torch.zeros(3, 3, 8, 16, dtype=torch.uint8))
    assert edges.dtype == np.uint8
    assert (edges == round(255 / (1 + np.exp(-2)))).all()


def test_it_learns_where_boundaries_are(dataset, pictures: Path, tmp_path: Path) -> None:
    """Trained on masks, the edge map of an image of val is higher where the label changes than elsewhere."""
    recipe = Params(IRN | {"epochs": 40})
    classifier = read_model(pictures / "classifier.pt")
    checkpoint = tmp_path / "checkpoint.pt"
    network, history = train_network(dataset, classifier, dataset.mask, recipe, 0, checkpoint, lambda *_: None)
    assert history[-1]["loss"] < 0.7 * history[0]["loss"]
    network.eval()
    for image_id in dataset.ids("val"):
        image = torch.from_numpy(dataset.image(image_id)).permute(2, 0, 1)[None]
        edges = edge_maps(network, image)[0] / 255
        labels = at_size(torch.from_numpy(dataset.mask(image_id))[None], edges.shape)[0].numpy()
        changes = np.zeros(labels.shape, bool)
        changes[:-1] |= labels[:-1] != labels[1:]
        changes[1:] |= labels[:-1] != labels[1:]
        changes[:, :-1] |= labels[:, :-1] != labels[:, 1:]
        changes[:, 1:] |= labels[:, :-1] != labels[:, 1:]
        assert edges[changes].mean() > 2 * edges[~changes].mean()


@pytest.mark.parametrize("stride", [2, 4, 8])
def test_the_edge_map_has_the_recipes_stride(stride: int) -> None:
    network = BoundaryNet("slim_resnet10", 8, stride).eval()
    assert network(torch.zeros(2, 3, 30, 44)).shape == (2, -(-30 // stride), -(-44 // stride))
