"""Two runs in one clone, times of files far off, and records that DVC was writing when it was killed."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import numpy as np
import pytest

from tests.faults.interrupted import SAMPLE, STAGES, Repro, Undisturbed, run_undisturbed, to_group

BUSY = ("it is being blocked by", "another process is writing", "Unable to acquire lock")  # each says what to do
YEARS = 365 * 86400 * 10**9  # nanoseconds
CLOCKS = {"forward": time.time_ns() + 10 * YEARS, "back": 10 * YEARS}  # the time that files then have


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory, whole) -> Undisturbed:
    """The run that all others are compared with."""
    return run_undisturbed(tmp_path_factory.mktemp("left") / "undisturbed", STAGES if whole else SAMPLE[:3])


def test_two_runs_at_once(undisturbed, count, whole):
    """The second waits, or says that it cannot run; afterwards it can."""
    generator, tally = np.random.default_rng(13), count("two `dvc repro` at once")
    for stage in ("download", "prepare", "classify", "refine", "segment", "predict") if whole else ("prepare",):
        repository = undisturbed.again(f"twice-{stage}", stage, SIZEWISE_TRACK="0")
        delay = round(float(generator.uniform(0, undisturbed.seconds[stage])), 2)
        with tally.trial(f"{stage}, the second {delay} s after the first"), Repro(repository, stage) as first:
            time.sleep(delay)
            with Repro(repository, stage) as second:
                while not (first.ended() and second.ended()):
                    time.sleep(0.1)
            for run in (first, second):
                run.nothing_is_left()
                assert run.process.returncode == 0 or any(text in run.output for text in BUSY), run.output
                assert "Traceback" not in run.output, run.output
            assert 0 in (first.process.returncode, second.process.returncode), first.output + second.output
            repository.run("dvc", "repro", stage)
            undisturbed.agrees(repository, stage)


def shift(folder: Path, nanoseconds: int) -> None:
    """Gives every output, lock, log and checkpoint the time, and what DVC keeps beside them."""
    for name in ("data", "models", "metrics", ".scratch", ".dvc", ".mlflow"):
        for path in (folder / name).rglob("*"):
            os.utime(path, ns=(nanoseconds, nanoseconds), follow_symlinks=False)
    for name in ("dvc.lock", "dvc.yaml", "params.yaml"):
        os.utime(folder / name, ns=(nanoseconds, nanoseconds))


@pytest.mark.parametrize("direction", CLOCKS)
def test_a_clock_that_jumped(undisturbed, count, whole, direction):
    """It leaves files of the future or of long ago: finished work stays valid, and a killed run goes on."""
    tally = count(f"the clock jumped ten years {direction}")
    last = undisturbed.stages[-2 if whole else -1]  # the last one with an out
    for stage in ("prepare", "classify", "segment") if whole else ("prepare",):
        repository = undisturbed.again(f"{direction}-{stage}", stage, SIZEWISE_TRACK="0")
        with tally.trial(f"finished until {stage}, which is then killed"):
            with Repro(repository, stage) as repro:
                repro.wait_for(lambda run=repro, name=stage: name in run.started)
                time.sleep(undisturbed.seconds[stage] * 0.6)
                to_group(signal.SIGKILL, repro)
                repro.nothing_is_left()
            shift(repository.folder, CLOCKS[direction])
            output = repository.run("dvc", "repro", last)
            assert "Running stage 'download'" not in output, output
            undisturbed.agrees(repository, last)
        with tally.trial(f"all finished, {stage}"):
            shift(repository.folder, CLOCKS[direction])
            output = repository.run("dvc", "repro", last)
            assert "Running stage" not in output, output
            undisturbed.agrees(repository, last)
