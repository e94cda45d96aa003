"""Where an interrupted training goes on from: outside DVC's outs, by a fingerprint of all that decides its result."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from stages.core.faults import Fault
from stages.core.files import md5
from stages.core.params import thaw
from stages.core.stage import SCRATCH, Stage


def fingerprint(stage: Stage) -> str:
    """SHA-256 over the stage's params and the md5 of its dependencies, code included."""
    files = {name: md5(path) for name, path in stage.deps.items()} | {str(path): md5(path) for path in stage.code}
    content = {"params": {name: thaw(value) for name, value in stage.params.items()}, "files": files}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


@contextmanager
def checkpoint(stage: Stage) -> Iterator[Path]:
    """Yields the path of the stage's checkpoint; its folder is removed when the block ends without an error.

    A run with other params, inputs or code has another path, so it never goes on from this one's epochs. The folder
    lies in the main repository, also for experiments in temporary workspaces, which DVC removes.

    Raises:
        Fault: another process runs the very same training.
    """
    folder = Path(os.environ.get("DVC_ROOT", ".")) / SCRATCH / "checkpoints" / fingerprint(stage)
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(folder / "lock", timeout=0):
            yield folder / f"{stage.name}.pt"
            shutil.rmtree(folder)
    except Timeout:
        raise Fault(f"another process runs the same training (its checkpoint is in {folder}); wait for it") from None
