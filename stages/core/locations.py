"""Where a raw file's bytes lie: a file on disk, a member of raw.zip, or a stretch of an archive that is read in place.

A location is text of one of four forms:

- `/abs/path`: the file itself;
- `raw:MEMBER`: a member of raw.zip;
- `bytes:OFFSET:LENGTH:/abs/archive`: a member of a tar, or a stored one of a zip, which lies there as it is;
- `deflate:OFFSET:LENGTH:SIZE:/abs/archive`: a packed member of a zip, LENGTH bytes that unpack to SIZE.

Offsets instead of member names: no worker process reads the directory of an archive, which takes a second and a hundred
megabytes for the 118 000 images of COCO.
"""

from __future__ import annotations

import errno
import re
import zlib
from io import FileIO
from pathlib import Path

from stages.core.files import ZipReader

RAW_PREFIX = "raw:"
FORMS = (
    re.compile(r"bytes:(?P<offset>\d+):(?P<length>\d+):(?P<archive>/.*)", re.DOTALL | re.ASCII),
    re.compile(r"deflate:(?P<offset>\d+):(?P<length>\d+):(?P<size>\d+):(?P<archive>/.*)", re.DOTALL | re.ASCII),
)


def span(archive: Path, offset: int, length: int) -> str:
    """The location of `length` bytes from byte `offset` of an archive, an absolute path."""
    return f"bytes:{offset}:{length}:{archive}"


def packed_span(archive: Path, offset: int, length: int, size: int) -> str:
    """The location of a raw deflate stream of `length` bytes that unpacks to `size` bytes."""
    return f"deflate:{offset}:{length}:{size}:{archive}"


def split_span(location: str) -> dict[str, str] | None:
    """The parts of a location inside an archive, `size` only if it is packed; None for any other location."""
    found = next(filter(None, (form.fullmatch(location) for form in FORMS)), None)
    return found.groupdict() if found else None


def archive_of(location: str) -> str | None:
    """The archive that a location lies in; None for a file on disk and for raw.zip."""
    parts = split_span(location)
    return parts["archive"] if parts else None


def read_location(location: str, raw: ZipReader | None = None) -> bytes:
    """The bytes at a location, by one seek and one read; no handle outlives the call, so any process may call it.

    Args:
        location: see the module.
        raw: raw.zip, which a location `raw:MEMBER` needs.

    Raises:
        Fault: raw.zip has no such member.
        OSError: the file or archive cannot be read, or is not as it was indexed; `strerror` says why.
    """
    if location.startswith(RAW_PREFIX):
        if raw is None:
            raise OSError(errno.ENOENT, "it lies in raw.zip, which was not given", location)
        return raw.bytes(location.removeprefix(RAW_PREFIX))
    parts = split_span(location)
    if parts is None:
        return Path(location).read_bytes()
    archive, length = parts["archive"], int(parts["length"])
    try:
        with Path(archive).open("rb", buffering=0) as file:
            file.seek(int(parts["offset"]))
            content = read_whole(file, length)
    except FileNotFoundError:
        reason = f"the archive is gone; put {archive} there again, or `dvc repro -f download` looks for it anew"
        raise FileNotFoundError(errno.ENOENT, reason, archive) from None
    if parts.get("size"):
        content = inflate(content, length := int(parts["size"]))
    if content is None or len(content) != length:
        reason = f"{archive} changed since it was indexed; `dvc repro -f download` indexes it anew"
        raise OSError(errno.EIO, reason, archive)
    return content


def read_whole(file: FileIO, length: int) -> bytes:
    """`length` bytes, fewer at the file's end: one call of the system gives at most 2 GiB."""
    content = file.read(length)
    while len(content) < length and (more := file.read(length - len(content))):
        content += more
    return content


def inflate(content: bytes, size: int) -> bytes | None:
    """A raw deflate stream unpacked; None if it is broken or is not of `size` bytes. It never holds more than that."""
    engine = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        unpacked = engine.decompress(content, size + 1)
    except zlib.error:
        return None
    return unpacked if len(unpacked) == size and engine.eof else None
