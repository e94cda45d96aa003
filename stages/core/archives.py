"""The archives that params.yaml names, and how one is had: from its address or a mirror, or put there by hand."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from stages.core.faults import Fault
from stages.core.fetch import fetch
from stages.core.params import Params


@dataclass(frozen=True)
class Archive:
    """An entry of `archives` in params.yaml.

    file: its name in the downloads folder or the source.
    url, mirrors: where it can be had.
    size: bytes, or None where they are not known.
    checksum: `md5:HEX` or `sha256:HEX`.
    confirmed: several sources agree on the checksum.
    strip: what the names of its members begin with; others are not looked at.
    under: what takes its place, so that names are those of an unpacked source.
    """

    file: str
    url: str
    mirrors: tuple[str, ...]
    size: int | None
    checksum: str
    confirmed: bool
    strip: str
    under: str


def archives_of(section: Params) -> list[Archive]:
    """The archives that a section of params.yaml names; most name none."""
    entries = section.archives if "archives" in section else ()
    return [
        Archive(
            file=entry.file,
            url=entry.url,
            mirrors=entry.mirrors,
            size=None if entry.size == "none" else entry.size,
            checksum=entry.checksum,
            confirmed=entry.confirmed,
            strip="" if entry.strip == "none" else entry.strip,
            under="" if entry.under == "none" else entry.under,
        )
        for entry in entries
    ]


def fetch_archive(name: str, archive: Archive, folder: Path) -> Path:
    """The path of an archive in `folder`, after fetching it if it is not there; `name` says for what it is needed.

    Raises:
        Fault: it could not be had; the message says what to do by hand.
    """
    path = folder / archive.file
    if not path.exists():
        tqdm.write(f"{name}: {archive.file} comes from {archive.url} to {path.absolute()}")
    try:
        return fetch(archive.url, path, archive.checksum, mirrors=archive.mirrors, size=archive.size)
    except Fault as fault:
        raise Fault(str(fault) + doubt(archive)) from None


def doubt(archive: Archive) -> str:
    """A sentence about a checksum that only one source vouches for."""
    return "" if archive.confirmed else "; this checksum rests on one source, which may be wrong or out of date"
