"""The process pool: the order is kept, the bytes do not depend on it, and a killed worker is a clear message."""

from __future__ import annotations

import os
import signal

import pytest

from stages.core.faults import Fault
from stages.prepare.workers import process_map, workers


def square(number: int) -> int:
    """Top level, so that a worker finds it."""
    return number * number


def die(number: int) -> int:
    """As if the kernel had run out of memory."""
    if number == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_order(monkeypatch, jobs):
    monkeypatch.setenv("SIZEWISE_JOBS", jobs)
    assert list(process_map(square, range(301), "squares")) == [number * number for number in range(301)]


def test_work_is_done_in_other_processes(monkeypatch):
    monkeypatch.setenv("SIZEWISE_JOBS", "2")
    assert os.getpid() not in set(process_map(process_id, range(8), "pids"))


def process_id(_: int) -> int:
    """The process that does the work."""
    return os.getpid()


def test_killed_worker(monkeypatch):
    monkeypatch.setenv("SIZEWISE_JOBS", "2")
    with pytest.raises(Fault, match="dying: a worker process was killed.*SIZEWISE_JOBS below 2"):
        list(process_map(die, range(8), "dying"))


def test_number_of_workers(monkeypatch):
    monkeypatch.setenv("SIZEWISE_JOBS", "3")
    assert workers() == 3
    monkeypatch.delenv("SIZEWISE_JOBS")
    assert workers() == len(os.sched_getaffinity(0))


@pytest.mark.parametrize("text", ["0", "-1", "two", "1.5"])
def test_number_of_workers_that_is_none(monkeypatch, text):
    monkeypatch.setenv("SIZEWISE_JOBS", text)
    with pytest.raises(Fault, match=f"SIZEWISE_JOBS is '{text}'; allowed are whole numbers"):
        workers()


def test_bytes_do_not_depend_on_the_number_of_workers(voc, voc_params, prepared, monkeypatch):
    prepared(voc, voc_params(instances="SegmentationObject"))
    alone = prepared.out.read_bytes()
    monkeypatch.setenv("SIZEWISE_JOBS", "3")
    prepared(voc, voc_params(instances="SegmentationObject"))
    assert prepared.out.read_bytes() == alone
