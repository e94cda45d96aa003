"""The files inside archives by name, place and checksum, each archive read once from its start to its end."""

from __future__ import annotations

import gzip
import hashlib
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from tqdm import tqdm

from stages.core.archives import Archive
from stages.core.faults import combine
from stages.core.files import write_zip
from stages.core.locations import packed_span, span
from stages.download.members import BrokenArchiveError, Member, Stream, choose, unpack
from stages.download.tar_members import tar_members
from stages.download.zip_members import zip_members


def index_archive(path: Path, archive: Archive, parts: Sequence[str]) -> list[dict[str, Any]]:
    """A row (name, location, size, md5) for each file in the tar or zip at `path` that belongs to `parts`.

    Args:
        path: the archive, absolute; a packed tar as `restore` wrote it.
        archive: what params.yaml says of it.
        parts: names of files, and of folders with a slash at the end, of which the files right inside count.

    Raises:
        Fault: members are refused, or the archive is broken; all that was found is listed.
    """
    faults: list[str] = []
    rows = []
    size = path.stat().st_size
    with path.open("rb") as file, tqdm(desc=path.name, total=size, unit="B", unit_scale=True, disable=None) as bar:
        tar = path.name.endswith(".tar")
        stream = Stream(file, seekable=True)
        members = tar_members(stream) if tar else zip_members(file)
        try:
            for name, member in choose(members, archive, parts, faults):
                content = stream.chunks(member.size) if tar else zip_content(file, member)
                try:
                    digest = md5_of(content)
                except BrokenArchiveError as error:
                    if tar:
                        raise
                    faults.append(f"member {member.name!r} {error}")
                    continue
                place = (path, member.offset, member.length)
                location = packed_span(*place, member.size) if member.packed else span(*place)
                rows.append({"name": name, "location": location, "size": member.size, "md5": digest})
                bar.update(member.offset + member.length - bar.n)
        except BrokenArchiveError as error:
            faults.append(f"it {error}")
    if faults:
        raise combine(f"archive {path} is refused", faults)
    return rows


def md5_of(chunks: Iterator[bytes]) -> str:
    """The md5 of bytes that come in pieces, to recognise a file, not to protect it."""
    digest = hashlib.md5(usedforsecurity=False)
    for chunk in chunks:
        digest.update(chunk)
    return digest.hexdigest()


def zip_content(file: BinaryIO, member: Member) -> Iterator[bytes]:
    """A zip member's content in pieces.

    Raises:
        BrokenArchiveError: it does not unpack, or its size or CRC is not what the zip claims.
    """
    file.seek(member.offset)
    stream = Stream(file, seekable=True)
    crc = 0
    chunks = stream.chunks(member.length)
    for chunk in unpack(chunks, member.size) if member.packed else chunks:
        crc = zlib.crc32(chunk, crc)
        yield chunk
    if crc != member.crc:
        raise BrokenArchiveError(f"has the CRC {crc:08x}, not the {member.crc:08x} that the zip claims")


def restore(source: Path, path: Path, archive: Archive, parts: Sequence[str]) -> None:
    """Streams the packed tar `source` once into the zip `path`, stored, with the members that belong to `parts`.

    A packed tar can be read from its start only; the zip has them at random access, under the names that they have in
    the tar. Memory does not grow with the archive. The zip is whole or absent, and its bytes depend on the tar alone.

    Raises:
        Fault: as `index_archive`.
    """
    faults: list[str] = []
    size = source.stat().st_size
    title = f"{source.name} -> zip"
    with (
        source.open("rb") as packed,
        gzip.GzipFile(fileobj=packed) as file,
        write_zip(path) as target,
        tqdm(desc=title, total=size, unit="B", unit_scale=True, disable=None) as bar,
    ):
        stream = Stream(file, seekable=False)
        try:
            for _, member in choose(tar_members(stream), archive, parts, faults):
                if not faults:
                    target.chunks(member.name, member.size, stream.chunks(member.size))
                bar.update(packed.tell() - bar.n)
            stream.finish()
        except BrokenArchiveError as error:
            faults.append(f"it {error}")
        if faults:  # inside the block, so that no zip appears
            raise combine(f"archive {source} is refused", faults)
