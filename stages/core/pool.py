"""Work on many items in worker processes, with the results in the order of the items.

Each worker has a pipe of its own, whose other end nobody else holds: where a worker is killed, whoever waits for it
knows at once. (The executor of concurrent.futures has one pipe and one lock for all results. A worker that is killed
while it writes leaves a part of a message there, and the executor waits for the rest for ever.)
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from multiprocessing.reduction import ForkingPickler
from queue import SimpleQueue
from typing import Any

import cv2
from tqdm import tqdm

from stages.core.environment import count
from stages.core.faults import Fault
from stages.core.lifetime import die_with_parent

AHEAD = 8  # items per worker that wait or are done before their turn: enough to hide the hand-over, few in memory
SERIAL = 24  # so few items are done sooner than the workers have started


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
    killed = Fault(
        f"{title}: one of {jobs} worker processes was killed, most likely for want of memory; "
        "set SIZEWISE_JOBS to a smaller number and run the command again"
    )
    pipes: SimpleQueue[Connection] = SimpleQueue()  # those of the idle workers
    threads = ThreadPoolExecutor(jobs)  # each waits for the answer of one worker
    started: list[BaseProcess] = []
    try:
        for _ in range(jobs):
            pipe, process = start_worker(work)
            started.append(process)
            pipes.put(pipe)
        results = in_order(threads, partial(ask, pipes, killed), items, AHEAD * jobs)
        yield from tqdm(results, title, total, disable=None)
    finally:
        for process in started:
            process.terminate()
        threads.shutdown(cancel_futures=True)
        for process in started:
            process.join()


def in_order(
    threads: ThreadPoolExecutor, call: Callable[[Any], Any], items: Iterable[Any], ahead: int
) -> Iterator[Any]:
    """`call(item)` for each item in order, with at most `ahead` items handed out before their turn."""
    waiting = deque()
    for item in items:
        waiting.append(threads.submit(call, item))
        if len(waiting) == ahead:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def ask(pipes: SimpleQueue[Connection], killed: Fault, item: Any) -> Any:
    """What an idle worker makes of the item.

    Raises:
        Fault: `killed`, where the worker is gone.
        Exception: whatever the work raises.
    """
    pipe = pipes.get()
    try:
        pipe.send(item)
        result, error = pipe.recv()
    except (EOFError, OSError):
        raise killed from None
    finally:
        pipes.put(pipe)  # also one whose worker is gone: who asks next shall not wait
    if error is not None:
        raise error
    return result


def start_worker(work: Callable[[Any], Any]) -> tuple[Connection, BaseProcess]:
    """Starts a worker; gives this end of its pipe, and its process."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    with theirs:
        process = context.Process(target=serve, args=(theirs, work, os.getpid()), daemon=True)
        process.start()
    return ours, process


def serve(pipe: Connection, work: Callable[[Any], Any], parent: int) -> None:
    """A worker: answers each item with (result, None) or (None, error), ends with its parent, leaves Ctrl-C to it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    die_with_parent()
    if os.getppid() != parent:  # the parent ended while this process was starting
        os._exit(1)
    cv2.setNumThreads(1)
    # For torch, should the work import it later; a worker is one of as many as CPUs.
    os.environ["OMP_NUM_THREADS"] = "1"
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)
    with suppress(EOFError, OSError):  # the parent has ended
        while True:
            pipe.send_bytes(answer(work, pipe.recv_bytes()))


def answer(work: Callable[[Any], Any], item: bytes) -> memoryview:
    """What is sent for a pickled item."""
    try:
        return ForkingPickler.dumps((work(ForkingPickler.loads(item)), None))
    except BaseException as error:  # noqa: BLE001 - it is raised in the parent
        return failure(error)


def failure(error: BaseException) -> memoryview:
    """The answer where the work raised an exception, with the worker's traceback as a note of it.

    One that cannot be rebuilt from its arguments is told as a RuntimeError.
    """
    told = traceback.format_exc()
    error.add_note(f"In a worker process:\n{told}")
    try:
        ForkingPickler.loads(ForkingPickler.dumps((None, error)))
    except Exception:  # noqa: BLE001 - an exception class may do anything
        error = RuntimeError(f"in a worker process:\n{told}")
    return ForkingPickler.dumps((None, error))
