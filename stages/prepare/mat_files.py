"""A field of a struct in a file of MATLAB's format 5, read without SciPy, whose parser a spoilt file can crash.

Source: MAT-File Format, https://www.mathworks.com/help/pdf_doc/matlab/matfile_format.pdf. A file is a header and
elements: a type, a size, that many bytes. A matrix is an element of elements: class, dimensions, name, then numbers in
columns, or for a struct the names of its fields and a matrix for each. Every size is compared with the bytes there are.
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Iterator

import numpy as np

SIGNATURE = b"MATLAB 5.0 MAT-file"
HEADER = 128  # bytes before the first element
COMPRESSED, MATRIX = 15, 14  # types of an element
STRUCT = 2  # class of a matrix
STORED = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
CLASSES = {6: "f8", 7: "f4", 8: "i1", 9: "u1", 10: "i2", 11: "u2", 12: "i4", 13: "u4", 14: "i8", 15: "u8"}
OTHERS = {1: "a cell array", 2: "a struct", 3: "an object", 4: "text", 5: "a sparse matrix"}


def is_mat(content: bytes) -> bool:
    """Whether bytes begin as a file of this format."""
    return content.startswith(SIGNATURE) and len(content) >= HEADER and content[126:128] in (b"IM", b"MI")


def read_field(content: bytes, name: str, field: str, most: int) -> np.ndarray | str | None:
    """The matrix `field` of the struct `name` (1 x 1): its array, or what else it is; None where there is no `name`.

    most: bytes that an element may unpack to.

    Raises:
        ValueError: the bytes are no whole file.
    """
    order = "<" if content[126:128] == b"IM" else ">"
    for kind, data in elements(content[HEADER:], order):
        inner = elements(unpacked(data, most), order) if kind == COMPRESSED else iter([(kind, data)])
        for inner_kind, matrix in inner:
            if inner_kind == MATRIX and (found := field_of(matrix, name, field, order)) is not None:
                return found
    return None


def unpacked(data: bytes, most: int) -> bytes:
    """A compressed element's content.

    Raises:
        ValueError: it is broken, or larger than any that is needed.
    """
    unpacker = zlib.decompressobj()
    try:
        content = unpacker.decompress(data, most + 1)
    except zlib.error as error:
        raise ValueError(f"broken compressed data: {error}") from None
    if len(content) > most:
        raise ValueError(f"an element of more than {most} bytes, which no map of SBD needs")
    if not unpacker.eof:
        raise ValueError("compressed data that are cut off")
    return content


def elements(content: bytes, order: str) -> Iterator[tuple[int, bytes]]:
    """Type and bytes of each element.

    Raises:
        ValueError: one is cut off.
    """
    position = 0
    while position + 8 <= len(content):
        kind, size = struct.unpack_from(f"{order}2I", content, position)
        start = position + 8
        if kind >> 16:  # of at most four bytes, in the place of its size
            kind, size, start = kind & 0xFFFF, kind >> 16, position + 4
        if start + size > len(content) or (start == position + 4 and size > 4):
            raise ValueError(f"an element of {size} bytes that is cut off")
        yield kind, content[start : start + size]
        position = position + 8 if start == position + 4 else start + size + (0 if kind == COMPRESSED else -size % 8)


def parts(matrix: bytes, order: str) -> tuple[int, tuple[int, ...], str, Iterator[tuple[int, bytes]]]:
    """Class, dimensions and name of a matrix, and the elements after these.

    Raises:
        ValueError: it lacks one of them.
    """
    rest = elements(matrix, order)
    first = [next(rest, (0, b"")) for _ in range(3)]
    (_, flags), (_, sizes), (_, name) = first
    if len(flags) != 8 or not sizes or len(sizes) % 4:
        raise ValueError("a matrix without class and dimensions")
    shape = struct.unpack(f"{order}{len(sizes) // 4}i", sizes)
    if min(shape) < 0 or len(shape) > 32:
        raise ValueError(f"a matrix of dimensions {shape[:8]}")
    return struct.unpack(f"{order}I", flags[:4])[0] & 0xFF, shape, name.decode("latin1"), rest


def field_of(matrix: bytes, name: str, field: str, order: str) -> np.ndarray | str | None:
    """See `read_field`, of one matrix of the file."""
    kind, shape, called, rest = parts(matrix, order)
    if called != name:
        return None
    if kind != STRUCT or math.prod(shape) != 1:
        raise ValueError(f"{name} is no struct")
    (_, width), (_, names) = next(rest, (0, b"")), next(rest, (0, b""))
    length = struct.unpack(f"{order}i", width)[0] if len(width) == 4 else 0
    if length <= 0 or len(names) % length:
        raise ValueError("a struct whose fields have no names")
    fields = [names[at : at + length].partition(b"\0")[0].decode("latin1") for at in range(0, len(names), length)]
    for found, (inner, value) in zip(fields, rest, strict=False):
        if found == field:
            return to_array(value, order) if inner == MATRIX and value else "nothing"
    raise ValueError(f"{name} has no field {field}")


def to_array(matrix: bytes, order: str) -> np.ndarray | str:
    """The numbers of a matrix, or what else it holds.

    Raises:
        ValueError: there are not as many numbers as its dimensions say.
    """
    kind, shape, _, rest = parts(matrix, order)
    if kind not in CLASSES:
        return OTHERS.get(kind, "something unknown")
    stored, data = next(rest, (0, b""))
    if stored not in STORED:
        raise ValueError("numbers of an unknown type")
    wide = np.dtype(order + STORED[stored])
    if math.prod(shape) * wide.itemsize != len(data):
        raise ValueError(f"{len(data)} bytes for a matrix of dimensions {shape[:8]}")
    return np.frombuffer(data, wide).astype(CLASSES[kind]).reshape(shape, order="F")
