"""A process pool that keeps the order, dies with its parent and answers Ctrl-C at once."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from tqdm import tqdm

from stages.core.faults import Fault
from stages.core.stage import die_with_parent

LARGEST_CHUNK = 64  # items handed to a worker at once: enough to hide the hand-over, few enough for a live bar


def workers() -> int:
    """Number of worker processes: `SIZEWISE_JOBS`, else one per CPU that this process may use.

    Raises:
        Fault: the variable is no whole number from 1 on.
    """
    text = os.environ.get("SIZEWISE_JOBS") or str(len(os.sched_getaffinity(0)))
    if not text.isdecimal() or int(text) < 1:
        raise Fault(f"environment variable SIZEWISE_JOBS is {text!r}; allowed are whole numbers from 1 on")
    return int(text)


def start_worker() -> None:
    """A worker leaves Ctrl-C to its parent and ends with it, even if the parent is killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    die_with_parent()


def process_map(work: Callable[[Any], Any], items: Sequence[Any], title: str) -> Iterator[Any]:
    """Yields `work(item)` for each item in order, from `workers()` processes, with a progress bar.

    `work` must be picklable. With one worker it runs in this process. Workers are forked, so that none imports anything
    anew; `work` may use no library that keeps threads of its own.

    Raises:
        Fault: a worker was killed from outside, most often because memory ran out.
    """
    jobs = min(workers(), len(items))
    if jobs < 2:
        yield from tqdm(map(work, items), title, len(items), disable=None)
        return
    chunk = max(1, min(LARGEST_CHUNK, len(items) // (4 * jobs)))
    pool = ProcessPoolExecutor(jobs, multiprocessing.get_context("fork"), start_worker)
    try:
        yield from tqdm(pool.map(work, items, chunksize=chunk), title, len(items), disable=None)
    except BrokenProcessPool:
        raise Fault(
            f"{title}: a worker process was killed, most likely because memory ran out; "
            f"set the environment variable SIZEWISE_JOBS below {jobs} and run `dvc repro` again"
        ) from None
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
