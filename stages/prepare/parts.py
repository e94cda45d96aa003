"""Checked entries kept on the way, so that an interrupted run goes on from there and not from the first image."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

from stages.core.files import ZipReader, write_zip
from stages.core.pool import process_map
from stages.prepare.layout import Entry
from stages.prepare.verify import Verified

PART = 500  # entries: some seconds of work


def results(check: Callable[[Entry], Verified], entries: list[Entry], folder: Path) -> Iterator[Verified]:
    """`check` of each entry, in their order; of the first ones as the parts in `folder` have it.

    A part is written when the next `PART` entries are done and more are to come. The folder must belong to these
    entries alone. Entries with faults end the parts: after them nothing will be worth keeping.
    """
    number = 0
    while (path := folder / f"{number:06d}.zip").exists():
        yield from read_part(path)
        number += 1
    rest = entries[number * PART :]
    batch: list[Verified] | None = []
    for place, result in enumerate(process_map(check, rest, "check", len(rest)), 1):
        yield result
        if batch is None or result.faults:
            batch = None
            continue
        batch.append(result)
        if len(batch) == PART and place < len(rest):
            write_part(folder / f"{number:06d}.zip", batch)
            number, batch = number + 1, []


def forget(folder: Path) -> None:
    """Removes the parts in `folder`: after faults the source is mended, and another one has another folder."""
    for path in folder.glob("*.zip"):
        path.unlink()


def write_part(path: Path, batch: list[Verified]) -> None:
    """A zip of facts.json and of the PNGs by the result's place in the part."""
    with write_zip(path) as archive:
        for place, result in enumerate(batch):
            if result.mask is not None:
                archive.bytes(f"masks/{place}.png", result.mask)
            if result.instances is not None:
                archive.bytes(f"instances/{place}.png", result.instances)
        facts = [(one.height, one.width, one.present, one.empty, one.unseen, one.orientation) for one in batch]
        archive.text("facts.json", json.dumps(facts))


def read_part(path: Path) -> Iterator[Verified]:
    """What `write_part` wrote."""
    archive = ZipReader(path)
    for place, (height, width, present, *rest) in enumerate(json.loads(archive.text("facts.json"))):
        names = (f"masks/{place}.png", f"instances/{place}.png")
        maps = (archive.bytes(name) if name in archive else None for name in names)
        yield Verified(height, width, *maps, tuple(present), *rest)
