"""How the measurements take time."""

from __future__ import annotations

import time
from collections.abc import Callable


def shortest(work: Callable[[], object], repeats: int) -> float:
    """Seconds of the fastest of several runs: noise only ever adds."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)
