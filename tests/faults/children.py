"""Work tried in a child process, where it may fill the memory, crash or never end without ending the tests."""

from __future__ import annotations

import os
import resource
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from stages.core.faults import Fault

FAULT = 1  # exit code: a message for the person; other failures leave 2 and a traceback


@dataclass(frozen=True)
class Ended:
    """How a child ended.

    code: its exit code, or minus the signal that ended it.
    text: the Fault's message or the traceback; else all that it printed.
    peak: megabytes of memory that it took, without the pages of libraries.
    """

    code: int
    text: str
    peak: float

    @property
    def fault(self) -> str | None:
        """The message for the person; None if there was none."""
        return self.text if self.code == FAULT else None

    @property
    def endless(self) -> bool:
        """It was still at work when its time was up."""
        return self.code in (-signal.SIGALRM, -signal.SIGPROF)

    def is_clean(self) -> bool:
        """It did its work, is at it, or said what is wrong."""
        return self.code in (0, FAULT) or self.endless


def in_child(work: Callable[[], object], seconds: int, gigabytes: float = 6) -> Ended:
    """Does `work` in a forked child, for some seconds of computing, with so much address space beyond its parent's."""
    sys.stdout.flush()
    sys.stderr.flush()
    with tempfile.TemporaryDirectory() as folder:
        said, held = Path(folder) / "said", Path(folder) / "held"
        child = os.fork()
        if child == 0:
            os._exit(weighed(lambda: attempt(work, seconds, gigabytes, said), held))
        _, status, usage = os.wait4(child, 0)
        text = said.read_text(errors="replace") if said.exists() else ""
        before = sum(map(int, held.read_text().split())) if held.exists() else 0
    return Ended(os.waitstatus_to_exitcode(status), text, max(0.0, (usage.ru_maxrss - before) / 1024))


def weighed(work: Callable[[], int], held: Path) -> int:
    """Does `work`; writes the kilobytes that are none of it: what was there before, and libraries that it has used.

    A forked process begins without the pages of its parent's files, and loads those that it reads once more.
    """
    files = pages("File")
    held.write_text(str(pages("Rss")))
    code = work()
    with held.open("a") as file:
        file.write(f" {pages('File') - files}")
    return code


def attempt(work: Callable[[], object], seconds: int, gigabytes: float, said: Path) -> int:
    """The child's part; gives its exit code."""
    code = 2
    try:
        os.setpgid(0, 0)
        output = os.open(said, os.O_CREAT | os.O_WRONLY | os.O_APPEND)
        os.dup2(output, 1)
        os.dup2(output, 2)
        sys.stdout, sys.stderr = (os.fdopen(number, "w", errors="backslashreplace") for number in (1, 2))
        limit = pages("Size") * 1024 + int(gigabytes * 2**30)
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        for number in (signal.SIGALRM, signal.SIGPROF):
            signal.signal(number, signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_PROF, seconds)
        signal.alarm(4 * seconds)
        work()
        code = 0
    except Fault as fault:
        os.truncate(said, 0)
        sys.stderr.write(str(fault))
        code = FAULT
    except BaseException:
        os.truncate(said, 0)
        sys.stderr.write(traceback.format_exc()[-3000:])
    sys.stdout.flush()
    sys.stderr.flush()
    return code


def pages(what: str) -> int:
    """`Rss` (resident), `File` (resident, of files) or `Size` (address space) of this process in kilobytes."""
    key = {"Rss": "VmRSS", "File": "RssFile", "Size": "VmSize"}[what]
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(key)).split()[1])
