"""The annotation command in a process of its own, as a person starts it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]


@contextmanager
def running(out: Path, *arguments: object) -> Iterator[str]:
    """The address of the page while the block runs; Ctrl-C ends the command, which must then end well."""
    command = [sys.executable, "-m", "stages.size_targets.annotate", "--out", out, *arguments]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}  # it runs beside its files: locks lie in its folder
    process = subprocess.Popen(
        list(map(str, command)),
        cwd=out.parent,
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    try:
        lines = []
        for line in process.stdout:
            lines.append(line)
            if match := re.search(r"Open (http://127\.0\.0\.1:\d+/\S+/)", line):
                break
        else:
            raise RuntimeError("".join(lines))
        yield match[1]
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
        rest, _ = process.communicate(timeout=30)
    if process.returncode or "Traceback" in rest:
        raise RuntimeError(f"exit code {process.returncode}: {rest}")
