"""Work on many items in worker processes, with the results in the order of the items."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any

import cv2
from tqdm import tqdm

from stages.core.environment import count
from stages.core.faults import Fault
from stages.core.lifetime import die_with_parent

AHEAD = 8  # items per worker that wait or are done before their turn: enough to hide the hand-over, few in memory
SERIAL = 24  # so few items are done sooner than the workers have started

_work: Callable[[Any], Any] | None = None  # what this worker process does


def workers() -> int:
    """Number of worker processes: `SIZEWISE_JOBS`, else one per CPU that this process may use.

    Raises:
        Fault: the variable is not a positive whole number.
    """
    return count("SIZEWISE_JOBS", len(os.sched_getaffinity(0)), "worker processes")


def process_map(work: Callable[[Any], Any], items: Iterable[Any], title: str, total: int) -> Iterator[Any]:
    """`work(item)` for each item, in order, from `workers()` processes, with a progress bar called `title`.

    With one worker, or few items, it runs in this process. Workers are started afresh and not forked, because a fork in
    a process with threads can hang; `work` is sent to each of them once and must pickle. `items` is read only a little
    ahead of the results, so it may be a generator of large arrays. Workers are ended at once when anything goes wrong
    or the caller stops early.

    Raises:
        Fault: a worker was killed, most likely because the memory is full.
        Exception: whatever `work` raises.
    """
    jobs = workers()
    if jobs == 1 or total <= SERIAL:
        yield from tqdm(map(work, items), title, total, disable=None)
        return
    others = multiprocessing.active_children()
    pool = ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn"), start_worker, (work, os.getpid()))
    try:
        yield from tqdm(in_order(pool, items, AHEAD * jobs), title, total, disable=None)
    except BrokenProcessPool:
        raise Fault(
            f"{title}: one of {jobs} worker processes was killed, most likely for want of memory; "
            "set SIZEWISE_JOBS to a smaller number and run the command again"
        ) from None
    except BaseException:
        for process in multiprocessing.active_children():
            if process not in others:
                process.terminate()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def in_order(pool: ProcessPoolExecutor, items: Iterable[Any], ahead: int) -> Iterator[Any]:
    """The workers' results in order, with at most `ahead` items handed out before their turn."""
    waiting = deque()
    for item in items:
        waiting.append(pool.submit(call_work, item))
        if len(waiting) == ahead:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def start_worker(work: Callable[[Any], Any], parent: int) -> None:
    """A worker's first act: it takes its work, ends with its parent and leaves Ctrl-C to it."""
    global _work  # noqa: PLW0603 - the one thing a worker holds for its whole life
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    die_with_parent()
    if os.getppid() != parent:  # the parent ended while this process was starting
        os._exit(1)
    cv2.setNumThreads(1)
    os.environ["OMP_NUM_THREADS"] = (
        "1"  # for torch, should the work import it later; a worker is one of as many as CPUs
    )
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)
    _work = work


def call_work(item: Any) -> Any:
    """The worker's work on an item."""
    return _work(item)
