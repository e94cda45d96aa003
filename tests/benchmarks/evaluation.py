"""Speed and memory of the evaluation, all in one run: `python -m tests.benchmarks.evaluation`.

Maps of 375 x 500 pixels with 4 and 40 instances, the prediction clean (the truth, shifted) or noisy (a tenth of its
pixels random). Times are the shortest of several runs on one thread, decoding apart; ratios are to what is named.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np

from stages.core.files import encode_png
from stages.core.metrics.ia_miou import EXACT, PAPER, instance_ious
from tests.benchmarks.timing import shortest
from tests.core.metrics.reference import contour_ious

HEIGHT, WIDTH, CLASSES = 375, 500, 21
IMAGES = 1449  # as VOC 2012 val has


def maps(count: int, noise: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mask, instance map and prediction with `count` discs of three classes."""
    generator = np.random.default_rng([seed, count])
    mask, ids = np.zeros((HEIGHT, WIDTH), np.uint8), np.zeros((HEIGHT, WIDTH), np.uint16)
    radius = 120 / np.sqrt(count)
    labels = generator.choice(np.arange(1, CLASSES), 3, replace=False)
    for number in range(1, count + 1):
        centre = (int(generator.integers(WIDTH)), int(generator.integers(HEIGHT)))
        disc = cv2.circle(np.zeros_like(mask), centre, int(radius * generator.uniform(0.5, 1.5)), 1, -1) > 0
        mask[disc], ids[disc] = generator.choice(labels), number
    prediction = np.roll(mask, (4, 6), (0, 1))
    random = generator.random(mask.shape) < noise
    prediction[random] = generator.choice([0, *labels], random.sum())
    return mask, ids, prediction


def per_image() -> None:
    """The IoU of all instances of one image, against the contour method and against the mIoU's bincount."""
    print("| maps | exact (ms) | paper (ms) | contour method / paper | exact / bincount | paper / bincount |")
    print("|---|---:|---:|---:|---:|---:|")
    for name, noise in (("clean", 0.0), ("noisy", 0.1)):
        for count in (4, 40):
            mask, ids, prediction = maps(count, noise)

            def ours(mode: str, mask=mask, ids=ids, prediction=prediction) -> np.ndarray:
                return instance_ious(mask, ids, prediction, True, mode).ious

            def bincount(mask=mask, prediction=prediction) -> np.ndarray:
                valid = mask < CLASSES
                codes = CLASSES * mask[valid].astype(int) + prediction[valid]
                return np.bincount(codes, minlength=CLASSES**2)

            if not np.allclose(ours(PAPER), list(contour_ious(mask, ids, prediction).values())):
                raise SystemExit("the two methods disagree")
            exact, paper, plain = (
                shortest(work, 30)
                for work in (lambda: ours(EXACT), lambda: ours(PAPER), bincount)  # noqa: B023
            )
            contours = shortest(lambda: contour_ious(mask, ids, prediction), 1 if noise else 3)  # noqa: B023
            print(
                f"| {name}, {count} instances | {exact * 1e3:.2f} | {paper * 1e3:.2f} | {contours / paper:.0f} "
                f"| {exact / plain:.1f} | {paper / plain:.1f} |"
            )


def write_set(folder: Path, count: int) -> None:
    """`count` images of 30 kinds, as links to the same files."""
    for kind in ("masks", "instances", "predictions"):
        (folder / kind).mkdir(parents=True)
    for number in range(30):
        for kind, array in zip(("masks", "instances", "predictions"), maps(4, 0.0, number), strict=True):
            first = folder / kind / f"{number:05d}.png"
            first.write_bytes(encode_png(array))
            for other in range(number + 30, count, 30):
                os.link(first, folder / kind / f"{other:05d}.png")


def score(folder: Path, processes: int) -> tuple[float, float]:
    """Seconds and peak memory in MB of the first process of `stages.evaluate.score` on a written set."""
    command = [sys.executable, "-m", "stages.evaluate.score", "--bootstrap", "1000"]
    for option in ("masks", "instances", "predictions"):
        command += [f"--{option}", str(folder / option)]
    start = time.perf_counter()
    process = subprocess.Popen(command, env=os.environ | {"SIZEWISE_JOBS": str(processes)}, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"score ended with status {status}")
    return time.perf_counter() - start, usage.ru_maxrss / 1e3


def whole_set() -> None:
    """The command on a set of VOC's size, decoding included, and its memory as the set grows."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_set(folder / "all", IMAGES)
        write_set(folder / "some", IMAGES // 4)
        (one, memory), (two, _) = (score(folder / "all", processes) for processes in (1, 2))
        few = score(folder / "some", 1)[1]
    print(f"\n{IMAGES} images, decoded: {one:.1f} s on one process, {one / two:.2f} times as fast on two")
    print(f"peak memory of one process: {memory:.0f} MB for {IMAGES} images, {few:.0f} MB for {IMAGES // 4}")


if __name__ == "__main__":
    cv2.setNumThreads(1)
    per_image()
    whole_set()
