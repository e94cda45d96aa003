"""Two runs in one clone, times of files far off, and records that DVC was writing when it was killed."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import numpy as np
import pytest

from tests.faults.interrupted import (
    STARTS,
    Repro,
    finish,
    mend_record,
    to_group,
)

BUSY = ("it is being blocked by", "another process is writing", "Unable to acquire lock")  # each says what to do
YEARS = 365 * 86400 * 10**9  # nanoseconds
RWLOCK = '{"write": {"data/params_ok.json": {"pid": 4194305, "cmd": "dvc repro"}}}'  # no process has such an id
HOURS = 4 * 3600  # seconds that a test may take on a busy machine
CLOCKS = {"forward": time.time_ns() + 10 * YEARS, "back": 10 * YEARS}  # the time that files then have


@pytest.mark.timeout(HOURS)
def test_two_runs_at_once(undisturbed, count, whole):
    """The second waits, or says that it cannot run; afterwards it can."""
    generator, tally = np.random.default_rng(13), count("two `dvc repro` at once")
    for stage in ("download", "classify", "refine", "segment") if whole else ("prepare",):
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
            finish(repository, stage)
            undisturbed.agrees(repository, stage)


def shift(folder: Path, nanoseconds: int) -> None:
    """Gives every output, lock, log and checkpoint the time, and what DVC keeps beside them."""
    for name in ("data", "models", "metrics", ".scratch", ".dvc", ".mlflow"):
        for path in (folder / name).rglob("*"):
            os.utime(path, ns=(nanoseconds, nanoseconds), follow_symlinks=False)
    for name in ("dvc.lock", "dvc.yaml", "params.yaml"):
        os.utime(folder / name, ns=(nanoseconds, nanoseconds))


@pytest.mark.timeout(HOURS)
@pytest.mark.parametrize("direction", CLOCKS)
def test_a_clock_that_jumped(undisturbed, count, whole, direction):
    """It leaves files of the future or of long ago: finished work stays valid, and a killed run goes on."""
    tally = count(f"the clock jumped ten years {direction}")
    for stage in ("prepare", "classify", "segment") if whole else ("prepare",):
        repository = undisturbed.again(f"{direction}-{stage}", stage, SIZEWISE_TRACK="0")
        with tally.trial(f"{stage} is killed before"):
            with Repro(repository, stage) as repro:
                repro.wait_for(lambda run=repro, name=stage: name in run.started)
                time.sleep(undisturbed.seconds[stage] * 0.6)
                to_group(signal.SIGKILL, repro)
                repro.nothing_is_left()
            shift(repository.folder, CLOCKS[direction])
            output = finish(repository, stage)
            assert "Running stage 'download'" not in output, output
            undisturbed.agrees(repository, stage)
        with tally.trial(f"{stage} has finished before"):
            shift(repository.folder, CLOCKS[direction])
            output = repository.run("dvc", "repro", stage)
            assert "Running stage" not in output, output
            undisturbed.agrees(repository, stage)


@pytest.mark.timeout(HOURS)
@pytest.mark.parametrize("record", [".dvc/tmp/rwlock", "dvc.lock"])
def test_a_record_that_dvc_was_writing(undisturbed, count, whole, record):
    """It is noticed by name, and after what README.md says nothing runs again but the last stage and one more."""
    generator, tally = np.random.default_rng(14), count(f"kill -9 while DVC writes {record}")
    last = undisturbed.stages[-1] if whole else "prepare"
    repository = undisturbed.again(f"cut-{Path(record).name}", last, SIZEWISE_TRACK="0")
    repository.run("dvc", "repro", last)
    path = repository.folder / record
    path.write_text(RWLOCK if path.name == "rwlock" else path.read_text(encoding="utf-8"), encoding="utf-8")
    content = path.read_bytes()
    for _ in range(8 if whole else 2):
        size = int(generator.integers(len(content)))
        with tally.trial(f"{size} of {len(content)} bytes"):
            path.write_bytes(content[:size])
            code, output = repository.attempt("dvc", "repro", last)
            assert "Traceback" not in output, output
            assert code == 0 or mend_record(repository, output), output
            again = repository.run("dvc", "repro", last)
            ran = STARTS.findall(again)
            assert set(ran) <= {last, *STARTS.findall(output)[:1]}, output + again
            undisturbed.agrees(repository, last)
