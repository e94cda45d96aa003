"""Time and memory of each stage while a command runs: `python -m tests.benchmarks.stages make repro`.

Memory is the sum over all processes of the command, twice a second, with shared pages divided among them (PSS).
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator

import psutil

INTERVAL = 0.5  # seconds


def processes(root: psutil.Process) -> Iterator[tuple[str, float]]:
    """The stage (or "") and the GB of each process of a tree."""
    for process in (root, *root.children(recursive=True)):
        try:
            words = process.cmdline()
            module = words[words.index("-m") + 1] if "-m" in words[:-1] else ""
            memory = process.memory_full_info().pss / 1e9
        except psutil.Error:  # it has ended meanwhile
            continue
        yield module.removeprefix("stages.") if module.startswith("stages.") else "", memory


def main(command: list[str]) -> int:
    """Runs the command and prints a line per stage."""
    start, peak = time.perf_counter(), 0.0
    seconds: dict[str, float] = {}
    memory: dict[str, float] = {}
    child = subprocess.Popen(command)
    root = psutil.Process(child.pid)
    before = start
    while child.poll() is None:
        found = list(processes(root))
        now, total = time.perf_counter(), sum(size for _, size in found)
        for stage in {stage for stage, _ in found} - {""}:
            seconds[stage] = seconds.get(stage, 0) + now - before
            memory[stage] = max(memory.get(stage, 0), total)
        peak, before = max(peak, total), now
        time.sleep(INTERVAL)
    for stage, time_taken in seconds.items():
        print(f"{stage:<14} {time_taken:7.1f} s {memory[stage]:6.2f} GB")
    print(f"{'all':<14} {time.perf_counter() - start:7.1f} s {peak:6.2f} GB")
    return child.returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
