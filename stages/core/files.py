"""Files that are whole or absent, and the same bytes for the same content."""

from __future__ import annotations

import csv
import errno
import hashlib
import io
import json
import os
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from stages.core.faults import Fault

MENDED = "remove it and run `dvc repro`, or put a sound copy in its place"
PICTURES = ("PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP", "PPM")  # what is read; Pillow has others drawn by programs
PLAIN = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # other packings are unpacked whole, whatever size they claim
EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest date that a zip can hold


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """Yields a temporary name beside `path`; it is renamed to `path` on success and removed on failure."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.part")
    try:
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def md5(path: Path) -> str:
    """The md5 of a file, as DVC and the data sets' own pages write it."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest()


def write_json(path: Path, value: Any) -> None:
    """Indented JSON with a final newline."""
    with atomic(path) as temporary:
        temporary.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")


def read_json(path: Path) -> Any:
    """The content of a JSON file."""
    return json.loads(path.read_text(encoding="utf-8"))


def format_cell(value: Any) -> Any:
    """Floats with 6 significant digits and NaN as an empty cell, anything else unchanged."""
    if isinstance(value, float | np.floating):
        return "" if np.isnan(value) else f"{value:.6g}"
    return value


def csv_text(rows: Iterable[Mapping[str, Any]], columns: Sequence[str]) -> str:
    """Rows as CSV text with a header and Unix line ends; `format_cell` says how a value is written."""
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows({key: format_cell(value) for key, value in row.items()} for row in rows)
    return buffer.getvalue()


def write_csv(path: Path, rows: Iterable[Mapping[str, Any]], columns: Sequence[str]) -> None:
    """`csv_text` in a file."""
    with atomic(path) as temporary:
        temporary.write_text(csv_text(rows, columns), encoding="utf-8")


def read_csv(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV file with a header, all cells as text."""
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


class ZipWriter:
    """A stored (uncompressed) zip with a fixed date: random access, and identical bytes for identical content."""

    def __init__(self, path: Path) -> None:
        self._zip = zipfile.ZipFile(path, "w", zipfile.ZIP_STORED, allowZip64=True)

    def __enter__(self) -> ZipWriter:
        return self

    def __exit__(self, *exc: object) -> None:
        self._zip.close()

    def bytes(self, name: str, content: bytes) -> None:
        """Adds a member."""
        info = zipfile.ZipInfo(name, EPOCH)
        info.external_attr = 0o644 << 16
        self._zip.writestr(info, content)

    def chunks(self, name: str, size: int, chunks: Iterable[bytes]) -> None:
        """Adds a member of `size` bytes that come in pieces."""
        info = zipfile.ZipInfo(name, EPOCH)
        info.external_attr = 0o644 << 16
        info.file_size = size
        with self._zip.open(info, "w") as member:
            for chunk in chunks:
                member.write(chunk)

    def text(self, name: str, content: str) -> None:
        """Adds a UTF-8 text member."""
        self.bytes(name, content.encode())

    def array(self, name: str, array: np.ndarray) -> None:
        """Adds a NumPy array as .npy."""
        buffer = io.BytesIO()
        np.save(buffer, array, allow_pickle=False)
        self.bytes(name, buffer.getvalue())

    def png(self, name: str, array: np.ndarray, palette: Sequence[Sequence[int]] | None = None) -> None:
        """Adds a PNG, see `encode_png`."""
        self.bytes(name, encode_png(array, palette))


@contextmanager
def write_zip(path: Path) -> Iterator[ZipWriter]:
    """A ZipWriter whose file appears at `path` only when the block ends without an error."""
    with atomic(path) as temporary, ZipWriter(temporary) as archive:
        yield archive


@contextmanager
def damage_is_a_fault(path: Path, member: str = "") -> Iterator[None]:
    """Turns whatever damaged bytes of a zip raise, while it is opened or a member is read, into one message."""
    try:
        yield
    except (Fault, MemoryError):
        raise
    except Exception as error:  # zipfile, zlib, bz2, lzma and codecs have their own dozen; a flag may be a wrong byte
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
            raise  # of the disk, not of the bytes; EINVAL is a place before the file's start
        where = f" at member {member!r}" if member else ""
        raise Fault(f"{path} is damaged{where} ({error or type(error).__name__}); {MENDED}") from None


def read_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> bytes:
    """A member's content; never more than the zip claims, which `ZipFile.read` unpacks before it cuts it off.

    Raises:
        zipfile.BadZipFile: it is packed in a way that cannot be bounded, or is not as the zip claims.
    """
    if member.compress_type not in PLAIN:
        raise zipfile.BadZipFile(f"member {member.filename!r} is packed by method {member.compress_type}; use deflate")
    with archive.open(member) as file:
        content = file.read(member.file_size)
    if len(content) != member.file_size:
        raise zipfile.BadZipFile(f"member {member.filename!r} has not the {member.file_size} bytes that it claims")
    return content


class ZipReader:
    """Random access to a zip. Each process opens its own handle: one opened before a fork reads garbage."""

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        self._pid = -1
        self._zip: zipfile.ZipFile | None = None
        self._names_are_sound = False

    def __reduce__(self) -> tuple:
        return ZipReader, (self.path,)

    def _open(self) -> zipfile.ZipFile:
        if self._zip is None or self._pid != os.getpid():
            try:
                with damage_is_a_fault(self.path):
                    self._zip = zipfile.ZipFile(self.path)
            except FileNotFoundError as error:
                raise Fault(f"{self.path} cannot be read ({error}); `dvc repro` makes it") from None
            self._pid = os.getpid()
        return self._zip

    def names(self) -> list[str]:
        """The members' names, in the order in which they were written."""
        return self._open().namelist()

    def __contains__(self, name: str) -> bool:
        archive = self._open()
        if name not in archive.NameToInfo and not self._names_are_sound:
            with damage_is_a_fault(self.path):  # a wrong byte in a name makes a member vanish: it has its name twice
                for info in archive.infolist():
                    archive.open(info).close()
            self._names_are_sound = True
        return name in archive.NameToInfo

    def bytes(self, name: str) -> bytes:
        """A member's content.

        Raises:
            Fault: there is no such member, or its bytes are not those of its checksum.
        """
        archive = self._open()
        if name not in archive.NameToInfo:
            raise Fault(f"{self.path} has no member {name!r}")
        with damage_is_a_fault(self.path, name):
            return read_member(archive, archive.getinfo(name))

    def size(self, name: str) -> int:
        """The bytes of a member, unpacked, as the zip claims; it never gives more."""
        return self._open().getinfo(name).file_size

    def text(self, name: str) -> str:
        """A member as UTF-8 text."""
        return self.bytes(name).decode()

    def array(self, name: str) -> np.ndarray:
        """A .npy member."""
        return np.load(io.BytesIO(self.bytes(name)), allow_pickle=False)

    def png(self, name: str) -> np.ndarray:
        """An image member, see `decode_image`."""
        return decode_image(self.bytes(name))

    def rows(self, name: str) -> list[dict[str, str]]:
        """A CSV member as `read_csv` gives it."""
        return list(csv.DictReader(io.StringIO(self.text(name))))


def encode_png(array: np.ndarray, palette: Sequence[Sequence[int]] | None = None) -> bytes:
    """PNG bytes of (H, W) uint8 or uint16 or (H, W, 3) uint8; with a palette, (H, W) uint8 is an indexed PNG.

    An indexed PNG holds the labels themselves and looks right in any viewer.
    """
    image = Image.fromarray(np.ascontiguousarray(array))
    if palette is not None:
        image.putpalette(np.asarray(palette, np.uint8).tobytes())
    buffer = io.BytesIO()
    image.save(buffer, "PNG", compress_level=6)
    return buffer.getvalue()


def decode_image(content: bytes) -> np.ndarray:
    """An image file's bytes as an array, as stored: an indexed PNG gives its labels, a bilevel one 0 and 1 as uint8.

    Raises:
        OSError: the bytes are not an image, or are cut off.
    """
    with Image.open(io.BytesIO(content), formats=PICTURES) as image:
        image.load()
        return np.array(image, np.uint8 if image.mode == "1" else None)
