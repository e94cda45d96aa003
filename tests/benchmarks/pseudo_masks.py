"""Speed of the two backends of the dense CRF, in one run and on one thread: `python -m tests.benchmarks.pseudo_masks`.

Pictures of 375 x 500 pixels, 10 iterations with the kernels of each parameter set, set-up included; times are the
shortest of several runs.
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"  # before torch reads it

import numpy as np
import torch

from stages.core.dense_crf import dense_crf
from stages.core.params import Params
from stages.download.shapes import render
from tests.benchmarks.timing import shortest

SETS = {
    "irn": {"gaussian": {"xy": 3, "weight": 3}, "bilateral": {"xy": 50, "rgb": 5, "weight": 10}},
    "psa": {"gaussian": {"xy": 3, "weight": 3}, "bilateral": {"xy": 80, "rgb": 13, "weight": 10}},
    "deeplab": {"gaussian": {"xy": 1, "weight": 3}, "bilateral": {"xy": 67, "rgb": 3, "weight": 4}},
}


def main() -> None:
    """Prints a line per parameter set and number of labels."""
    torch.set_num_threads(1)
    image = render(0, 1, 3, 500)[0][:375]
    generator = np.random.default_rng(0)
    print("| set | labels | pydensecrf (s) | lattice (s) | lattice / pydensecrf | same labels |")
    print("|---|---:|---:|---:|---:|---:|")
    for name, kernels in SETS.items():
        for labels in (3, 21):
            coarse = generator.dirichlet(np.ones(labels), (25, 20)).repeat(15, 0).repeat(25, 1)
            unary = coarse.transpose(2, 0, 1).astype(np.float32)
            seconds, found = {}, {}
            for backend in ("pydensecrf", "lattice"):
                crf = Params({"kernels": kernels, "iterations": 10, "backend": backend})
                found[backend] = dense_crf(image, unary, crf).argmax(0)
                seconds[backend] = shortest(lambda crf=crf, unary=unary: dense_crf(image, unary, crf), 3)
            same = (found["lattice"] == found["pydensecrf"]).mean()
            one, other = seconds["pydensecrf"], seconds["lattice"]
            print(f"| {name} | {labels} | {one:.2f} | {other:.2f} | {other / one:.2f} | {same:.5f} |")


if __name__ == "__main__":
    main()
