"""A process ends with the one that started it."""

from __future__ import annotations

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1  # Linux prctl(2)


def die_with_parent() -> None:
    """Asks the kernel to end this process when its parent ends: no orphan writes beside the next run."""
    parent = os.getppid()
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:  # the parent ended before the request
        sys.exit(1)
