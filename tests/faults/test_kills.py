"""Runs that are killed, ended or interrupted at random moments: no orphan writes on, the next run has the same results.

The trials of a stage follow each other without a run that ends well between them; after the last one comes such a run,
whose results count for all.
"""

from __future__ import annotations

import csv
import io
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial

import numpy as np
import pytest

from tests.faults.campaign import Tally
from tests.faults.interrupted import (
    STAGES,
    Repro,
    Undisturbed,
    finish,
    forget,
    kill_dvc,
    kill_stage,
    mend_record,
    to_dvc,
    to_group,
)
from tests.pipeline.repository import ROOT, Repository

SHARE = 0.9  # of the time that a stage takes undisturbed, within which it is disturbed
HOURS = 4 * 3600  # seconds that a test may take on a busy machine
ATTEMPTS = 8  # of which one must come before the stage has ended
KILLS = {
    "kill -9 of DVC": kill_dvc,
    "kill -9 of a stage's process": kill_stage,
    "kill -9 of DVC and all it started": partial(to_group, signal.SIGKILL),
}
SIGNALS = {
    "Ctrl-C in the terminal": partial(to_group, signal.SIGINT),
    "SIGTERM to DVC": partial(to_dvc, signal.SIGTERM),
    "SIGTERM to DVC and all it started": partial(to_group, signal.SIGTERM),
}
LONG = ("classify", "refine", "segment", "predict")  # these are hit more often
POOLS = ("download", "refine", "predict")  # the stages whose pools have work for two processes on `tiny`
KILLED = "one of 2 worker processes was killed"  # in the message


def moment_of(seconds: float, generator: np.random.Generator) -> float:
    """A random moment in so many seconds, but not at their end."""
    return round(float(generator.uniform(0, SHARE * seconds)), 2)


def moments_of(undisturbed: Undisturbed, stage: str, generator: np.random.Generator) -> list[tuple[float, bool]]:
    """A random moment for each attempt, by turns counted from DVC's start of the stage, and from that of its work.

    Loading modules is most of a short stage's time.
    """
    first = int(generator.integers(2))
    seconds = (undisturbed.seconds[stage], undisturbed.work[stage])
    return [(moment_of(seconds[turn % 2], generator), bool(turn % 2)) for turn in range(first, first + ATTEMPTS)]


def disturb(
    repository: Repository, stage: str, moments: Iterable[tuple[float, bool]], fault: Callable[[Repro], None]
) -> Repro:
    """`dvc repro STAGE`, disturbed at the first moment, or in a repetition at the next one if that was too late."""
    for delay, of_work in moments:
        with Repro(repository, stage) as repro:
            begun = repro.works if of_work else lambda run=repro: stage in run.started
            if not repro.wait_for(begun) and repro.process.returncode:
                assert mend_record(repository, repro.output), repro.output
                continue
            time.sleep(delay)
            early = not repro.ended()
            if early:
                fault(repro)
            repro.nothing_is_left()
        if early and repro.process.returncode:
            return repro
        forget(repository, [stage])
    raise AssertionError(f"{stage} had ended before it was disturbed, {ATTEMPTS} times")


def chain(
    undisturbed: Undisturbed,
    repository: Repository,
    stage: str,
    faults: Sequence[tuple[Tally, Callable[[Repro], None]]],
    generator: np.random.Generator,
) -> None:
    """Disturbs a stage by each of the faults in a random order, and then runs it to its end."""
    order = generator.permutation(len(faults))
    for place in order:
        tally, fault = faults[place]
        moments = moments_of(undisturbed, stage, generator)
        with tally.trial(f"{stage}, seconds and whether of its work: {moments}"):
            repro = disturb(repository, stage, moments, fault)
            if fault not in KILLS.values():
                assert "Traceback" not in repro.output, repro.output
            if place == order[-1]:
                finish(repository, stage)
                undisturbed.agrees(repository, stage)


def scores(repository: Repository) -> list[dict[str, str]]:
    """The rows of `tiny` in metrics/experiments.csv without what says when, where and how fast they came about."""
    rows = csv.DictReader(io.StringIO(repository.read("metrics/experiments.csv")))
    varying = ("experiment", "commit", "train_minutes", "train_memory_gb")
    return [
        {key: value for key, value in row.items() if key not in varying} for row in rows if row["dataset"] == "tiny"
    ]


@pytest.mark.timeout(HOURS)
def test_kills(undisturbed, count, whole):
    """With MLflow, whose store is there for the first time in the first training."""
    generator, faults = np.random.default_rng(8), [(count(name), fault) for name, fault in KILLS.items()]
    repository = undisturbed.again("killed", "check" if whole else "classify", SIZEWISE_JOBS="2")
    for stage in STAGES if whole else ("classify",):
        chain(undisturbed, repository, stage, faults, generator)
        if whole and stage in LONG:
            forget(repository, [stage])
            chain(undisturbed, repository, stage, faults, generator)
    undisturbed.agrees(repository, undisturbed.stages[-1])
    if whole:
        assert scores(repository) == scores(undisturbed.repository)


def test_ctrl_c_for_dvc_alone(undisturbed, count, whole):
    """DVC does not listen to it while a stage runs: the run goes on to its end, or DVC ends between two stages."""
    generator, tally = np.random.default_rng(10), count("SIGINT to DVC alone")
    for stage in ("download", "refine", "segment", "evaluate") if whole else ("prepare",):
        repository = undisturbed.again(f"asked-{stage}", stage, SIZEWISE_JOBS="2", SIZEWISE_TRACK="0")
        delay = moment_of(undisturbed.seconds[stage], generator)
        with tally.trial(f"{stage}, after {delay} s"):
            with Repro(repository, stage) as repro:
                repro.wait_for(lambda run=repro, name=stage: name in run.started)
                time.sleep(delay)
                to_dvc(signal.SIGINT, repro)
                repro.wait_for(repro.ended)
                repro.nothing_is_left()
            finish(repository, stage)
            undisturbed.agrees(repository, stage)


def test_a_killed_worker_is_noticed(undisturbed, count, whole):
    generator, tally = np.random.default_rng(11), count("kill -9 of a worker process")
    for stage in POOLS if whole else POOLS[:1]:
        repository = undisturbed.again(f"worker-{stage}", stage, SIZEWISE_JOBS="2", SIZEWISE_TRACK="0")
        for _ in range(3 if whole else 1):
            delay = round(float(generator.uniform(0, 1)), 2)
            with tally.trial(f"{stage}, {delay} s after the first worker"):
                kill_worker(repository, stage, delay, generator)
                finish(repository, stage)
                undisturbed.agrees(repository, stage)
            forget(repository, [stage])


def kill_worker(repository: Repository, stage: str, delay: float, generator: np.random.Generator) -> None:
    """Kills one of two workers; the run says so, or ends well because the work was done."""
    for _ in range(ATTEMPTS):
        with Repro(repository, stage) as repro:
            assert repro.wait_for(repro.workers), "the stage had no workers"
            time.sleep(delay)
            workers = repro.workers()
            if workers:
                workers[generator.integers(len(workers))].kill()
            repro.wait_for(repro.ended)
            repro.nothing_is_left()
        if workers:
            assert repro.process.returncode == 0 or KILLED in repro.output, repro.output
            assert "Traceback" not in repro.output, repro.output
            return
        forget(repository, [stage])
        delay /= 2
    raise AssertionError(f"the workers had ended before one was killed, {ATTEMPTS} times")


def test_a_kill_while_the_mlflow_store_is_made(tmp_path, count, whole):
    """In the first seconds of the first training: the next run can use the store."""
    generator, tally = np.random.default_rng(12), count("kill -9 while the MLflow store is made")
    repository = Repository(tmp_path, {"PYTHONPATH": str(ROOT)})
    repository.run("git", "init", "-q")
    code = "from stages.core.tracking import *; import_client(); print(flush=True); open_store().__enter__()"
    for _ in range(8 if whole else 1):
        delay = round(float(generator.uniform(0, 4)), 2)
        with tally.trial(f"after {delay} s"):
            process = repository.start(sys.executable, "-c", code)
            with process:
                process.stdout.readline()
                time.sleep(delay)
                process.kill()
            repository.run(sys.executable, "-c", code)
        shutil.rmtree(tmp_path / ".mlflow")


@pytest.mark.timeout(HOURS)
def test_signals(undisturbed, count, whole):
    generator, faults = np.random.default_rng(9), [(count(name), fault) for name, fault in SIGNALS.items()]
    repository = undisturbed.again("ended", "check" if whole else "download", SIZEWISE_JOBS="2", SIZEWISE_TRACK="0")
    for place, stage in enumerate(STAGES if whole else ("download", "prepare")):
        one = faults[place % len(faults)]
        chain(undisturbed, repository, stage, faults if stage in LONG or not whole else [one], generator)
