"""Work in processes: the order, the errors, and what a person is told."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Iterator
from pickle import PicklingError
from threading import Timer
from traceback import format_exception

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


class Deadly:
    """Its process is killed a moment after this was pickled."""

    def __reduce__(self) -> tuple:
        Timer(0.02, os.kill, (os.getpid(), signal.SIGKILL)).start()
        return Deadly, ()


def large(_: int) -> tuple[bytes, Deadly]:
    """Takes longer to be sent than its process lives."""
    return bytes(500_000_000), Deadly()


@pytest.mark.timeout(60)
def test_a_worker_killed_while_it_sends_a_result_is_noticed() -> None:
    """Half a result is there then, and nobody waits for the rest."""
    with pytest.raises(Fault, match="large: one of 2 worker processes was killed"):
        list(process_map(large, [1], "large", 1))


class Unhappy(Exception):
    """Cannot be rebuilt from its arguments."""

    def __init__(self, number: int, text: str) -> None:
        super().__init__(f"{number}: {text}")


def fail(number: int) -> int:
    """Raises one of two exceptions."""
    raise Unhappy(number, "odd") if number % 2 else ValueError("even")


@pytest.mark.parametrize(("number", "kind"), [(1, RuntimeError), (2, ValueError)])
def test_what_a_worker_raises_comes_with_its_traceback(number: int, kind: type[Exception]) -> None:
    with pytest.raises(kind) as caught:
        list(process_map(fail, [number], "fail", 1))
    assert "in fail\n" in "".join(format_exception(caught.value))


def lambda_of(number: int) -> object:
    """What cannot be sent."""
    return lambda: number


def test_a_result_that_cannot_be_sent_is_said() -> None:
    with pytest.raises((AttributeError, PicklingError), match="lambda"):
        list(process_map(lambda_of, [1], "lambdas", 1))


def test_number_of_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIZEWISE_JOBS", "3")
    assert workers() == 3
    monkeypatch.delenv("SIZEWISE_JOBS")
    assert workers() == len(os.sched_getaffinity(0))
    for text in ("0", "-1", "two"):
        monkeypatch.setenv("SIZEWISE_JOBS", text)
        with pytest.raises(Fault, match="SIZEWISE_JOBS is"):
            workers()
