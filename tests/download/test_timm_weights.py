"""Weights of timm: their address and their normalisation."""

from __future__ import annotations

import pytest
import timm
import torch

from stages.core.faults import Fault
from stages.core.networks.encoders import build_encoder, load_encoder
from stages.core.transforms import normalise
from stages.download.timm_weights import address, for_our_images
from stages.download.weights import official, pretrained

LITE = "tf_efficientnet_lite0"


@pytest.fixture(scope="module")
def lite():
    """timm's network with random weights, and statistics as of a trained one."""
    torch.manual_seed(0)
    network = timm.create_model(LITE).eval()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.uniform_(-0.5, 0.5)
            module.running_var.uniform_(0.5, 1.5)
    return network


def test_address_and_checksum():
    url, checksum = official(f"tu-{LITE}")
    assert url.startswith("https://github.com/") and url.endswith(f"{LITE}-0aa007d2.pth")
    assert checksum == "sha256:0aa007d2"
    assert address("tu-no_such_network") == ""


def test_weights_of_our_normalisation_are_left():
    state = {"conv1.weight": torch.ones(1)}
    assert for_our_images(state, "tu-resnet18") is state


def test_features_are_those_of_timms_own_normalisation(lite):
    """The encoder on our images sees what timm's network sees on its own, but for the border."""
    encoder = build_encoder(f"tu-{LITE}", 32).eval()
    load_encoder(encoder, for_our_images(lite.state_dict(), f"tu-{LITE}"), "the file")
    images = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8)
    with torch.no_grad():
        ours = encoder(normalise(images))[1]
        theirs = lite.blocks[0](lite.bn1(lite.conv_stem((images / 255 - 0.5) / 0.5)))
    assert torch.allclose(ours[..., 2:-2, 2:-2], theirs[..., 2:-2, 2:-2], atol=1e-4)
    assert not torch.allclose(ours, theirs, atol=1e-4)  # where the padding is seen


def test_a_bias_takes_the_constant():
    convolution = torch.nn.Conv2d(3, 4, 16, 16)
    name = "vit_tiny_patch16_224"  # its patches have no padding, so all is exact
    state = {f"patch_embed.proj.{key}": value for key, value in convolution.state_dict().items()}
    images = torch.randint(0, 256, (1, 3, 32, 32), dtype=torch.uint8)
    theirs = convolution((images / 255 - 0.5) / 0.5)
    changed = for_our_images(state, f"tu-{name}")
    convolution.load_state_dict({key.rpartition(".")[2]: value for key, value in changed.items()})
    assert torch.allclose(convolution(normalise(images)), theirs, atol=1e-5)


def test_nothing_takes_the_constant():
    state = {"conv_stem.weight": torch.ones(1, 3, 1, 1)}
    with pytest.raises(Fault, match="nothing that takes the difference"):
        for_our_images(state, f"tu-{LITE}")


def test_imagenet_from_a_server(server, lite, tmp_path, monkeypatch):
    torch.save(lite.state_dict(), tmp_path / "file.pth")
    server.content = (tmp_path / "file.pth").read_bytes()
    monkeypatch.setattr("stages.download.weights.official", lambda encoder: (server.url, server.checksum))
    found = pretrained("imagenet", f"tu-{LITE}", tmp_path / "downloads")
    load_encoder(build_encoder(f"tu-{LITE}", 16), found, "pretrained.pt")  # every name of the encoder, and its shapes
    by_path = pretrained(str(tmp_path / "file.pth"), f"tu-{LITE}", tmp_path)
    assert torch.equal(by_path["conv_stem.weight"], lite.conv_stem.weight)  # a file is taken as it is
    assert not torch.equal(found["conv_stem.weight"], lite.conv_stem.weight)
