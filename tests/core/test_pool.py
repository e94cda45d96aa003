"""Work in processes: the order, the errors, and what a person is told."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Iterator

import pytest

from stages.core.faults import Fault
from stages.core.pool import AHEAD, process_map, workers


def square(number: int) -> int:
    """A number's square; 6 takes a minute, 7 is a fault and 8 is the end of the process."""
    if number == 6:
        time.sleep(60)
    if number == 7:
        raise Fault("7 cannot be squared")
    if number == 8:
        os.kill(os.getpid(), signal.SIGKILL)
    return number * number


@pytest.fixture(autouse=True)
def parallel(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two workers also on one CPU, and for few items."""
    monkeypatch.setenv("SIZEWISE_JOBS", "2")
    monkeypatch.setattr("stages.core.pool.SERIAL", 0)


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_results_come_in_order_and_a_fault_ends_the_work(jobs: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The fault comes through while the other worker sleeps, and nobody waits for that one."""
    monkeypatch.setenv("SIZEWISE_JOBS", jobs)
    results = process_map(square, [1, 2, 3, 4, 5, 7, 6], "squares", 7)
    started = time.monotonic()
    assert [next(results) for _ in range(4)] == [1, 4, 9, 16]
    with pytest.raises(Fault, match="7 cannot be squared"):
        list(results)
    assert time.monotonic() - started < 50
    assert not multiprocessing.active_children()


def test_a_generator_is_read_only_a_little_ahead() -> None:
    read = []

    def numbers() -> Iterator[int]:
        for number in range(100, 200):
            read.append(number)
            yield number

    results = process_map(square, numbers(), "squares", 100)
    assert next(results) == 10000
    assert len(read) <= 2 * AHEAD
    assert len(list(results)) == 99


def test_the_work_is_done_elsewhere() -> None:
    assert os.getpid() not in set(process_map(process_id, range(8), "pids", 8))


def process_id(_: int) -> int:
    """The process that does the work."""
    return os.getpid()


def test_a_killed_worker_is_explained() -> None:
    with pytest.raises(Fault, match="squares: one of 2 worker processes was killed.*SIZEWISE_JOBS to a smaller number"):
        list(process_map(square, [1, 2, 8], "squares", 3))


def test_number_of_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIZEWISE_JOBS", "3")
    assert workers() == 3
    monkeypatch.delenv("SIZEWISE_JOBS")
    assert workers() == len(os.sched_getaffinity(0))
    for text in ("0", "-1", "two"):
        monkeypatch.setenv("SIZEWISE_JOBS", text)
        with pytest.raises(Fault, match="SIZEWISE_JOBS is"):
            workers()
