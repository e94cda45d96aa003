"""What reading in place costs: `python -m tests.benchmarks.archives`.

5000 files of 100 KB on average, half a gigabyte: MB per second of the index of a tar, a stored and a packed zip and a
folder, and of the zip that is made of a packed tar; then reads per second in random order. Everything lies in the
page cache, and seconds are those of the CPU in one process, so that the numbers are those of the code and not of a
disk or of what else runs.
"""

from __future__ import annotations

import gzip
import os
import resource
import tarfile
import tempfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

os.environ["SIZEWISE_JOBS"] = "1"

import numpy as np

from stages.core.archives import Archive
from stages.core.locations import read_location
from stages.download.archive_index import index_archive, restore
from stages.download.source import file_rows

FILES, MEAN = 5000, 100_000
ARCHIVE = Archive("a.tar", "http://127.0.0.1/", (), None, "md5:" + "0" * 32, True, "top/", "")
PARTS = ["x/"]


def write(folder: Path) -> int:
    """The same files as a folder, a tar, a packed tar, and two zips; returns their bytes."""
    generator = np.random.default_rng(0)
    (folder / "x").mkdir()
    total = 0
    for number, size in enumerate(generator.integers(MEAN // 2, MEAN * 3 // 2, FILES).tolist()):
        (folder / f"x/{number:06d}.jpg").write_bytes(generator.bytes(size))
        total += size
    with tarfile.open(folder / "a.tar", "w") as archive:
        archive.add(folder / "x", "top/x")
    with (folder / "a.tar").open("rb") as file, gzip.open(folder / "a.tgz", "wb", 1) as packed:
        while chunk := file.read(1 << 20):
            packed.write(chunk)
    for name, method in (("stored.zip", zipfile.ZIP_STORED), ("packed.zip", zipfile.ZIP_DEFLATED)):
        with zipfile.ZipFile(folder / name, "w", method, compresslevel=1) as archive:
            for path in sorted((folder / "x").iterdir()):
                archive.write(path, f"top/x/{path.name}")
    return total


def seconds(work: Callable[[], object]) -> tuple[float, object]:
    """CPU seconds, the fewer of two runs, and the result; other processes on the machine count little in them."""
    times = []
    for _ in range(2):
        start = time.process_time()
        result = work()
        times.append(time.process_time() - start)
    return min(times), result


def main() -> None:
    """See the module."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        total = write(folder)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        works = {
            "folder": lambda: file_rows("x", folder, PARTS),
            "tar": lambda: index_archive(folder / "a.tar", ARCHIVE, PARTS),
            "stored zip": lambda: index_archive(folder / "stored.zip", ARCHIVE, PARTS),
            "packed zip": lambda: index_archive(folder / "packed.zip", ARCHIVE, PARTS),
        }
        order = np.random.default_rng(1).permutation(FILES).tolist()
        for kind, work in works.items():
            needed, rows = seconds(work)
            reading, _ = seconds(lambda rows=rows: [len(read_location(rows[number]["location"])) for number in order])
            print(f"{kind:12} index {total / 1e6 / needed:6.0f} MB/s, {FILES / reading:7.0f} random reads/s")
        needed, _ = seconds(lambda: restore(folder / "a.tgz", folder / "a.zip", ARCHIVE, PARTS))
        print(f"{'packed tar':12} to a zip {total / 1e6 / needed:6.0f} MB/s")
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        print(f"memory grew by {grown / 1024:.0f} MB")


if __name__ == "__main__":
    main()
