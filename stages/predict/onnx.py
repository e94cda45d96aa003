"""A segmenter as an ONNX file, for programs without PyTorch.

python -m stages.predict.onnx --model models/shapes/segmenter.pt --out F.onnx [--size H W] [--weights last|best]

The input `image` is (B, 3, H, W) uint8, RGB, 0..255; normalisation is inside. The output `probabilities` is
(B, K, H, W) float32, the softmax over the labels at the input's size: the label map is its argmax over axis 1, without
the scales, flips and dense CRF of a recipe (as `stages.predict.run --plain`). Batch and sides are free; --size fixes
the sides, for runtimes that need that. The file's metadata, JSON texts: `dataset`, `classes` (label 0 first),
`background` (whether label 0 is one), `palette` (256 RGB triples), `input`, `output`, `weights` (last, or which epoch),
`network`, `md5` of the segmenter.pt, `code` (the hash that `stages.track.card` prints).

With onnxruntime installed, the file is compared with PyTorch on noise of several sizes before it is put in its place.
"""

from __future__ import annotations

import argparse
import importlib.util
import io
import json
import sys
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from torch import nn

from stages.core.command import exit_on_fault
from stages.core.faults import Fault
from stages.core.files import atomic, md5
from stages.core.networks.encoders import read_segmenter
from stages.core.networks.segmentation import Segmenter
from stages.core.transforms import normalise
from stages.predict.network import build

INPUT, OUTPUT = "image", "probabilities"
FREE = {0: "batch", 2: "height", 3: "width"}
OPSET = 17
TRACED = (96, 128)  # pixels
COMPARED = ((96, 128), (61, 83), (160, 33))  # pixels; two are no multiples of a network's stride
TOLERANCE = 1e-4  # of a probability; float32 in another order of summation differs by some 1e-6


class Probabilities(nn.Module):
    """What the file computes: class probabilities (B, K, H, W) of images (B, 3, H, W) uint8."""

    def __init__(self, segmenter: Segmenter) -> None:
        super().__init__()
        self.segmenter = segmenter

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """See the class."""
        return self.segmenter(normalise(images)).softmax(1)


def noise(sides: tuple[int, int], count: int = 1) -> torch.Tensor:
    """Images (count, 3, H, W) uint8 of noise, always the same."""
    return torch.randint(0, 256, (count, 3, *sides), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def to_onnx(network: nn.Module, sides: tuple[int, int] | None) -> onnx.ModelProto:
    """The network as an ONNX graph; sides: height and width, None leaves them free.

    Raises:
        Fault: the network has an operation that ONNX does not.
    """
    axes = {0: FREE[0]} if sides else FREE
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of tracing; what it gets wrong shows in `compare`
        try:
            # dynamo=False, the tracer: on one thread it takes 7 s for fcn_skip where dynamo=True takes 113 s, gives the
            # same numbers with free sides, and needs no onnxscript.
            torch.onnx.export(
                network,
                (noise(sides or TRACED, 2),),
                buffer,
                dynamo=False,
                opset_version=OPSET,
                input_names=[INPUT],
                output_names=[OUTPUT],
                dynamic_axes={INPUT: axes, OUTPUT: axes},
            )
        except Exception as error:  # the tracer, torch and onnx raise many kinds
            reason = next(iter(str(error).splitlines()), type(error).__name__)
            raise Fault(f"the network cannot be written as ONNX: {reason}") from None
    graph = onnx.load_from_string(buffer.getvalue())
    for node in graph.graph.node:
        node.ClearField("doc_string")  # the tracer's, with paths of this machine
    return graph


def compare(graph: onnx.ModelProto, network: nn.Module, sizes: tuple[tuple[int, int], ...]) -> float | None:
    """The largest difference of a probability between ONNX and PyTorch on noise; None without onnxruntime.

    Raises:
        Fault: the graph fails at one of the sizes, or differs by more than `TOLERANCE`.
    """
    if importlib.util.find_spec("onnxruntime") is None:
        return None
    hint = "the tracer cannot follow this network" + ("; --size H W may help" if len(sizes) > 1 else "")
    import onnxruntime  # noqa: PLC0415 - not one of the requirements

    worst = 0.0
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # an error is raised; printing it as well would be twice
    session = None
    for sides in sizes:
        images = noise(sides, 3)
        where = f"on images of {sides[0]} x {sides[1]}"
        with torch.inference_mode():
            expected = network(images).numpy()
        try:
            session = session or onnxruntime.InferenceSession(
                graph.SerializeToString(), options, providers=["CPUExecutionProvider"]
            )
            found = session.run([OUTPUT], {INPUT: images.numpy()})[0]
        except Exception as error:  # onnxruntime's own kinds
            reason = next(iter(str(error).splitlines()), type(error).__name__)
            raise Fault(f"the ONNX file fails {where}: {reason}; {hint}") from None
        if found.shape != expected.shape:
            raise Fault(f"the ONNX file gives {found.shape} {where}, not {expected.shape}; {hint}")
        worst = float(np.maximum(worst, np.abs(found - expected).max()))  # which keeps a NaN
        if not worst <= TOLERANCE:
            raise Fault(f"the ONNX file differs from PyTorch by {worst:.2g} {where}; {hint}")
    return worst


def metadata(model: Mapping[str, Any], weights: str, checksum: str) -> dict[str, str]:
    """What the file says about itself, see the module.

    Args:
        model: the content of segmenter.pt, of that md5.
        weights: which of its weights.
        checksum: the md5.
    """
    values = {
        "dataset": model["dataset"],
        "classes": list(model["classes"]),
        "background": model["background"],
        "palette": [list(colour) for colour in model["palette"]],
        "input": f"{INPUT}: (B, 3, H, W) uint8 RGB 0..255; normalisation is inside",
        "output": f"{OUTPUT}: (B, K, H, W) float32; the label is the argmax over axis 1",
        "weights": weights,
        "network": f"{model['architecture']} on {model['encoder']}, output stride {model['output_stride']}",
        "md5": checksum,
        "code": model["made_of"]["code"],
    }
    return {key: json.dumps(value, ensure_ascii=False) for key, value in values.items()}


def write_onnx(path: Path, out: Path, choice: str = "last", sides: tuple[int, int] | None = None) -> float | None:
    """Writes the segmenter.pt at `path` as ONNX to `out`; the same bytes for the same file.

    Args:
        path, out: files.
        choice: `last`, or `best` on val.
        sides: height and width, None leaves them free.

    Returns:
        See `compare`.

    Raises:
        Fault: there is no such model; or see `to_onnx` and `compare`.
    """
    model = read_segmenter(path)
    segmenter, weights = build(model, choice)
    network = Probabilities(segmenter).eval()
    graph = to_onnx(network, sides)
    onnx.helper.set_model_props(graph, metadata(model, weights, md5(path)))
    onnx.checker.check_model(graph, full_check=True)
    worst = compare(graph, network, (sides,) if sides else COMPARED)
    with atomic(out) as temporary:
        temporary.write_bytes(graph.SerializeToString(deterministic=True))
    return worst


def main(arguments: list[str] | None = None) -> None:
    """The command, see the module."""
    parser = argparse.ArgumentParser(prog="python -m stages.predict.onnx", description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, required=True, help="a segmenter.pt")
    parser.add_argument("--out", type=Path, required=True, help="the file to write")
    parser.add_argument("--size", type=int, nargs=2, metavar=("H", "W"), help="fixed sides in pixels; free by default")
    parser.add_argument("--weights", choices=("last", "best"), default="last", help="last by default; best on val")
    options = parser.parse_args(arguments)
    if options.size and min(options.size) < 1:
        parser.error("--size takes two positive whole numbers")
    with exit_on_fault("onnx"):
        worst = write_onnx(options.model, options.out, options.weights, options.size and tuple(options.size))
    said = "not compared with PyTorch, as onnxruntime is not installed"
    if worst is not None:
        said = f"differs from PyTorch by at most {worst:.1e} of a probability"
    sys.stdout.write(f"{options.out}: {options.out.stat().st_size / 1e6:.1f} MB, {said}\n")


if __name__ == "__main__":
    main()
