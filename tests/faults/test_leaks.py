"""A long training keeps no more memory, files or processes in the end than at its beginning."""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass

import psutil

from tests.pipeline.repository import FOREIGN

SECONDS = 1800


@dataclass(frozen=True)
class Sample:
    """What a process and its children hold: proportional memory in MB, open files, processes, threads."""

    memory: float
    files: int
    processes: int
    threads: int


def look(root: psutil.Process) -> Sample:
    """One look at a process and all below it."""
    family = [root, *root.children(recursive=True)]
    return Sample(
        sum(each.memory_full_info().pss for each in family) / 1e6,
        sum(each.num_fds() for each in family),
        len(family),
        sum(each.num_threads() for each in family),
    )


def test_a_long_training_is_flat(finished, tmp_path, count, whole):
    tally = count("200 epochs of training: memory, open files, processes")
    project = finished.copy(tmp_path)
    shutil.rmtree(project.folder / ".scratch", ignore_errors=True)
    epochs = 200 if whole else 20
    project.edit(recipes__tiny__segmenter__epochs=epochs, recipes__tiny__segmenter__validate_every=2)
    environment = {key: value for key, value in os.environ.items() if not FOREIGN.match(key)}
    environment |= {"OMP_NUM_THREADS": "1", "SIZEWISE_JOBS": "2", "MLFLOW_DISABLE_TELEMETRY": "true"}
    with tally.trial(f"{epochs} epochs"), (tmp_path / "said").open("w") as said:
        process = subprocess.Popen(
            [sys.executable, "-m", "stages.segment"], cwd=project.folder, env=environment, stdout=said, stderr=said
        )
        samples = watch(process, project.folder)
        assert process.returncode == 0, (tmp_path / "said").read_text()
        log = (project.folder / "metrics/segment_log.csv").read_text().splitlines()
        assert len(log) == 1 + epochs
        assert len(samples) >= 8, f"only {len(samples)} looks"
        judge(samples)


def watch(process: subprocess.Popen, folder) -> list[Sample]:
    """A sample after each checkpoint that is seen, until the training ends."""
    samples, root, last = [], psutil.Process(process.pid), 0
    deadline = time.monotonic() + SECONDS
    while process.poll() is None:
        if time.monotonic() > deadline:
            process.kill()
        try:
            times = [path.stat().st_mtime_ns for path in folder.glob(".scratch/checkpoints/*/segment.pt")]
            if times and max(times) > last:
                last = max(times)
                samples.append(look(root))
        except (psutil.Error, FileNotFoundError):  # a process or file that ended between two looks
            pass
        time.sleep(0.05)
    return samples[:-1]  # the last may be of the end


def judge(samples: list[Sample]) -> None:
    """The last quarter against the second one: the first is the warm-up."""
    quarter = len(samples) // 4
    early, late = samples[quarter : 2 * quarter], samples[-quarter:]
    print(f"{early[0]} to {late[-1]}, {len(samples)} looks")  # noqa: T201 - for `pytest -s`
    before, after = (statistics.median(sample.memory for sample in part) for part in (early, late))
    assert after < before * 1.03 + 5, f"{before:.1f} MB, then {after:.1f} MB"
    for name in ("files", "processes", "threads"):
        most = [max(getattr(sample, name) for sample in part) for part in (early, late)]
        assert most[1] <= most[0], f"{name}: {most[0]}, then {most[1]}"
