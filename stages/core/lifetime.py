"""A process ends with the one that started it, also while it is still loading its modules."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import sys

PR_SET_PDEATHSIG = 1  # Linux prctl(2)
STAGE = "DVC_STAGE"  # DVC sets it for what it starts


def guard_start() -> None:
    """Called before a process loads anything: one that DVC has started ends with DVC from here on, and quietly.

    A stage loads torch for seconds, on a busy machine for many. Without this, a DVC killed in that time leaves a stage
    that does not know it and writes beside the next run, and Ctrl-C is answered with a traceback of half an import.
    `stages.core.stage.run` then sets what holds while the stage works.
    """
    if STAGE not in os.environ:
        return
    die_with_parent()
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        return  # ignored, as in a shell's background job
    is_stage = multiprocessing.parent_process() is None
    signal.signal(signal.SIGINT, stop_at_once if is_stage else signal.SIG_DFL)


def stop_at_once(*_: object) -> None:
    """Answers Ctrl-C before there is anything to clean up."""
    os.write(2, stopped(os.environ[STAGE]).encode())
    os._exit(130)


def stopped(name: str) -> str:
    """What is said when stage `name` ends by Ctrl-C."""
    return f"sizewise {name}: stopped; `dvc repro` goes on from here\n"


def die_with_parent() -> None:
    """Asks the kernel to end this process when its parent ends: no orphan writes beside the next run."""
    parent = os.getppid()
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent or is_orphan():  # the parent ended before the request
        sys.exit(1)


def is_orphan() -> bool:
    """Whether DVC has started this process and has ended, so that another process has adopted it.

    DVC starts its commands in its own process group, and whoever adopts an orphan is in another one. A process that
    leads a group has left DVC's on purpose.
    """
    if STAGE not in os.environ or os.getpgrp() == os.getpid():
        return False
    try:
        return os.getpgid(os.getppid()) != os.getpgrp()
    except ProcessLookupError:  # it has ended since the last line
        return True
