"""Work in processes: the order, the errors, and what a person is told."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time

import pytest

from stages.core.faults import Fault
from stages.refine.pool import ordered_map, workers


def square(number: int) -> int:
    """A number's square; 6 takes a minute, 7 is a fault and 8 is the end of the process."""
    if number == 6:
        time.sleep(60)
    if number == 7:
        raise Fault("7 cannot be squared")
    if number == 8:
        os.kill(os.getpid(), signal.SIGKILL)
    return number * number


@pytest.mark.parametrize("jobs", [1, 2])
def test_results_come_in_order_and_a_fault_ends_the_work(jobs: int) -> None:
    """The fault comes through while the other worker sleeps, and nobody waits for that one."""
    results = ordered_map(square, [1, 2, 3, 4, 5, 7, 1, 1, 6], jobs)
    assert [next(results) for _ in range(4)] == [1, 4, 9, 16]
    started = time.monotonic()
    with pytest.raises(Fault, match="7 cannot be squared"):
        list(results)
    assert time.monotonic() - started < 50
    assert not multiprocessing.active_children()


def test_a_killed_worker_is_explained() -> None:
    with pytest.raises(Fault, match="SIZEWISE_JOBS to a smaller number"):
        list(ordered_map(square, [1, 2, 8], 2))


def test_number_of_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIZEWISE_JOBS", "3")
    assert workers() == 3
    monkeypatch.delenv("SIZEWISE_JOBS")
    assert workers() == len(os.sched_getaffinity(0))
    for text in ("0", "-1", "two"):
        monkeypatch.setenv("SIZEWISE_JOBS", text)
        with pytest.raises(Fault, match="SIZEWISE_JOBS is"):
            workers()
