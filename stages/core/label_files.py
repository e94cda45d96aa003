"""Label maps of any origin: a folder or a zip of PNG and .npy files, each checked before anything is counted."""

from __future__ import annotations

import io
import math
import os
import zipfile
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image

from stages.core.dataset import INSTANCE_VOID, VOID
from stages.core.faults import Fault
from stages.core.files import ZipReader

SUFFIXES = (".png", ".npy")
MOST_BYTES = 1 << 30  # of a file, unpacked
SIGNATURE = b"\x89PNG\r\n\x1a\n"
GREY, INDEXED = 0, 3  # colour types of a PNG, https://www.w3.org/TR/png-3/#11IHDR
COLOURS = {2: "an RGB", 4: "a grey and alpha", 6: "an RGBA"}


class BadMap(ValueError):
    """A file that is no label map: `kind` says in which way, and the message what it is instead."""

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(kind, text)  # both, so that it survives the way out of a worker process
        self.kind = kind

    def __str__(self) -> str:
        return self.args[1]


@dataclass(frozen=True)
class LabelFiles:
    """The maps of a folder or a zip; cheap to copy to worker processes.

    path: the folder or the zip.
    archive: the zip, None for a folder.
    members: file by stem, both relative to `path`; the stem is the path without its suffix and `strip_common`.
    twice: stems that two files have.
    """

    path: Path
    archive: ZipReader | None
    members: dict[str, str]
    twice: tuple[str, ...]

    def only(self, stems: set[str]) -> LabelFiles:
        """The maps of these stems alone."""
        members = {stem: member for stem, member in self.members.items() if stem in stems}
        return replace(self, members=members, twice=tuple(stem for stem in self.twice if stem in stems))

    def content(self, stem: str) -> bytes:
        """The bytes of a file.

        Raises:
            BadMap: the file cannot be read, or is larger than a gigabyte.
        """
        member = self.members[stem]
        try:
            path = self.path / member
            if not self.archive and path.exists() and not path.is_file():
                raise BadMap("unreadable", "a device or pipe, and no file")
            size = self.archive.size(member) if self.archive else path.stat().st_size
            if size > MOST_BYTES:
                raise BadMap("unreadable", f"{size} bytes, more than {MOST_BYTES}")
            return self.archive.bytes(member) if self.archive else path.read_bytes()
        except BadMap:
            raise
        except Fault as fault:
            raise BadMap("unreadable", str(fault)) from None
        except OSError as error:
            raise BadMap("unreadable", f"{type(error).__name__}: {error}") from None

    def read(self, stem: str) -> np.ndarray:
        """A map as `decode_map` gives it.

        Raises:
            BadMap: the file cannot be read, or is no map.
        """
        return decode_map(self.content(stem), self.members[stem])


def find_maps(path: Path, stems: set[str] | None = None, suffixes: tuple[str, ...] = SUFFIXES) -> LabelFiles:
    """The PNG and .npy files of a folder or a zip, sub-folders included; hidden files are left out.

    Args:
        path: the folder or the zip.
        stems: those to match. The one folder that holds all the files is no part of the stems, unless they are needed
            with it to match one of these.
        suffixes: of the files to find in place of PNG and .npy, in small letters.

    Raises:
        Fault: there is no such folder or zip, or it holds no map.
    """
    archive = None
    if path.is_dir():
        names = (
            (Path(folder) / name).relative_to(path).as_posix() for folder, _, files in os.walk(path) for name in files
        )
    elif zipfile.is_zipfile(path):
        archive = readable(path)
        names = (name for name in archive.names() if not name.endswith("/"))
    else:
        raise Fault(f"{path}: {'neither a folder nor a zip' if path.exists() else 'there is no such folder or zip'}")
    files = sorted(name for name in names if is_map(PurePosixPath(name), suffixes))
    if not files:
        kinds = " and ".join(f"no {'PNG' if suffix == '.png' else suffix}" for suffix in suffixes)
        raise Fault(f"{path} holds {kinds} file")
    keys = [str(PurePosixPath(name).with_suffix("")) for name in files]
    if stems is None or not stems.intersection(keys):
        keys = strip_common(keys)
    members = dict(zip(keys, files, strict=True))
    twice = tuple(sorted({key for key, name in zip(keys, files, strict=True) if members[key] != name}))
    return LabelFiles(path, archive, members, twice)


def readable(path: Path) -> ZipReader:
    """A zip whose directory can be read.

    Raises:
        Fault: it cannot.
    """
    archive = ZipReader(path)
    try:
        archive.names()
    except Fault as fault:
        reason = str(fault).removeprefix(f"{path} ").partition("; `dvc repro`")[0]
        raise Fault(f"{path}: a zip that {reason}; pack it again") from None
    return archive


def is_map(name: PurePosixPath, suffixes: tuple[str, ...] = SUFFIXES) -> bool:
    """Whether a file is meant to be a map: a PNG or .npy that no system hides or adds (macOS does, to a zip)."""
    hidden = any(part.startswith(".") or part == "__MACOSX" for part in name.parts)
    return name.suffix.lower() in suffixes and not hidden


def strip_common(stems: list[str]) -> list[str]:
    """Stems without their first folder where all have the same one."""
    first = {stem.partition("/")[0] if "/" in stem else None for stem in stems}
    return stems if len(first) > 1 or None in first else [stem.partition("/")[2] for stem in stems]


def decode_map(content: bytes, name: str) -> np.ndarray:
    """The bytes of a PNG or .npy file as a map (H, W) of integers, both at least 1; an indexed PNG gives its indices.

    Grey PNGs of fewer than 8 bits are refused: readers stretch them to 0..255, and some writers do not.

    Raises:
        BadMap: the bytes are no such file, or are cut off; the map is no map of integers, or has no pixels.
    """
    try:
        is_npy = name.lower().endswith(".npy")
        array = decode_npy(content) if is_npy else decode_png(content)
    except BadMap:
        raise
    except Exception as error:  # each decoder has its own dozen of exceptions for broken bytes
        raise BadMap("unreadable", f"{type(error).__name__}: {error}") from None
    if array.ndim != 2 or array.dtype.kind not in "iu":
        raise BadMap("no_map", f"an array of shape {array.shape} and type {array.dtype}")
    if not array.size:
        raise BadMap("empty", f"{array.shape[0]} x {array.shape[1]} pixels")
    return array


def read_header(file: io.BytesIO) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Shape, order (True for Fortran's) and type of an .npy file; the file then stands at the data."""
    version = np.lib.format.read_magic(file)
    readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    if version not in readers:
        raise BadMap("unreadable", f"an .npy file of version {version[0]}.{version[1]}")
    return readers[version](file)


def decode_npy(content: bytes) -> np.ndarray:
    """The array of an .npy file, see `decode_map`; `np.load` takes the memory that a file claims before it reads."""
    if content.startswith(b"PK"):
        raise BadMap("unreadable", "an .npz archive under the name of an .npy file")
    shape, _, dtype = read_header(io.BytesIO(content))
    if math.prod(shape) * dtype.itemsize > len(content):
        raise BadMap("unreadable", f"{len(content)} bytes for an array of shape {shape} and type {dtype}")
    return np.load(io.BytesIO(content), allow_pickle=False)


def decode_png(content: bytes) -> np.ndarray:
    """The samples or the indices of a PNG, (H, W) uint8 or uint16, see `decode_map`."""
    if not content.startswith(SIGNATURE) or len(content) < len(SIGNATURE) + 25:
        raise BadMap("unreadable", f"no PNG ({len(content)} bytes)")
    width, height = (int.from_bytes(content[start : start + 4]) for start in (16, 20))
    bits, colour = content[24], content[25]
    if not width * height:
        raise BadMap("empty", f"{height} x {width} pixels")
    if colour in COLOURS:
        raise BadMap("no_map", f"{COLOURS[colour]} picture")
    if colour == GREY and bits < 8:
        raise BadMap("no_map", f"a grey picture of {bits} bit{'s' * (bits > 1)} a pixel; write it with 8 or indexed")
    if b"IEND" not in content[-1024:]:
        raise BadMap("unreadable", f"the PNG is cut off after {len(content)} bytes")
    with Image.open(io.BytesIO(content), formats=("PNG",)) as image:
        image.load()
        return np.array(image, np.uint16 if bits == 16 else np.uint8)


def as_labels(array: np.ndarray, void: int = VOID) -> np.ndarray:
    """A map (H, W) of integers as uint8 labels with `void` as 255.

    Raises:
        BadMap: a label lies outside 0..254, or is 255 though the void is another.
    """
    if array.dtype == np.uint8 and void == VOID:
        return array
    if void != VOID and (array == VOID).any():
        raise BadMap("labels", f"label 255, which is kept for void, is in use beside void {void}; renumber the classes")
    if array.dtype == np.uint8 and not 0 <= void < VOID:
        return array
    is_void = array == void
    wrong = ~is_void & ((array < 0) | (array >= VOID))
    if wrong.any():
        raise BadMap("labels", f"{listed(np.unique(array[wrong]))}; labels are 0..254, and {void} for void")
    return replaced(array, is_void, VOID, np.uint8)


def as_ids(array: np.ndarray, void: int | None = None) -> np.ndarray:
    """A map (H, W) of integers as uint16 instance ids with `void` as 65535.

    void: None stands for 255 in a map of 8 bits and for 65535 in a wider one.

    Raises:
        BadMap: an id lies outside 0..65534, or is 65535 though the void is another.
    """
    if void is None:
        void = VOID if array.dtype.itemsize == 1 else INSTANCE_VOID
    if array.dtype == np.uint16 and void == INSTANCE_VOID:
        return array
    is_void = array == void
    wrong = ~is_void & ((array < 0) | (array >= INSTANCE_VOID))
    if wrong.any():
        raise BadMap("ids", f"{listed(np.unique(array[wrong]))}; ids are 0..65534, and {void} for void")
    return replaced(array, is_void, INSTANCE_VOID, np.uint16)


def replaced(array: np.ndarray, where: np.ndarray, value: int, kind: type) -> np.ndarray:
    """The array as `kind`, with `value` in some places; in its own type it might not fit."""
    result = array.astype(kind)
    result[where] = value
    return result


def listed(values: np.ndarray, most: int = 8) -> str:
    """The first of the values, with the number of the others."""
    rest = f" and {values.size - most} more" if values.size > most else ""
    return ", ".join(map(str, values[:most].tolist())) + rest
