"""The neck of a classifier against the networks' own features before their pooling."""

from __future__ import annotations

import pytest
import timm
import torch
from torch import nn

from stages.core.faults import Fault
from stages.core.networks.classification import ClassificationNet
from stages.core.networks.encoders import build_encoder, load_encoder
from stages.core.networks.neck import build_neck, load_neck
from stages.core.optimisation import build_optimiser
from stages.core.params import Params

LITE = "tf_efficientnet_lite0"
RECIPE = Params(
    {"optimizer": "sgd", "lr": 1.0, "head_lr_factor": 10, "biases": "as_weights", "momentum": 0.9, "weight_decay": 0.0}
)


def trained(network: nn.Module) -> nn.Module:
    """The network in evaluation mode with statistics that are not those of a start."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.uniform_(-0.1, 0.1)
            module.running_var.uniform_(0.5, 1.5)
    return network.eval()


@pytest.mark.parametrize("name", [LITE, "mobilenetv2_050", "mnasnet_small", "efficientnetv2_rw_t"])
@torch.no_grad()
def test_features_are_those_that_timms_classifier_pools(name):
    torch.manual_seed(0)
    whole = trained(timm.create_model(name, num_classes=0))
    network = ClassificationNet(f"tu-{name}", 32, 2).eval()
    load_encoder(network.encoder, whole.state_dict(), "FILE")
    load_neck(network.neck, whole.state_dict(), "FILE")
    images = torch.randn(2, 3, 64, 96)
    expected = whole.forward_features(images)
    torch.testing.assert_close(network.features(images)[-1], expected)
    torch.testing.assert_close(network(images), network.head(expected.mean((2, 3), keepdim=True)).flatten(1))
    torch.testing.assert_close(network.cam(images), network.head(expected).relu())


@pytest.mark.parametrize(
    ("name", "whole"), [("efficientnet-b0", "extract_features"), ("timm-efficientnet-b0", "forward_features")]
)
@torch.no_grad()
def test_an_encoder_that_holds_its_neck_lends_it(name, whole):
    torch.manual_seed(0)
    network = trained(ClassificationNet(name, 32, 2))
    images = torch.randn(2, 3, 64, 96)
    if whole == "extract_features":
        expected = network.encoder.extract_features(images)
    else:
        expected = super(type(network.encoder), network.encoder).forward_features(images)
    torch.testing.assert_close(network.features(images)[-1], expected)
    assert len({id(p) for p in network.parameters()}) == sum(
        len(g["params"]) for g in build_optimiser(network, RECIPE).param_groups
    )


@pytest.mark.parametrize(
    "name",
    ["slim_resnet10", "resnet18", "mobilenet_v2", "mit_b0", "tu-mobilenetv3_small_050", "tu-vit_tiny_patch16_224"],
)
def test_other_encoders_need_none(name):
    encoder = build_encoder(name, 16 if "vit" in name else 32)
    assert len(build_neck(name, encoder)) == 0


def test_the_neck_learns_at_the_encoders_rate():
    network = ClassificationNet(f"tu-{LITE}", 32, 2)
    rates = {id(p): group["lr"] for group in build_optimiser(network, RECIPE).param_groups for p in group["params"]}
    assert {rates[id(p)] for p in (*network.encoder.parameters(), *network.neck.parameters())} == {1.0}
    assert rates[id(network.head.weight)] == 10.0


def test_weights_without_a_neck_are_told_and_leave_it(capsys):
    network = ClassificationNet(f"tu-{LITE}", 32, 2)
    before = network.neck.conv_head.weight.clone()
    load_neck(network.neck, {}, "FILE")
    assert capsys.readouterr().err == ""
    load_neck(network.neck, network.encoder.state_dict(), "FILE")
    assert capsys.readouterr().err == "FILE has no conv_head, bn2: that layer starts from random weights\n"
    assert torch.equal(network.neck.conv_head.weight, before)
    load_neck(nn.Sequential(), {"conv1.weight": before}, "FILE")
    assert capsys.readouterr().err == ""


def test_a_neck_of_another_width_is_named():
    network = ClassificationNet(f"tu-{LITE}", 32, 2)
    state = {name: torch.zeros(7) for name in network.neck.state_dict()}
    with pytest.raises(Fault, match="the weights of FILE do not fit the layer after the encoder"):
        load_neck(network.neck, state, "FILE")
