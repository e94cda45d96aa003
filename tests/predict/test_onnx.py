"""An ONNX file computes what the segmenter does, at any size, and says what it is."""

import json

import numpy as np
import onnx
import pytest
import torch

from stages.core.faults import Fault
from stages.core.files import md5
from stages.core.inference import average_softmax
from stages.core.networks.segmentation import Segmenter
from stages.predict import onnx as room

onnxruntime = pytest.importorskip("onnxruntime")

CLASSES = ("background", "Möwe", "disk")
PALETTE = ((0, 0, 0), (200, 0, 0), (0, 0, 200), *((0, 0, 0),) * 253)
NETWORKS = {"fcn_skip": ("slim_resnet10", 8), "unet": ("resnet18", 32)}
SIZES = [(1, 1), (32, 32), (31, 97), (100, 75), (224, 160)]


def content(architecture, encoder, stride):
    """What `segment` writes; batch normalisation has seen something, so that its statistics count."""
    torch.manual_seed(0)
    segmenter = Segmenter(architecture, encoder, stride, len(CLASSES))
    with torch.no_grad():
        segmenter.train()
        for _ in range(2):
            segmenter(torch.randn(4, 3, 64, 64))
    return {
        "architecture": architecture,
        "encoder": encoder,
        "output_stride": stride,
        "num_classes": len(CLASSES),
        "state": segmenter.state_dict(),
        "best": None,
        "dataset": "tiny",
        "classes": CLASSES,
        "background": True,
        "palette": PALETTE,
        "made_of": {"code": "c0de", "inputs": {}, "params": {}},
    }


@pytest.fixture(scope="module", params=NETWORKS)
def files(request, tmp_path_factory):
    """segmenter.pt, its ONNX file and the difference that was found."""
    folder = tmp_path_factory.mktemp(request.param)
    model, out = folder / "segmenter.pt", folder / "new" / "m.onnx"
    torch.save(content(request.param, *NETWORKS[request.param]), model)
    return model, out, room.write_onnx(model, out)


def session(path):
    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])


def test_probabilities_are_those_of_the_pipeline(files):
    """Against `average_softmax`, by which the pipeline predicts, on images of several sizes and batches."""
    model, out, said = files
    values = torch.load(model, weights_only=True)
    segmenter = Segmenter(*(values[key] for key in ("architecture", "encoder", "output_stride", "num_classes")))
    segmenter.load_state_dict(values["state"])
    segmenter.eval()
    run = session(out)
    generator = np.random.default_rng(0)
    worst = 0
    for number, sides in enumerate(SIZES):
        images = generator.integers(0, 256, (1 + number % 3, 3, *sides), dtype=np.uint8)
        with torch.inference_mode():
            expected = average_softmax(segmenter, torch.from_numpy(images)).numpy()
        (found,) = run.run(None, {"image": images})
        assert found.shape == expected.shape == (len(images), len(CLASSES), *sides)
        assert found.dtype == np.float32
        np.testing.assert_allclose(found.sum(1), 1, atol=1e-5)
        worst = max(worst, abs(found - expected).max())
    assert np.ptp(expected) > 0.1  # which constant outputs would not have
    assert worst < 1e-5
    assert said < 1e-5


def test_the_file_says_what_it_is(files):
    model, out, _ = files
    run = session(out)
    (entrance,), (end,) = run.get_inputs(), run.get_outputs()
    assert (entrance.name, entrance.type, entrance.shape) == (
        "image",
        "tensor(uint8)",
        ["batch", 3, "height", "width"],
    )
    assert (end.name, end.type, end.shape[0], end.shape[2:]) == (
        "probabilities",
        "tensor(float)",
        "batch",
        ["height", "width"],
    )
    said = {key: json.loads(value) for key, value in run.get_modelmeta().custom_metadata_map.items()}
    assert said["classes"] == list(CLASSES)
    assert said["palette"] == [list(colour) for colour in PALETTE]
    assert (said["dataset"], said["background"], said["weights"]) == ("tiny", True, "last")
    assert (said["md5"], said["code"]) == (md5(model), "c0de")
    assert said["input"].startswith("image: (B, 3, H, W) uint8 RGB")


def test_the_same_model_gives_the_same_bytes_which_name_no_machine(files, tmp_path):
    model, out, _ = files
    room.write_onnx(model, tmp_path / "again.onnx")
    written = out.read_bytes()
    assert (tmp_path / "again.onnx").read_bytes() == written
    assert b"site-packages" not in written
    assert str(model.parent).encode() not in written


@pytest.fixture
def model(tmp_path):
    path = tmp_path / "segmenter.pt"
    torch.save(content("fcn_skip", "slim_resnet10", 8), path)
    return path


def test_fixed_sides(model, tmp_path, capsys):
    out = tmp_path / "m.onnx"
    room.main(["--model", str(model), "--out", str(out), "--size", "33", "50"])
    assert "differs from PyTorch by at most " in capsys.readouterr().out
    run = session(out)
    assert run.get_inputs()[0].shape == ["batch", 3, 33, 50]
    assert run.run(None, {"image": np.zeros((2, 3, 33, 50), np.uint8)})[0].shape == (2, 3, 33, 50)
    with pytest.raises(Exception, match="(?i)invalid dimensions"):
        run.run(None, {"image": np.zeros((1, 3, 32, 50), np.uint8)})


def test_the_best_weights(model, tmp_path):
    values = torch.load(model, weights_only=True)
    with pytest.raises(Fault, match="no masks"):
        room.write_onnx(model, tmp_path / "m.onnx", "best")
    best = {key: value * 0 if "head" in key else value for key, value in values["state"].items()}
    torch.save(values | {"best": {"epoch": 3, "score": 0.5, "state": best}}, model)
    room.write_onnx(model, tmp_path / "m.onnx", "best")
    (found,) = session(tmp_path / "m.onnx").run(None, {"image": np.zeros((1, 3, 8, 8), np.uint8)})
    np.testing.assert_allclose(found, 1 / 3, atol=1e-6)
    assert onnx.load(tmp_path / "m.onnx").metadata_props[6].value == '"best on val, epoch 3"'


class Forks(torch.nn.Module):
    """Computes something else on small images, which a trace of a large one does not hold."""

    def forward(self, images):
        return (images.float() / 255 * (1 if images.shape[2] > 90 else 3)).softmax(1)


def test_what_a_trace_cannot_follow_is_refused():
    graph = room.to_onnx(Forks(), None)
    assert room.compare(graph, Forks(), ((96, 128),)) < 1e-6
    with pytest.raises(Fault, match=r"differs from PyTorch by 0\.\d+ on images of 61 x 83; .* --size H W may help"):
        room.compare(graph, Forks(), room.COMPARED)
    with pytest.raises(Fault, match=r"fails on images of 61 x 83"):
        room.compare(room.to_onnx(Forks(), (96, 128)), Forks(), room.COMPARED)


def test_an_operation_that_onnx_lacks_and_bad_files_are_named(tmp_path, model):
    class Odd(torch.nn.Module):
        def forward(self, images):
            return torch.special.bessel_j0(images.float())

    with pytest.raises(Fault, match="cannot be written as ONNX: .*bessel_j0"):
        room.to_onnx(Odd(), None)
    out = tmp_path / "m.onnx"
    with pytest.raises(SystemExit, match="sizewise onnx: .* does not exist"):
        room.main(["--model", str(tmp_path / "none.pt"), "--out", str(out)])
    with pytest.raises(SystemExit, match="2"):
        room.main(["--model", str(model), "--out", str(out), "--size", "0", "5"])
    assert not out.exists()


def test_without_onnxruntime_the_file_is_written_and_that_is_said(model, tmp_path, monkeypatch, capsys):
    out = tmp_path / "m.onnx"
    monkeypatch.setattr(room.importlib.util, "find_spec", lambda name: None)
    room.main(["--model", str(model), "--out", str(out)])
    assert "not compared with PyTorch, as onnxruntime is not installed" in capsys.readouterr().out
    assert session(out).run(None, {"image": np.zeros((1, 3, 9, 9), np.uint8)})[0].shape == (1, 3, 9, 9)
