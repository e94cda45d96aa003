"""Pretrained weights: the right file for an encoder, heads removed, and never a silent change to scratch."""

from __future__ import annotations

import hashlib
import io

import pytest
import segmentation_models_pytorch as smp
import torch
import torchvision

from stages.core.faults import Fault
from stages.download import weights
from stages.download.weights import TORCHVISION, official, pretrained, read_state, write_weights


def saved(value: object) -> bytes:
    """The bytes of torch.save."""
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getvalue()


@pytest.fixture
def state():
    """Two layers and a head."""
    return {"conv1.weight": torch.arange(6.0).reshape(2, 3), "bn1.bias": torch.ones(2), "fc.weight": torch.zeros(1)}


def test_none():
    assert pretrained("none", "any", None) == {}


def test_official_url_and_checksum():
    # the addresses in torchvision's documentation of IMAGENET1K_V1
    url, checksum = official("resnet50")
    assert url == "https://download.pytorch.org/models/resnet50-0676ba61.pth"
    assert checksum == "sha256:0676ba61"
    assert official("resnet18")[1] == "sha256:f37072fd"


@pytest.mark.parametrize("encoder", TORCHVISION)
def test_known_encoders_have_torchvisions_parameters(encoder):
    with torch.device("meta"):
        theirs = torchvision.models.get_model(encoder).state_dict()
        ours = smp.encoders.get_encoder(encoder, weights=None).state_dict()
    assert {k: v.shape for k, v in ours.items()} == {k: v.shape for k, v in theirs.items() if not k.startswith("fc.")}


@pytest.mark.parametrize(
    "encoder", ["slim_resnet10", "tu-convnext_tiny", "tu-vit_small_patch16_224", "tu-no_such", "mit_b1"]
)
def test_encoder_without_official_weights(encoder, tmp_path):
    with pytest.raises(Fault, match="resnet18, resnet34, resnet50.*path of a state dict") as caught:
        pretrained("imagenet", encoder, tmp_path)
    assert repr(encoder) in str(caught.value)


def test_imagenet_is_fetched_once_and_loses_its_head(server, state, tmp_path, monkeypatch):
    server.content = saved(state)
    url = server.url.replace("file.bin", "resnet18-12345678.pth")
    monkeypatch.setattr(weights, "official", lambda encoder: (url, server.checksum))
    for _ in range(2):
        found = pretrained("imagenet", "resnet18", tmp_path)
    assert list(found) == ["conv1.weight", "bn1.bias"]
    assert torch.equal(found["conv1.weight"], state["conv1.weight"])
    assert (tmp_path / "resnet18-12345678.pth").is_file()
    assert len(server.asked) == 1


def test_unreachable_is_a_fault(server, tmp_path, monkeypatch):
    server.codes = [404]
    monkeypatch.setattr(weights, "official", lambda encoder: (server.url, "sha256:00000000"))
    with pytest.raises(Fault) as caught:
        pretrained("imagenet", "resnet18", tmp_path)
    assert server.url in str(caught.value)
    assert str(tmp_path / "file.bin") in str(caught.value)


@pytest.mark.parametrize("wrapper", [None, "state_dict", "model"])
def test_file(state, tmp_path, wrapper):
    content = {f"module.{name}": value for name, value in state.items()} | {"classifier.weight": torch.ones(1)}
    path = tmp_path / "mine.pth"
    path.write_bytes(saved(content if wrapper is None else {wrapper: content, "epoch": 3}))
    assert list(pretrained(str(path), "any", tmp_path)) == ["conv1.weight", "bn1.bias"]


def test_missing_file(tmp_path):
    with pytest.raises(Fault, match=r"missing\.pth cannot be read: No such file"):
        read_state(tmp_path / "missing.pth")


class Trap:
    """Pickles as a call, as a harmful file would."""

    def __reduce__(self) -> tuple:
        return print, ("this must not run",)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no pickle",
        saved([1, 2]),
        saved({}),
        saved({"epoch": 3}),
        saved({"state_dict": {}}),
        saved({"conv1.weight": torch.ones(1), "extra": "text"}),
        saved({"conv1.weight": torch.ones(1), "extra": Trap()}),
        saved({"conv1.weight": torch.ones(50)})[:-150],
    ],
)
def test_not_a_state_dict(content, tmp_path, capsys):
    path = tmp_path / "bad.pth"
    path.write_bytes(content)
    with pytest.raises(Fault, match=r"classifier\.weights: .*bad\.pth holds no state dict"):
        read_state(path)
    assert capsys.readouterr().out == ""


def test_only_a_head_is_no_encoder(tmp_path):
    path = tmp_path / "head.pth"
    path.write_bytes(saved({"fc.weight": torch.ones(1)}))
    with pytest.raises(Fault, match="nothing but a classifier's head"):
        read_state(path)


def test_bytes_do_not_depend_on_the_files_name_or_history(state, tmp_path):
    big = torch.arange(100.0)
    write_weights(tmp_path / "a.pt", read_state_of(state | {"x": big[:10]}, tmp_path / "1.pth"))
    write_weights(tmp_path / "b.pt", read_state_of(state | {"x": big[:10].clone()}, tmp_path / "2.pth"))
    one, two = (tmp_path / "a.pt").read_bytes(), (tmp_path / "b.pt").read_bytes()
    assert hashlib.sha256(one).digest() == hashlib.sha256(two).digest()
    assert torch.load(tmp_path / "a.pt", weights_only=True)["x"].tolist() == list(range(10))


def read_state_of(state, path):
    """Through a file."""
    path.write_bytes(saved(state))
    return read_state(path)


def test_empty_weights_round_trip(tmp_path):
    write_weights(tmp_path / "models" / "pretrained.pt", {})
    assert torch.load(tmp_path / "models" / "pretrained.pt", weights_only=True) == {}
