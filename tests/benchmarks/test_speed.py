"""Speed as ratios within one run, printed and not asserted: `make bench`."""

from __future__ import annotations

import numpy as np

from stages.core.dense_crf import dense_crf
from stages.core.params import Params
from tests.benchmarks.timing import shortest


def report(name: str, ours: float, other: float, against: str) -> None:
    """One line of the table."""
    print(f"\n{name}: {ours * 1e3:.1f} ms, {other / ours:.2f} times as fast as {against} ({other * 1e3:.1f} ms)")


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
