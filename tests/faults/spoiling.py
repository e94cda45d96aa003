"""Files spoilt at random, each with what a reader must do: read them as before, refuse them, or either of the two."""

from __future__ import annotations

import csv
import io
import random
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from PIL import Image

from tests.faults.campaign import Tally
from tests.faults.children import in_child

SAME, BAD, ANY = "same", "bad", "any"  # what must become of a file: its content as before, a refusal, either
SECONDS, MEGABYTES, LONGEST = 10, 600, 20_000
SIGNATURE = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True)
class Spoilt:
    """A file's content, what was done to it, and what must become of it."""

    what: str
    content: bytes
    fate: str


@dataclass
class Trials:
    """The trials of a kind of file, each of another content.

    tally: their count.
    wanted: how many.
    tried: the contents that are tried no more; at first those of the unspoilt files.
    """

    tally: Tally
    wanted: int
    tried: set[bytes]

    def __iter__(self) -> Iterator[tuple[random.Random, int]]:
        """A generator of random numbers and a number for each trial, and for each draw that is none."""
        number = 0
        while self.tally.tried < self.wanted:
            yield random.Random(f"{self.tally.fault} {number}"), number
            number += 1

    def judge(self, spoilt: Spoilt, work: Callable[[], object], *names: str) -> None:
        """One trial: `work` reads the file, compares what it reads, and raises a Fault that has one of `names`."""
        if spoilt.content in self.tried:
            return
        self.tried.add(spoilt.content)
        with self.tally.trial(spoilt.what):
            ended = in_child(work, SECONDS)
            assert ended.code in (0, 1), f"ended with {ended.code}: {ended.text[-1500:]}"
            assert ended.peak < MEGABYTES, f"took {ended.peak:.0f} MB"
            if spoilt.fate != ANY:
                assert ended.code == (spoilt.fate == BAD), f"must be {spoilt.fate}, is {ended.code}: {ended.text[:400]}"
            if ended.fault is not None:
                assert any(name in ended.fault for name in names), f"names none of {names}: {ended.fault[:400]}"
                assert len(ended.fault) < LONGEST


def png(
    array: np.ndarray, bits: int, colour: int = 0, size: tuple[int, int] | None = None, close: bool = True
) -> bytes:
    """A PNG of (H, W) integers, written by its specification; `size` is another one to claim (height, width)."""
    height, width = size or array.shape
    if bits == 16:
        rows = [b"\0" + row.astype(">u2").tobytes() for row in array]
    else:
        planes = (array[..., None] >> np.arange(bits - 1, -1, -1)) & 1
        rows = [b"\0" + np.packbits(row.ravel().astype(np.uint8)).tobytes() for row in planes]
    palette = chunk(b"PLTE", bytes(range(256)) * 3) if colour == 3 and bits == 8 else b""
    palette = chunk(b"PLTE", bytes(3 << bits)) if colour == 3 and bits < 8 else palette
    head = chunk(b"IHDR", struct.pack(">2I5B", width, height, bits, colour, 0, 0, 0))
    return SIGNATURE + head + palette + chunk(b"IDAT", zlib.compress(b"".join(rows))) + chunk(b"IEND", b"") * close


def chunk(kind: bytes, content: bytes) -> bytes:
    """A chunk of a PNG."""
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def spoilt_bytes(content: bytes, chance: random.Random) -> Spoilt:
    """A binary file cut, flipped, enlarged or replaced."""
    place = chance.randrange(max(len(content), 1))
    some = bytes(chance.randrange(256) for _ in range(chance.choice((1, 4, 64))))
    ways = {
        "cut": (content[:place], ANY),
        "a byte flipped": (
            content[:place] + bytes([content[place] ^ (1 << chance.randrange(8))]) + content[place + 1 :],
            ANY,
        ),
        "bytes replaced": (content[:place] + some + content[place + len(some) :], ANY),
        "bytes put in": (content[:place] + some + content[place:], ANY),
        "zeros": (content[:place] + bytes(len(content) - place), ANY),
        "ones": (content[:place] + b"\xff" * 8 + content[place + 8 :], ANY),
        "empty": (b"", BAD),
        "text": (b"id,class\na,1\n", BAD),
        "noise": (chance.randbytes(200), BAD),
        "header alone": (content[:16], BAD),
    }
    what = chance.choice([*list(ways)[:6] * 4, *ways])
    return Spoilt(f"{what} at {place}", *ways[what])


def spoilt_picture(array: np.ndarray, other: int, chance: random.Random) -> tuple[Spoilt, np.ndarray | None]:
    """A label map (H, W) below 4 under the name .png, and the labels that it must be read as; None where any will do.

    other: a label that there is not.
    """
    height, width = array.shape
    wrong = array.copy()
    wrong[chance.randrange(height), chance.randrange(width)] = other
    rgb = np.repeat(array[..., None], 3, 2)
    bits = chance.choice((2, 4, 8, 16))
    huge = chance.choice(
        ((1, 2**31 - 1), (2**31 - 1, 2**31 - 1), (60_000, 60_000), (2**31, 1), (0, 5), (40_000, 40_000))
    )
    ways: dict[str, Callable[[], tuple[bytes, str, np.ndarray | None]]] = {
        f"grey of {bits} bits": lambda: (png(array, bits), SAME if bits >= 8 else ANY, array),
        "indexed of 8 bits": lambda: (png(array, 8, 3), SAME, array),
        "indexed of 4 bits": lambda: (png(array, 4, 3), SAME, array),
        "a wrong label": lambda: (png(wrong, 8), BAD, None),
        "a wrong label of 16 bits": lambda: (png(array.astype(np.uint16) + 300, 16), BAD, None),
        "another size": lambda: (png(array[1:], 8), BAD, None),
        "turned": lambda: (png(np.ascontiguousarray(array.T), 8), BAD, None),
        "RGB": lambda: (saved(rgb, "PNG"), BAD, None),
        "RGBA": lambda: (saved(np.concatenate([rgb, rgb[..., :1]], 2), "PNG"), BAD, None),
        "a JPEG": lambda: (saved(array, "JPEG"), BAD, None),
        "a TIFF of floats": lambda: (saved(array.astype(np.float32), "TIFF"), BAD, None),
        "a GIF": lambda: (saved(array, "GIF"), ANY, array),
        "a BMP": lambda: (saved(array, "BMP"), ANY, array),
        "a WebP": lambda: (saved(rgb, "WEBP"), BAD, None),
        "PostScript": lambda: (
            b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n",
            BAD,
            None,
        ),
        f"claims {huge[0]} x {huge[1]}": lambda: (png(array, 8, 0, huge), BAD, None),
        "claims one row more": lambda: (png(array, 8, 0, (height + 1, width)), BAD, None),
        "no end": lambda: (png(array, 8, close=False), ANY, array),
        "16 bits indexed": lambda: (png(array, 16, 3), BAD, None),
        "of colour type 5": lambda: (png(array, 8, 5), BAD, None),
    }
    if chance.random() < 0.5:
        return spoilt_bytes(png(array, 8, chance.choice((0, 3))), chance), None
    what = chance.choice(list(ways))
    content, fate, expected = ways[what]()
    return Spoilt(what, content, fate), expected


def saved(array: np.ndarray, form: str) -> bytes:
    """An image by Pillow."""
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, form)
    return buffer.getvalue()


def as_csv(table: list[list[str]], **form: Any) -> str:
    """A table as CSV."""
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n", **form).writerows(table)
    return buffer.getvalue()


def spoilt_table(
    rows: list[list[str]], bad: dict[str, Callable[[list[str]], list[str]]], chance: random.Random
) -> Spoilt:
    """A CSV with a header: written in another way, with a row changed by one of `bad`, or with its letters spoilt."""

    def with_row(way: Callable[[list[str]], list[str]]) -> bytes:
        return as_csv([*rows[:number], way(rows[number]), *rows[number + 1 :]]).encode()

    order = chance.sample(range(len(rows[0])), len(rows[0]))
    number = chance.randrange(1, len(rows))
    plain = as_csv(rows)
    place = chance.randrange(len(plain))
    good: dict[str, Callable[[], bytes]] = {
        "a byte order mark": lambda: plain.encode("utf-8-sig"),
        "other line ends": lambda: plain.replace("\n", "\r\n").encode(),
        "quotes": lambda: as_csv(rows, quoting=csv.QUOTE_ALL).encode(),
        "spaces": lambda: as_csv([[f" {cell} " for cell in row] for row in rows]).encode(),
        "columns in another order": lambda: as_csv([[row[column] for column in order] for row in rows]).encode(),
        "a header in capitals": lambda: as_csv([[cell.upper() for cell in rows[0]], *rows[1:]]).encode(),
        "empty lines": lambda: plain.replace("\n", "\n\n").encode(),
        "no last line end": lambda: plain.rstrip("\n").encode(),
        "other images": lambda: as_csv([*rows, ["somewhere_else", *rows[number][1:]]]).encode(),
    }
    wrong: dict[str, Callable[[], bytes]] = {
        "UTF-16": lambda: plain.encode("utf-16"),
        "Latin-1": lambda: (plain + "é").encode("latin-1"),
        "empty": lambda: b"",
        "a header alone": lambda: as_csv(rows[:1]).encode(),
        "no header": lambda: as_csv(rows[1:]).encode(),
        "semicolons": lambda: as_csv(rows, delimiter=";").encode(),
        "tabs": lambda: as_csv(rows, delimiter="\t").encode(),
        **{f"a row with {what}": partial(with_row, way) for what, way in bad.items()},
    }
    either: dict[str, Callable[[], bytes]] = {
        "cut": plain[:place].encode,
        "a letter more": (plain[:place] + chance.choice(",;\"'\n\r\t\0é\u2028 x9-") + plain[place:]).encode,
        "a letter less": (plain[:place] + plain[place + 1 :]).encode,
        "bytes put in": lambda: plain[:place].encode() + chance.randbytes(3) + plain[place:].encode(),
        "a huge cell": lambda: as_csv([*rows, ["x" * 200_000, *rows[number][1:]]]).encode(),
        "a huge line": lambda: as_csv([*rows, ["x,"] * 100_000]).encode(),
        "a huge file": (plain + "other,1,2,3\n" * 200_000).encode,
        "an open quote": (plain[:place] + '"' + plain[place:]).encode,
    }
    fate, ways = chance.choice(((SAME, good), (BAD, wrong), (BAD, wrong), (ANY, either)))
    what = chance.choice(list(ways))
    return Spoilt(what, ways[what](), fate)


def changed(column: int, value: str) -> Callable[[list[str]], list[str]]:
    """A row with another value in a column."""
    return lambda row: [*row[:column], value, *row[column + 1 :]]
