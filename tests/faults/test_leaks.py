"""A long training keeps no more memory, files or processes in the end than at its beginning."""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import time
from dataclasses import astuple, dataclass
from pathlib import Path

import psutil
import pytest

from tests.pipeline.repository import FOREIGN

HOURS = 4 * 3600  # seconds that the test may take on a busy machine
SECONDS = HOURS // 2  # after which the training is killed


@dataclass(frozen=True)
class Sample:
    """What a process and its children hold: proportional memory in MB, open files, processes, threads."""

    memory: float
    files: float
    processes: float
    threads: float


def look(root: psutil.Process) -> Sample:
    """One look at a process and all below it."""
    family = [root, *root.children(recursive=True)]
    return Sample(
        sum(each.memory_full_info().pss for each in family) / 1e6,
        sum(each.num_fds() for each in family),
        len(family),
        sum(each.num_threads() for each in family),
    )


@pytest.mark.timeout(HOURS)
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
        seen = f"exit code {process.returncode}, {summary(samples)}"
        print(seen)  # noqa: T201 - for `pytest -s`
        assert process.returncode == 0, f"{seen}\n{(tmp_path / 'said').read_text()}"
        log = (project.folder / "metrics/segment_log.csv").read_text().splitlines()
        assert len(log) == 1 + epochs
        assert len(samples) >= 8, seen
        judge(samples)


def watch(process: subprocess.Popen, folder: Path) -> list[Sample]:
    """A sample after each checkpoint that is seen, until the training ends; one that takes too long is killed."""
    samples, root, last = [], psutil.Process(process.pid), 0
    deadline = time.monotonic() + SECONDS
    try:
        while process.poll() is None and time.monotonic() < deadline:
            try:
                times = [path.stat().st_mtime_ns for path in folder.glob(".scratch/checkpoints/*/segment.pt")]
                if times and max(times) > last:
                    last = max(times)
                    samples.append(look(root))
            except (psutil.Error, FileNotFoundError):  # a process or file that ended between two looks
                pass
            time.sleep(0.05)
    finally:
        process.kill()
        process.wait()
    return samples[:-1]  # the last may be of the end


def quarters(samples: list[Sample]) -> tuple[Sample, Sample]:
    """The medians of the second quarter and of the last one: the first is the warm-up."""
    quarter = max(1, len(samples) // 4)
    return tuple(
        Sample(*map(statistics.median, zip(*map(astuple, part), strict=True)))
        for part in (samples[quarter : 2 * quarter], samples[-quarter:])
    )


def summary(samples: list[Sample]) -> str:
    """What was measured, in a line."""
    if len(samples) < 2:
        return f"looks: {samples}"
    early, late = quarters(samples)
    return f"{len(samples)} looks: early {early}, late {late}, at last {samples[-1]}"


def judge(samples: list[Sample]) -> None:
    """No more in the end than before."""
    early, late = quarters(samples)
    assert late.memory < early.memory * 1.03 + 5, summary(samples)
    assert late.files <= early.files, summary(samples)
    assert late.processes <= early.processes, summary(samples)
    assert late.threads <= early.threads, summary(samples)
