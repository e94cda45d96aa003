"""What each format's reader hands over: where every file lies and what it shall be checked against."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path

from stages.core.faults import Fault
from stages.core.files import ZipReader
from stages.core.locations import RAW_PREFIX, archive_of, read_location
from stages.prepare.drawing import Drawing


@dataclass(frozen=True)
class RawFile:
    """A file of the raw data: name inside the source, location (see `stages.core.locations`), md5."""

    name: str
    location: str
    md5: str


@dataclass(frozen=True)
class Entry:
    """One image of the data set with its mask and its instance map, where there are any; a drawing makes both."""

    id: str
    splits: tuple[str, ...]
    image: RawFile
    mask: RawFile | Drawing | None
    instances: RawFile | None


@dataclass(frozen=True)
class Layout:
    """A data set before any image is opened.

    classes: name of each label, label 0 first.
    background: label 0 is the background and never a tag.
    instances: instance maps are used.
    tags: the labels tagged per id; None where they come from the masks.
    untrained: classes that no training image has, known and accepted; None where a format knows no such thing.
    own: the masks are a person's own, drawn with any program, perhaps on pictures that it turned.
    notes: lines worth telling a person about a data set that is in order.
    tables: text of further members of dataset.zip, by name.
    """

    classes: tuple[str, ...]
    background: bool
    entries: list[Entry]
    instances: bool
    tags: dict[str, list[int]] | None
    untrained: tuple[str, ...] | None
    own: bool = False
    notes: tuple[str, ...] = ()
    tables: dict[str, str] = field(default_factory=dict)


class Index:
    """raw.zip of `download`: the files of a source by name, in the order of the index."""

    def __init__(self, path: Path) -> None:
        self.raw = ZipReader(path)
        rows = self.raw.rows("index.csv")
        self.files = {row["name"]: RawFile(row["name"], row["location"], row["md5"]) for row in rows}

    def in_folder(self, folder: str) -> list[RawFile]:
        """The files right inside `folder`."""
        return [file for name, file in self.files.items() if name.rpartition("/")[0] == folder]

    def lines(self, name: str) -> list[tuple[int, str]]:
        """Number (from 1) and stripped text of each line of a text file that is not empty.

        Raises:
            Fault: the file is not in the index, changed since, cannot be read or is not UTF-8.
        """
        if name not in self.files:
            raise Fault(f"{name} is not in the source; `download` indexed {len(self.files)} other files")
        try:
            text = read(self.raw, self.files[name]).decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise Fault(f"{name} is not UTF-8 text (byte {error.start})") from None
        except ValueError as error:
            raise Fault(f"{name}: {error}") from None
        numbered = ((number, line.strip()) for number, line in enumerate(text.splitlines(), 1))
        return [(number, line) for number, line in numbered if line]

    def root(self) -> str:
        """The source's folder, for messages; that of its archives if it has some, `raw.zip` for a generated set."""
        for file in self.files.values():
            if file.location.startswith(RAW_PREFIX):
                return str(self.raw.path)
            archive = archive_of(file.location)
            if archive:
                return str(Path(archive).parent)
            if file.location != file.name and file.location.endswith(file.name):
                return file.location.removesuffix(file.name).rstrip("/")
        return "an empty source"


def read(raw: ZipReader, file: RawFile) -> bytes:
    """A file's content.

    Raises:
        ValueError: it cannot be read, or is no longer what `download` indexed; the message does not repeat its name.
    """
    try:
        content = read_location(file.location, raw)
    except OSError as error:
        raise ValueError(f"cannot be read: {error.strerror}") from None
    if md5_of(content) != file.md5:
        raise ValueError("changed since `download` indexed it; run `dvc repro` again, which makes the index anew")
    return content


def md5_of(content: bytes) -> str:
    """The md5 of bytes, to recognise a file, not to protect it."""
    return hashlib.md5(content, usedforsecurity=False).hexdigest()
