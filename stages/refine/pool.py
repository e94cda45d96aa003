"""Work on many images in worker processes, with the results in the order of the images."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any

import cv2

from stages.core.faults import Fault
from stages.core.stage import die_with_parent

CHUNK = 4  # images per message to a worker: few enough that the stage stops soon when it is told to

_work: Callable[[Any], Any] | None = None  # what this worker process does


def workers() -> int:
    """Number of worker processes: `SIZEWISE_JOBS`, else one per CPU that this process may use.

    Raises:
        Fault: the variable is not a positive whole number.
    """
    text = os.environ.get("SIZEWISE_JOBS") or str(len(os.sched_getaffinity(0)))
    if not text.isdecimal() or int(text) == 0:
        raise Fault(f"SIZEWISE_JOBS is {text!r}; it is the number of worker processes, 1 or more")
    return int(text)


def ordered_map(work: Callable[[Any], Any], items: Sequence[Any], jobs: int) -> Iterator[Any]:
    """`work(item)` for each item, in order; with one job in this process, without a pool.

    Workers are started afresh and not forked, because a fork in a process with threads can hang. `work` is sent to each
    of them once; it must pickle. They are ended at once when anything goes wrong, or the caller stops early.

    Raises:
        Fault: a worker was killed, most likely because the memory is full.
        Exception: whatever `work` raises.
    """
    if jobs == 1:
        yield from map(work, items)
        return
    others = multiprocessing.active_children()
    pool = ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn"), start_worker, (work, os.getpid()))
    try:
        yield from pool.map(call_work, items, chunksize=CHUNK)
    except BrokenProcessPool:
        raise Fault(
            f"one of {jobs} worker processes was killed, most likely for want of memory; "
            "set SIZEWISE_JOBS to a smaller number and run `dvc repro` again"
        ) from None
    except BaseException:
        for process in multiprocessing.active_children():
            if process not in others:
                process.terminate()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def start_worker(work: Callable[[Any], Any], parent: int) -> None:
    """A worker's first act: it takes its work, ends with its parent and leaves Ctrl-C to it."""
    global _work  # noqa: PLW0603 - the one thing a worker holds for its whole life
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    die_with_parent()
    if os.getppid() != parent:  # the parent ended while this process was starting
        os._exit(1)
    cv2.setNumThreads(1)
    _work = work


def call_work(item: Any) -> Any:
    """The worker's work on an item."""
    return _work(item)
