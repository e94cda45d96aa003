"""The members of a tar in one pass: ustar, GNU and pax headers, each checked.

tarfile reads a header's extension whole whatever size it claims, and takes a damaged header in the middle for the end;
here an extension is bounded and damage is an error. The 512-byte blocks are parsed by `tarfile.TarInfo.frombuf`.
"""

from __future__ import annotations

import tarfile
from collections.abc import Iterator

from stages.download.members import BrokenArchiveError, Member, Stream

BLOCK = 512
LONGEST = 1 << 20  # bytes of an extension, which holds a name of some hundred bytes
KINDS = {
    tarfile.DIRTYPE: "folder",
    tarfile.SYMTYPE: "a symbolic link",
    tarfile.LNKTYPE: "a hard link",
    tarfile.CHRTYPE: "a device",
    tarfile.BLKTYPE: "a device",
    tarfile.FIFOTYPE: "a pipe",
    tarfile.GNUTYPE_SPARSE: "a sparse file",
}
EXTENSIONS = (tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK, tarfile.XHDTYPE, tarfile.SOLARIS_XHDTYPE)
NO_DATA = (tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE)
CHANGING = ("path", "linkpath", "size", "GNU.sparse")  # pax keys that change what a header says


def tar_members(stream: Stream) -> Iterator[Member]:
    """Each member in turn, with the stream at its first byte; what the caller leaves of it is skipped.

    Raises:
        BrokenArchiveError: the archive is cut off, or a header is damaged or contradicts itself.
    """
    changes: dict[str, str] = {}
    while (block := stream.read(BLOCK)).count(0) < BLOCK:
        at = stream.position - BLOCK
        header = parse_header(block, at)
        start = stream.position
        if header.type in EXTENSIONS or header.type == tarfile.XGLTYPE:
            if header.size > LONGEST:
                raise BrokenArchiveError(
                    f"has a header of {header.size} bytes at byte {at}; at most {LONGEST} are read"
                )
            changes |= extension(header.type, stream.read(header.size), at)
            size = header.size
        else:
            size = 0 if header.type in NO_DATA else pax_size(changes.get("size"), header.size, at)
            yield Member(changes.get("path", header.name), kind_of(header, changes), start, size, size)
            changes = {}
        end = start + -(-size // BLOCK) * BLOCK
        stream.skip(end - stream.position)


def parse_header(block: bytes, at: int) -> tarfile.TarInfo:
    """A header block at byte `at`.

    Raises:
        BrokenArchiveError: its checksum or a number in it is wrong.
    """
    try:
        header = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
    except (tarfile.HeaderError, ValueError) as error:
        raise BrokenArchiveError(f"has a damaged header at byte {at}: {error}") from None
    if header.size < 0:
        raise BrokenArchiveError(f"has a header with a negative size at byte {at}")
    return header


def kind_of(header: tarfile.TarInfo, changes: dict[str, str]) -> str:
    """`file`, `folder`, or what else a header describes."""
    if "GNU.sparse" in changes:
        return "a sparse file"
    if header.type in tarfile.REGULAR_TYPES and header.type not in KINDS:
        return "file"
    return KINDS.get(header.type, f"of the unknown type {header.type!r}")


def extension(kind: bytes, content: bytes, at: int) -> dict[str, str]:
    """What an extension says of the header after it: path, size, and whether it is sparse.

    Raises:
        BrokenArchiveError: it is malformed, or would change all headers after it.
    """
    if kind == tarfile.GNUTYPE_LONGLINK:
        return {}
    if kind == tarfile.GNUTYPE_LONGNAME:
        return {"path": content.rstrip(b"\0").decode("utf-8", "surrogateescape")}
    found = {}
    while content:
        length, space, _ = content.partition(b" ")
        count = int(length) if length.isdigit() and len(length) < 10 else 0
        record, content = content[len(length) + 1 : count], content[count:]
        key, equals, value = record.partition(b"=")
        if not (space and equals and record.endswith(b"\n") and len(record) == count - len(length) - 1):
            raise BrokenArchiveError(f"has a malformed pax header at byte {at}")
        found[key.decode("utf-8", "replace")] = value[:-1].decode("utf-8", "surrogateescape")
    known = {key: value for key, value in found.items() if key in CHANGING}
    if any(key.startswith("GNU.sparse.") for key in found):
        known["GNU.sparse"] = ""
    if kind == tarfile.XGLTYPE and known:
        raise BrokenArchiveError(f"has a pax header at byte {at} that changes {', '.join(known)} of all members")
    return known


def pax_size(text: str | None, size: int, at: int) -> int:
    """The size that a pax header gives in place of the header's own.

    Raises:
        BrokenArchiveError: it is no number of bytes.
    """
    if text is None:
        return size
    if not (text.isascii() and text.isdigit() and len(text) < 20):
        raise BrokenArchiveError(f"has a pax header with size {text!r} before byte {at}")
    return int(text)
