"""The members of a zip with the place of their bytes, each checked against its local header."""

from __future__ import annotations

import stat
import struct
import zipfile
from collections.abc import Iterator
from typing import BinaryIO

from stages.download.members import BrokenArchiveError, Member

LOCAL = struct.Struct("<4s5H3I2H")
SIGNATURE = b"PK\3\4"
ENCRYPTED, UTF8 = 0x1, 0x800  # bits of a member's flags
UNIX = 3  # the system on which a member's mode means something


def zip_members(file: BinaryIO) -> Iterator[Member]:
    """Each member, in the order of their bytes in the file.

    Raises:
        BrokenArchiveError: it is no zip, or a member's bytes lie within another's, as in a zip bomb of overlapping
            members (David Fifield, A better zip bomb, WOOT 2019).
    """
    try:
        archive = zipfile.ZipFile(file)
    except (zipfile.BadZipFile, UnicodeDecodeError, NotImplementedError, ValueError, struct.error) as error:
        reason = f"a name in it is not UTF-8: {error.object!r}" if isinstance(error, UnicodeDecodeError) else error
        raise BrokenArchiveError(f"cannot be read as a zip: {reason}") from None
    entries = sorted(archive.infolist(), key=lambda entry: entry.header_offset)
    ends = [*(entry.header_offset for entry in entries[1:]), archive.start_dir]
    for entry, end in zip(entries, ends, strict=False):  # an empty zip has an end and no entry
        offset = data_offset(file, entry)
        if offset + entry.compress_size > end:
            raise BrokenArchiveError(f"has a member {entry.filename!r} whose bytes reach into the next one")
        yield Member(
            name=name_of(entry),
            kind=kind_of(entry),
            offset=offset,
            length=entry.compress_size,
            size=entry.file_size,
            packed=entry.compress_type == zipfile.ZIP_DEFLATED,
            crc=entry.CRC,
        )


def name_of(entry: zipfile.ZipInfo) -> str:
    """A member's whole name; one that is neither ASCII nor said to be UTF-8 has surrogates in place of its bytes."""
    if entry.flag_bits & UTF8 or entry.orig_filename.isascii():
        return entry.orig_filename
    return entry.orig_filename.encode("cp437").decode("ascii", "surrogateescape")


def kind_of(entry: zipfile.ZipInfo) -> str:
    """`file`, `folder`, or why a member cannot be used."""
    kind = stat.S_IFMT(entry.external_attr >> 16) if entry.create_system == UNIX else 0
    stored = entry.compress_type == zipfile.ZIP_STORED
    kinds = {
        "folder": entry.is_dir(),
        "a symbolic link": kind == stat.S_IFLNK,
        "a device or pipe": kind not in (0, stat.S_IFREG),
        "encrypted": entry.flag_bits & ENCRYPTED,
        f"packed by method {entry.compress_type}": not stored and entry.compress_type != zipfile.ZIP_DEFLATED,
        "stored with two different sizes": stored and entry.compress_size != entry.file_size,
    }
    return next((kind for kind, applies in kinds.items() if applies), "file")


def data_offset(file: BinaryIO, entry: zipfile.ZipInfo) -> int:
    """The first byte of a member's content.

    Raises:
        BrokenArchiveError: there is no local header, or it has another name.
    """
    file.seek(max(entry.header_offset, 0))
    block = file.read(LOCAL.size)
    fields = LOCAL.unpack(block) if len(block) == LOCAL.size else (b"",)
    if fields[0] != SIGNATURE or entry.header_offset < 0:
        raise BrokenArchiveError(f"has no header for member {entry.orig_filename!r} at byte {entry.header_offset}")
    name_length, extra_length = fields[-2:]
    codec = "utf-8" if entry.flag_bits & UTF8 else "cp437"
    if file.read(name_length) != entry.orig_filename.encode(codec, "surrogatepass"):
        raise BrokenArchiveError(f"calls member {entry.orig_filename!r} otherwise in its header")
    return entry.header_offset + LOCAL.size + name_length + extra_length
