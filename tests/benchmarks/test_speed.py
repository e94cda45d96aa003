"""Speed as ratios within one run, printed and not asserted: `make bench`."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module

import numpy as np
import torch

from stages.core.dense_crf import dense_crf
from stages.core.networks.segmentation import Segmenter
from stages.core.params import Params
from stages.core.samples import Batch
from stages.download.shapes import render
from tests.benchmarks.timing import shortest


def report(name: str, ours: float, other: float, against: str) -> None:
    """One line of the table."""
    print(f"\n{name}: {ours * 1e3:.1f} ms, {other / ours:.2f} times as fast as {against} ({other * 1e3:.1f} ms)")


def test_methods_against_full_supervision() -> None:
    """A training step of `shapes` at 96 pixels, batch 8."""
    torch.manual_seed(0)
    network = Segmenter("fcn_skip", "slim_resnet10", 8, 9)
    pictures = [render(0, 0, index, 96) for index in range(8)]
    images = torch.from_numpy(np.stack([picture[0] for picture in pictures])).permute(0, 3, 1, 2)
    labels = torch.from_numpy(np.stack([picture[1] for picture in pictures])).long()
    sizes = torch.stack([torch.bincount(mask.flatten(), minlength=9) / mask.numel() for mask in labels])
    batch = Batch(images, torch.ones(labels.shape, dtype=torch.bool), labels, sizes)
    times = {}
    for name, recipe, method in (
        ("full", {"label_smoothing": 0.0}, {}),
        ("size_target", {"crf_weight": 0.03, "loss_stride": 2}, {"neighbours": 8, "relaxation": "bilinear"}),
    ):
        loss = import_module(f"stages.segment.methods.{name}").loss

        def step(loss: Callable = loss, recipe: dict = recipe, method: dict = method) -> None:
            terms = loss(network(images.float() / 255), batch, Params(recipe), Params(method))
            terms["loss"].backward()

        times[name] = shortest(step, 6)
    report("training step of size_target", times["size_target"], times["full"], "one of full")


def test_crf_on_the_present_classes_against_all() -> None:
    """375 x 500 pixels, three present labels of 21."""
    generator = np.random.default_rng(0)
    image = np.kron(generator.integers(0, 256, (15, 20, 3)), np.ones((25, 25, 1))).astype(np.uint8)
    crf = Params(
        {
            "kernels": {"gaussian": {"xy": 3, "weight": 3}, "bilateral": {"xy": 50, "rgb": 5, "weight": 10}},
            "iterations": 10,
            "backend": "pydensecrf",
        }
    )
    few, all_labels = (generator.dirichlet(np.ones(k), image.shape[:2]).transpose(2, 0, 1) for k in (3, 21))
    ours = shortest(lambda: dense_crf(image, few.astype(np.float32), crf), 2)
    report(
        "dense CRF on 3 labels", ours, shortest(lambda: dense_crf(image, all_labels.astype(np.float32), crf), 2), "21"
    )
