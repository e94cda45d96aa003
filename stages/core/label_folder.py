"""Label maps as a folder of PNG files, for another program."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path

from stages.core.faults import Fault


def write_folder(out: Path, maps: Iterable[tuple[str, bytes]], force: bool = False) -> int:
    """Writes out/ID.png for each id and content, and returns their number; an id with slashes becomes sub-folders.

    Without `force` the files appear all together, or not at all.

    force: a folder that is not empty keeps its other files, and those of the same names are replaced one by one.

    Raises:
        Fault: `out` is a file, or not empty without `force`; or an id leads out of the folder.
    """
    if out.exists() and not out.is_dir():
        raise Fault(f"{out} is no folder")
    if not force and out.exists() and any(out.iterdir()):
        raise Fault(f"{out} is not empty; name another folder, or --force to write into it")
    part = out.with_name(f".{out.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    count = 0
    try:
        for image_id, content in maps:
            path = part / f"{image_id}.png"
            if not path.resolve().is_relative_to(part.resolve()):
                raise Fault(f"the id {image_id!r} leads out of the folder {out}")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
            count += 1
        place(part, out)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return count


def place(part: Path, out: Path) -> None:
    """Moves the files of folder `part` to `out`: at once where `out` is absent or empty, else one by one."""
    if not out.exists() or not any(out.iterdir()):
        part.mkdir(parents=True, exist_ok=True)
        part.replace(out)
        return
    for path in sorted(part.rglob("*.png")):
        target = out / path.relative_to(part)
        target.parent.mkdir(parents=True, exist_ok=True)
        path.replace(target)
