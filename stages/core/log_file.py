"""What a stage says, also in a file: .scratch/logs/STAGE.log of the main repository.

In `--temp` and queued runs it is .scratch/logs/EXPERIMENT/STAGE.log there: their own folder is removed in the end.

A log never changes a result and is no out. Each run appends a line with its start, what it prints (with the time and
the process id, since two data sets may be run at once), the traceback of a failure, and a line with exit code, wall
time and memory; a run without the last was killed. A full file becomes STAGE.log.1, so that a stage keeps at most two
of `LIMIT` bytes. The folder can be removed at any time.
"""

from __future__ import annotations

import os
import re
import resource
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from io import TextIOBase
from pathlib import Path
from typing import Any

LIMIT = 2**20  # bytes
ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")  # colours and cursor moves
UNSAFE = re.compile(r"[^\w.+-]|^\.+")


class LogFile:
    """Lines appended to a file, which is rotated when it is full; when it cannot be written, that is said once."""

    def __init__(self, path: Path, name: str) -> None:
        self._path, self._name = path, name
        self._file: Any = None
        self._failed = False

    def line(self, text: str) -> None:
        """Appends a line, in one write, so that lines of two processes do not mix."""
        if self._failed:
            return
        try:
            self._open()
            self._file.write(f"{text}\n".encode(errors="backslashreplace"))
        except OSError as error:
            self._failed = True
            sys.stderr.write(f"sizewise {self._name}: no more is written to {self._path}: {error}\n")

    def _open(self) -> None:
        if self._file is not None and self._size() < LIMIT:
            return
        self.close()
        self._path.parent.mkdir(parents=True, exist_ok=True)
        if self._path.exists() and self._path.stat().st_size >= LIMIT:
            self._path.replace(self._path.with_name(f"{self._path.name}.1"))
        self._file = self._path.open("ab", buffering=0)

    def _size(self) -> int:
        return os.fstat(self._file.fileno()).st_size

    def close(self) -> None:
        """Lets the file go; a further line opens it again."""
        if self._file is not None:
            self._file.close()
            self._file = None


class Tee(TextIOBase):
    """A terminal's stream that also fills a log; to everybody else it is the stream itself.

    Frames of progress bars stay out of the log: tqdm writes each at once, beginning with a carriage return.
    """

    def __init__(self, stream: Any, log: LogFile) -> None:
        self._stream, self._log = stream, log
        self._rest, self._after_frame = "", False

    def write(self, text: str) -> int:
        """Writes to the stream, and what ends a line to the log."""
        written = self._stream.write(text)
        self._keep(text)
        return written

    def _keep(self, text: str) -> None:
        plain = ESCAPES.sub("", text).replace("\r\n", "\n")
        frame = plain.startswith("\r") or (plain.endswith("\r") and not self._rest)
        if frame or (self._after_frame and not plain.strip()):
            self._after_frame = True
            return
        self._after_frame = False
        *lines, self._rest = (self._rest + plain).split("\n")
        for line in lines:
            self._log.line(stamped(line))

    def finish(self) -> None:
        """Logs a line that was begun."""
        if self._rest:
            self._log.line(stamped(self._rest))
            self._rest = ""

    def flush(self) -> None:
        """As the stream does."""
        self._stream.flush()

    def isatty(self) -> bool:
        """As the stream says; progress bars ask."""
        return self._stream.isatty()

    def fileno(self) -> int:
        """The stream's."""
        return self._stream.fileno()

    def writable(self) -> bool:
        """It is."""
        return True

    @property
    def encoding(self) -> str:
        """The stream's."""
        return self._stream.encoding

    @property
    def errors(self) -> str:
        """The stream's."""
        return self._stream.errors

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def stamped(text: str) -> str:
    """A line with the time and this process's id."""
    return f"{datetime.now().astimezone():%H:%M:%S} {os.getpid()} {text}"


def log_path(folder: Path, name: str) -> Path:
    """The log of stage `name`: below `folder` of the main repository, under the experiment's name in a --temp run."""
    root = Path(os.environ.get("DVC_ROOT") or ".").resolve()
    if root == Path.cwd():
        return folder / f"{name}.log"
    experiment = UNSAFE.sub("_", os.environ.get("DVC_EXP_NAME") or Path.cwd().name)
    return root / folder / experiment / f"{name}.log"


@contextmanager
def logged(folder: Path, name: str) -> Iterator[None]:
    """Logs what stage `name` prints while the block runs, and how it ends; the terminal sees what it would without."""
    log = LogFile(log_path(folder, name), name)
    experiment = os.environ.get("DVC_EXP_NAME")
    title = f"{name}, process {os.getpid()}" + (f", experiment {experiment}" if experiment else "")
    log.line(f"=== {now()} {title}: started by {' '.join(sys.orig_argv)}")
    streams, start = (sys.stdout, sys.stderr), time.monotonic()
    tees = tuple(Tee(stream, log) for stream in streams)
    sys.stdout, sys.stderr = tees
    code: Any = 0
    try:
        yield
    except SystemExit as end:
        code = end.code
        raise
    except BaseException:
        code = traceback.format_exc().rstrip()
        raise
    finally:
        sys.stdout, sys.stderr = streams
        for tee in tees:
            tee.finish()
        if isinstance(code, str):  # the interpreter prints it when this process ends, and exits with 1
            for line in code.splitlines():
                log.line(stamped(line))
            code = 1
        log.line(f"=== {now()} {title}: exit code {code or 0}, {time.monotonic() - start:.1f} s, {memory()}")
        log.close()


def now() -> str:
    """The local time with its offset."""
    return datetime.now().astimezone().isoformat(timespec="seconds")


def memory() -> str:
    """The largest memory of this process, and of the largest of its child processes where there were any."""
    both = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    own, children = (resource.getrusage(who).ru_maxrss / 1e3 for who in both)
    return f"at most {own:.0f} MB" + (f", {children:.0f} MB in a child process" if children else "")
