"""Speed of what makes pseudo masks, and of the dense CRF loss: `python -m tests.benchmarks.pseudo_masks [PART ...]`.

Pictures of 375 x 500 pixels, set-up included, one thread; times are the shortest of several runs. The parts, or all:

    crf      the dense CRF's two backends with the kernels of each parameter set, 10 iterations
    walk     the sparse random walk against the dense power of its matrix
    pool     refine on two processes against one
    gpu      the lattice on batches of pictures, where there is a GPU
    energy   the dense CRF loss, forward and backward
"""

from __future__ import annotations

import os
import re

os.environ["OMP_NUM_THREADS"] = "1"  # before torch reads it

import multiprocessing
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import torch

from stages.core.dense_crf import dense_crf
from stages.core.filters.mean_field import kernel_lattice, mean_field_batch
from stages.core.filters.permutohedral import Lattice
from stages.core.filters.random_walk import random_walk, transitions
from stages.core.params import Params
from stages.core.pool import process_map
from stages.core.two_thresholds import label_scores, upsample
from stages.download.shapes import render
from stages.segment.losses.dense_energy import dense_energy
from tests.benchmarks.timing import shortest

SETS = {
    "irn": {"gaussian": {"xy": 3, "weight": 3}, "bilateral": {"xy": 50, "rgb": 5, "weight": 10}},
    "psa": {"gaussian": {"xy": 3, "weight": 3}, "bilateral": {"xy": 80, "rgb": 13, "weight": 10}},
    "deeplab": {"gaussian": {"xy": 1, "weight": 3}, "bilateral": {"xy": 67, "rgb": 3, "weight": 4}},
}
GRID = (94, 125)  # 375 x 500 at stride 4
IMAGES = 60
ITERATIONS = 10
SHARE, SQUARINGS = 16, 8  # of the dense walk


def crf() -> None:
    """The two backends, a line per parameter set and number of labels."""
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
                section = Params({"kernels": kernels, "iterations": ITERATIONS, "backend": backend})
                found[backend] = dense_crf(image, unary, section).argmax(0)
                seconds[backend] = shortest(lambda section=section, unary=unary: dense_crf(image, unary, section), 3)
            same = (found["lattice"] == found["pydensecrf"]).mean()
            one, other = seconds["pydensecrf"], seconds["lattice"]
            print(f"| {name} | {labels} | {one:.2f} | {other:.2f} | {other / one:.2f} | {same:.5f} |")


def some_edges() -> np.ndarray:
    """A boundary map in 0..1 with few strong boundaries."""
    return (np.random.default_rng(0).random(GRID) ** 4).astype(np.float32)


def peak() -> float:
    """The most memory that this process has had, in MB; `ru_maxrss` would be that of the process that started it."""
    status = Path("/proc/self/status").read_text()
    return int(re.search(r"VmHWM:\s*(\d+)", status)[1]) / 1e3


def sparse_walk(labels: int) -> tuple[float, float]:
    """Seconds of a walk of 2^8 steps, and the peak memory in MB that it adds."""
    before = peak()
    scores, edges = np.random.default_rng(1).random((labels, *GRID), np.float32), some_edges()
    seconds = shortest(lambda: random_walk(scores, edges, 5, 10, 256), 3)
    return seconds, peak() - before


def dense_walk() -> tuple[float, float]:
    """Seconds of the same with the matrix squared 8 times, and the peak memory in MB that one matrix takes.

    A sixteenth of the rows of one squaring is timed and counted 16 * 8 times: the whole takes minutes.
    """
    torch.set_num_threads(1)
    step = transitions(some_edges(), 5, 10).astype(np.float32)
    before = peak()
    matrix = torch.from_numpy(step.toarray())
    memory = peak() - before
    rows = matrix[: len(matrix) // SHARE]
    return shortest(lambda: rows @ matrix, 2) * SHARE * SQUARINGS, memory


def apart(work: Callable[..., tuple], *arguments: object) -> tuple:
    """The result of work in a process of its own, whose memory nothing else has touched."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(work, *arguments).result()


def walk() -> None:
    """The walk, sparse and dense, a line per number of labels."""
    print(f"\nwalk of 256 steps on {GRID[0]} x {GRID[1]} = {GRID[0] * GRID[1]} pixels, radius 5")
    print("| labels | sparse (s) | dense (s) | dense / sparse | sparse (MB) | dense (MB) |")
    print("|---:|---:|---:|---:|---:|---:|")
    dense, matrix = apart(dense_walk)  # the same for any number of labels
    for labels in (2, 21):
        seconds, memory = apart(sparse_walk, labels)
        print(f"| {labels} | {seconds:.2f} | {dense:.0f} | {dense / seconds:.0f} | {memory:.0f} | {matrix:.0f} |")
    print(f"(dense: from a part of one of {SQUARINGS} squarings, in float32; memory of one matrix)")


def refined(item: tuple[np.ndarray, np.ndarray, np.ndarray]) -> np.ndarray:
    """The pseudo mask of one picture with IRN's thresholds and CRF."""
    section = {"confidence": 0.7, "kernels": SETS["irn"], "iterations": ITERATIONS, "backend": "pydensecrf"}
    refine = Params({"foreground": 0.3, "background": 0.05, "walk": "none", "pamr": "none", "crf": section})
    picture, maps, classes = item
    return label_scores(picture, upsample(maps, picture.shape[:2]), classes, True, refine)


def pictures() -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Pictures with activation maps of two classes: a bump each."""
    generator = np.random.default_rng(2)
    rows, columns = np.mgrid[:24, :32]
    picture = render(0, 1, 3, 500)[0][:375]
    for _ in range(IMAGES):
        centres = generator.uniform((0, 0), (24, 32), (2, 2))
        bumps = [255 * np.exp(-((rows - y) ** 2 + (columns - x) ** 2) / 40) for y, x in centres]
        yield np.roll(picture, generator.integers(375), 0), np.stack(bumps).astype(np.uint8), np.array([1, 2])


def pool() -> None:
    """Refine of a set on one and two processes, workers' start included."""
    items, seconds, found = list(pictures()), {}, {}
    for jobs in (1, 2):
        os.environ["SIZEWISE_JOBS"] = str(jobs)
        start = time.perf_counter()
        found[jobs] = list(process_map(refined, items, "pool", len(items)))
        seconds[jobs] = time.perf_counter() - start
    if any((one != other).any() for one, other in zip(found[1], found[2], strict=True)):
        raise SystemExit("one process and two disagree")
    print(
        f"\nrefine of {IMAGES} pictures, IRN's CRF: {seconds[1]:.1f} s on one process, {seconds[2]:.1f} s on two, "
        f"{seconds[1] / seconds[2]:.2f} times as fast"
    )


def moved_bytes(lattice: Lattice, pixels: int, labels: int) -> float:
    """Bytes that one filtering reads and writes at least, if no cache helped, see the line that `gpu` prints."""
    corners, vertices = len(lattice.vertices), lattice.size
    ends = 2 * corners * pixels * (4 * labels + 12) + 4 * labels * (pixels + vertices)
    return ends + corners * vertices * (40 * labels + 16)


def copy_speed() -> float:
    """Bytes per second that a GPU reads and writes when it copies 1 GB."""
    block = torch.zeros(2**28, device="cuda")
    other = torch.empty_like(block)

    def copied() -> None:
        other.copy_(block)
        torch.cuda.synchronize()

    copied()
    return 2 * 4 * 2**28 / shortest(copied, 10)


def gpu() -> None:
    """Pictures per second of the lattice CRF on a GPU, and the share of its memory bandwidth."""
    if not torch.cuda.is_available():
        print("\nlattice on batches: left out, there is no GPU")
        return
    bandwidth = copy_speed()
    labels, crf_section = 3, Params({"kernels": SETS["irn"], "iterations": ITERATIONS})
    print(f"\nlattice on {torch.cuda.get_device_name()}, {labels} labels, IRN's kernels; copies reach", end=" ")
    print(f"{bandwidth / 1e9:.0f} GB/s. Bytes of one filtering with d + 1 corners, N pixels, M vertices, K labels:")
    print("2 (d + 1) N (4 K + 12) + 4 K (N + M) for splat and slice, (d + 1) M (40 K + 16) for the blur")
    print("| batch | pictures / s | set-up, share of time | share of bandwidth in the iterations |")
    print("|---:|---:|---:|---:|")
    picture = render(0, 1, 3, 500)[0][:375]
    energy = -np.log(np.random.default_rng(0).dirichlet(np.ones(labels), 375 * 500).T).astype(np.float32)
    for batch in (1, 4, 16, 64):
        images = np.stack([np.roll(picture, number, 0) for number in range(batch)])
        problems = np.broadcast_to(energy, (batch, 1, *energy.shape)).copy()
        colours = torch.from_numpy(images).cuda()

        def set_up(colours: torch.Tensor = colours) -> list:
            found = [kernel_lattice(colours, name, kernel) for name, kernel in crf_section.kernels.items()]
            torch.cuda.synchronize()
            return found

        moved = sum(moved_bytes(lattice, batch * 375 * 500, labels) for lattice in set_up())
        building = shortest(set_up, 5)
        mean_field_batch(images, problems, crf_section)
        whole = shortest(lambda images=images, problems=problems: mean_field_batch(images, problems, crf_section), 5)
        share = ITERATIONS * moved / max(whole - building, 1e-9) / bandwidth
        print(f"| {batch} | {batch / whole:.0f} | {building / whole:.2f} | {share:.2f} |")


def energy() -> None:
    """The dense CRF loss, forward and backward."""
    where = "cuda" if torch.cuda.is_available() else "cpu"
    images = np.stack([render(0, 1, number, 256)[0] for number in range(4)]).transpose(0, 3, 1, 2)
    colours, valid = torch.from_numpy(images.copy()).to(where), torch.ones(4, 256, 256, dtype=torch.bool, device=where)
    logits = torch.randn(4, 21, 256, 256, device=where, requires_grad=True)
    gate = torch.rand(4, 256, 256, device=where)
    print(f"\ndense CRF loss, 4 pictures of 256 x 256, 21 labels, scale 0.5, xy 100, rgb 15, {where}")
    for name, normalisation, given in (
        ("authors", "authors", None),
        ("authors, gated", "authors", gate),
        ("per_pixel", "per_pixel", None),
    ):

        def step(normalisation: str = normalisation, given: torch.Tensor | None = given) -> None:
            loss = dense_energy(logits.softmax(1), colours, valid, 100, 15, 0.5, given, normalisation)
            loss.backward()
            if where == "cuda":
                torch.cuda.synchronize()

        step()
        print(f"{name}: {shortest(step, 3):.3f} s forward and backward")


PARTS = {"crf": crf, "walk": walk, "pool": pool, "gpu": gpu, "energy": energy}


if __name__ == "__main__":
    torch.set_num_threads(1)
    for part in sys.argv[1:] or PARTS:
        PARTS[part]()
