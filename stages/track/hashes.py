"""md5s of many files at once, and DVC's lists of the members of a directory."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from stages.core.files import md5
from stages.core.pool import workers


@dataclass(frozen=True)
class Expected:
    """A file, the md5 that it should have, and what it is."""

    path: Path
    md5: str
    what: str


def md5s(paths: Iterable[Path]) -> dict[Path, str | OSError]:
    """The md5 of each file, or why it cannot be read; names of one file (hard links) are read once.

    Threads suffice: hashing leaves the interpreter to the others.
    """
    first: dict[tuple[int, int], Path] = {}
    same: dict[Path, Path] = {}
    for path in paths:
        try:
            status = path.stat()
            same[path] = first.setdefault((status.st_dev, status.st_ino), path)
        except OSError:
            same[path] = path
    with ThreadPoolExecutor(workers()) as pool:
        each = list(dict.fromkeys(same.values()))
        found = dict(zip(each, tqdm(pool.map(attempt, each), "verify", len(each), disable=None), strict=True))
    return {path: found[origin] for path, origin in same.items()}


def attempt(path: Path) -> str | OSError:
    """The md5 of a file, or the error."""
    try:
        return md5(path)
    except OSError as error:
        return error


def md5_of_listing(members: dict[str, str]) -> str:
    """The md5 that DVC gives a directory, with its `.dir`: that of the JSON list of its members, ordered by path."""
    listing = [{"md5": value, "relpath": name} for name, value in sorted(members.items())]
    content = json.dumps(listing, sort_keys=True).encode()
    return hashlib.md5(content, usedforsecurity=False).hexdigest() + ".dir"


def members(path: Path, listed: str) -> dict[str, str] | None:
    """The md5 of each member by path, as the cache object of a directory lists them.

    Args:
        path: the object.
        listed: its md5, with the `.dir`.

    Returns:
        None where the object is missing, cannot be read, or is not what it was when it was written.
    """
    found = attempt(path)
    if isinstance(found, OSError) or f"{found}.dir" != listed:
        return None
    return {item["relpath"]: item["md5"] for item in json.loads(path.read_text(encoding="utf-8"))}
