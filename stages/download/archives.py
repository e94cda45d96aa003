"""The archives of a data set: downloaded, or found in a folder; in either case the checksum decides."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

from filelock import FileLock

from stages.core.archives import Archive, doubt, fetch_archive
from stages.core.faults import Fault, combine
from stages.core.fetch import digest, matches
from stages.download.archive_index import restore

PACKED_TAR = (".tgz", ".tar.gz")


def downloaded(name: str, archives: Sequence[Archive], folder: Path, parts: Sequence[str]) -> list[Path]:
    """The path of each archive of data set `name` in `folder`, after fetching what is not there.

    A packed tar gives way to the zip that `restore` makes of it; once that is there, the tar is not needed.

    Raises:
        Fault: archives could not be had; all are named, with what to do by hand. The others stay.
    """
    paths, faults = [], []
    for archive in archives:
        if is_restored(archive, folder, parts):
            paths.append(restored(archive, folder, parts))
            continue
        try:
            path = fetch_archive(name, archive, folder)
        except Fault as fault:
            faults.append(str(fault))
            continue
        paths.append(readable(archive, path, folder, parts))
    if faults:
        raise faults_of(f"archives of data set {name} are missing", faults)
    return paths


def found(name: str, archives: Sequence[Archive], source: Path, folder: Path, parts: Sequence[str]) -> list[Path]:
    """The path of each archive in the folder `source`; nothing is written there, packed tars become zips in `folder`.

    Raises:
        Fault: archives are missing or have other bytes; all are named.
    """
    faults = []
    for archive in archives:
        path = source / archive.file
        if not path.is_file():
            faults.append(f"{archive.file} is missing; it can be had at {' or '.join([archive.url, *archive.mirrors])}")
        elif not matches(path, archive.checksum, archive.size):
            kind = archive.checksum.partition(":")[0]
            faults.append(
                f"{archive.file} has {path.stat().st_size} bytes with {digest(path, kind)}, not "
                f"{'' if archive.size is None else f'{archive.size} bytes with '}{archive.checksum}; it can be had at "
                f"{' or '.join([archive.url, *archive.mirrors])}{doubt(archive)}"
            )
    if faults:
        raise faults_of(f"source {source} does not have the archives of data set {name}", faults)
    return [readable(archive, source / archive.file, folder, parts) for archive in archives]


def faults_of(title: str, faults: list[str]) -> Fault:
    """One fault as it is, or all of several."""
    return Fault(f"{title}: {faults[0]}") if len(faults) == 1 else combine(title, faults)


def readable(archive: Archive, path: Path, folder: Path, parts: Sequence[str]) -> Path:
    """The archive at `path` in a form with random access, absolute: itself, or the zip that is made of a packed tar."""
    if not is_packed(archive):
        return path.absolute()
    target = restored(archive, folder, parts)
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(target.with_name(f".{target.name}.lock")):
        if not target.is_file():  # another process may have been faster
            restore(path, target, archive, parts)
    return target


def is_packed(archive: Archive) -> bool:
    """Whether an archive can be read from its start only."""
    return archive.file.endswith(PACKED_TAR)


def is_restored(archive: Archive, folder: Path, parts: Sequence[str]) -> bool:
    """Whether the zip of a packed tar is there."""
    return is_packed(archive) and restored(archive, folder, parts).is_file()


def restored(archive: Archive, folder: Path, parts: Sequence[str]) -> Path:
    """Where the zip of a packed tar lies, absolute; its name changes with the tar's bytes and with what is taken."""
    taken = sorted(part for part in parts if part.startswith(archive.under))
    content = json.dumps([archive.checksum, archive.strip, archive.under, taken])
    key = hashlib.md5(content.encode(), usedforsecurity=False).hexdigest()[:12]
    return (folder / f"{archive.file}.{key}.zip").absolute()
