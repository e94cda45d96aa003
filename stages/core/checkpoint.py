"""Where an interrupted training goes on from: outside DVC's outs, by a fingerprint of all that decides its result."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import AcquireReturnProxy, FileLock, Timeout

from stages.core.provenance import digest, made_of
from stages.core.stage import SCRATCH, Stage

WAITS = "waits-"  # start of the name of a file whose process waits for the folder


@contextmanager
def checkpoint(stage: Stage) -> Iterator[Path]:
    """Yields the path of the stage's checkpoint; its folder is removed when the block ends without an error.

    A run with other params, inputs or code has another path, so it never goes on from this one's epochs. The folder
    lies in the main repository, also for experiments in temporary workspaces, which DVC removes.

    Two experiments that differ in the segmenter alone share one classifier, and DVC's queue may start both at once:
    the second waits here and then goes on from the first one's last epoch, with nothing left to train.
    """
    folder = Path(os.environ.get("DVC_ROOT", ".")) / SCRATCH / "checkpoints" / digest(made_of(stage))
    with acquire(folder, stage.name):
        yield folder / f"{stage.name}.pt"
        if not any(folder.glob(f"{WAITS}*")):
            shutil.rmtree(folder, ignore_errors=True)  # ignored: the file of a process that begins to wait just now


def acquire(folder: Path, name: str) -> AcquireReturnProxy:
    """The lock of a checkpoint's folder, to be used in `with`; waits for it, and says so once."""
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / "lock")
    try:
        return lock.acquire(timeout=0)
    except Timeout:
        sys.stderr.write(f"sizewise {name}: another process does the same work of this stage; waiting for its result\n")
    folder.mkdir(parents=True, exist_ok=True)
    sign = folder / f"{WAITS}{os.getpid()}"
    sign.touch()  # whoever trains leaves its checkpoint for us
    try:
        return lock.acquire(poll_interval=0.5)
    finally:
        sign.unlink(missing_ok=True)
