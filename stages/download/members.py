"""Members of archives, of which none is believed: what each is, where it belongs, and why it is refused.

Nothing is ever unpacked under a member's own name, so no name can lead anywhere; a name that tries to is refused all
the same, because an archive that holds one is not what it claims to be.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import BinaryIO

from stages.core.archives import Archive

CHUNK = 1 << 20
LARGEST = 2**31  # bytes of a member, unpacked; the largest that is used, LVIS's annotations, has half of it


@dataclass(frozen=True)
class Member:
    """An entry of an archive.

    name: as the archive has it; bytes that are not UTF-8 are surrogates.
    kind: `file`, `folder`, or what it is that cannot be used.
    offset, length: where its bytes lie in the archive, in bytes; they may be packed.
    size: bytes, unpacked, as the archive claims.
    packed: the bytes are a raw deflate stream.
    crc: CRC-32 of the unpacked bytes, where the archive has one.
    """

    name: str
    kind: str
    offset: int
    length: int
    size: int
    packed: bool = False
    crc: int | None = None


class BrokenArchiveError(Exception):
    """The archive as a whole cannot be read; the message says why and where."""


def is_part(name: str, parts: Iterable[str]) -> bool:
    """Whether a name is one of `parts` or lies right inside one that ends with a slash; hidden files do not."""
    folder, slash, last = name.rpartition("/")
    return name in parts or (bool(last) and not last.startswith(".") and folder + slash in parts)


def choose(
    members: Iterable[Member], archive: Archive, parts: Sequence[str], faults: list[str]
) -> Iterator[tuple[str, Member]]:
    """The files among `members` that belong to `parts`, each with its name in the source.

    `faults` gets every name that leads out of its folder or cannot be shown, and, among those that belong to `parts`,
    what is no file, stands there twice or is too large. Members outside `archive.strip` are never read.
    """
    seen: set[str] = set()
    for member in members:
        reason = name_fault(member.name)
        if reason:
            faults.append(f"member {member.name!r}: {reason}")
            continue
        inner = member.name.removeprefix("./")
        if member.kind == "folder" or not inner.startswith(archive.strip):
            continue
        name = archive.under + inner.removeprefix(archive.strip)
        if not is_part(name, parts):
            continue
        if member.kind != "file":
            faults.append(f"member {member.name!r} is {member.kind}, not a file")
        elif name in seen:
            faults.append(f"member {member.name!r} stands there twice")
        elif member.size > LARGEST:
            faults.append(f"member {member.name!r} claims {member.size} bytes; at most {LARGEST} are read")
        else:
            yield name, member
        seen.add(name)


def name_fault(name: str) -> str | None:
    """Why a member's name is refused; None if it is a plain relative path."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return "its name is not UTF-8"
    if name.startswith("/"):
        return "its path is absolute"
    if "\\" in name or any(not sign.isprintable() for sign in name):
        return "its name holds a backslash or a control character"
    if ".." in name.split("/"):
        return "its path leads out of its folder (..)"
    return None


class Stream:
    """A file that is read once, from its start to its end, and need not be able to seek.

    position: bytes that were read or skipped.
    """

    def __init__(self, file: BinaryIO, seekable: bool) -> None:
        self._file, self._seekable = file, seekable
        self.position = 0

    def read(self, count: int) -> bytes:
        """Exactly `count` bytes.

        Raises:
            BrokenArchiveError: the file ends before, or its packing is broken.
        """
        content = self._read(count)
        if len(content) < count:
            raise BrokenArchiveError(f"is cut off at byte {self.position}")
        return content

    def _read(self, count: int) -> bytes:
        try:
            content = self._file.read(count)
        except (EOFError, zlib.error, OSError) as error:
            raise BrokenArchiveError(f"cannot be read from byte {self.position} on: {error}") from None
        self.position += len(content)
        return content

    def finish(self) -> None:
        """Reads up to the end, where a packed file has the checksum of all before it.

        Raises:
            BrokenArchiveError: see `read`.
        """
        while self._read(CHUNK):
            pass

    def chunks(self, count: int) -> Iterator[bytes]:
        """The next `count` bytes in pieces."""
        while count:
            piece = self.read(min(count, CHUNK))
            count -= len(piece)
            yield piece

    def skip(self, count: int) -> None:
        """Passes over `count` bytes; they must be there.

        Raises:
            BrokenArchiveError: see `read`.
        """
        if self._seekable and count > CHUNK:
            self.position += count - 1
            try:
                self._file.seek(self.position)
            except OSError as error:
                raise BrokenArchiveError(f"has a member of over {count} bytes: {error.strerror}") from None
            count = 1
        for _ in self.chunks(count):
            pass


def unpack(chunks: Iterable[bytes], size: int) -> Iterator[bytes]:
    """A raw deflate stream in pieces of at most `CHUNK` bytes; it stops at once when it gives more than `size` bytes.

    Raises:
        BrokenArchiveError: the stream is broken, or does not hold `size` bytes.
    """
    engine = zlib.decompressobj(-zlib.MAX_WBITS)
    total = 0
    try:
        for packed in chunks:
            rest = packed
            while rest and not engine.eof:
                piece = engine.decompress(rest, CHUNK)
                rest = engine.unconsumed_tail
                total += len(piece)
                if total > size:
                    raise BrokenArchiveError(f"unpacks to more than the {size} bytes that it claims")
                yield piece
        piece = engine.flush()
    except zlib.error as error:
        raise BrokenArchiveError(f"does not unpack: {error}") from None
    total += len(piece)
    if total != size or not engine.eof:
        raise BrokenArchiveError(f"unpacks to {total} bytes, not to the {size} that it claims")
    yield piece
