"""Arrays of .npy files, also of those that hold a Python dictionary, read without executing anything.

`np.save` of a dictionary writes a pickle behind the .npy header. `pickles.parse` writes down what that program would
call; here the few calls that write arrays are read as data: NumPy's, and those of torch, whose storages are bytes in
the format of `torch.save` before its zip files (the one that a pickled tensor always has). So neither pickle nor torch
is imported.

Memory is bounded by the file: an array is a view of bytes that are there, and a size that is claimed is compared with
them first.
"""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from stages.core.label_files import BadMap, read_header
from stages.core.pickles import (
    ENCODE,
    MOST_OPCODES,
    RECONSTRUCT,
    SCALAR,
    STORAGES,
    TENSOR,
    Call,
    Name,
    Outside,
    Pairs,
    parse,
    short,
)

MOST_AXES = 32
TORCH_MAGIC = 0x1950A86A20F9469CFC6C  # the first object of a legacy torch.save file
TORCH_PROTOCOL = 1001  # the second
KINDS = "fiub"  # of the arrays: floats, integers and booleans


def read_npy(content: bytes, most_opcodes: int = MOST_OPCODES) -> np.ndarray | list[tuple[int | str, np.ndarray]]:
    """An .npy file: an array of numbers as it is, or the pairs of key and array of a dictionary.

    most_opcodes: of the dictionary's pickle; an entry has about 40.

    Raises:
        BadMap: `unreadable`, the file is broken or holds something else; `code`, something in it would have to be
            executed.
    """
    try:
        return read_content(content, most_opcodes)
    except BadMap:
        raise
    except Exception as error:  # NumPy's header parser and the disassembler have their own dozen for broken bytes
        raise BadMap("unreadable", f"{type(error).__name__}: {error}"[:300]) from None


def read_content(content: bytes, most_opcodes: int) -> np.ndarray | list[tuple[int | str, np.ndarray]]:
    """See `read_npy`."""
    file = io.BytesIO(content)
    shape, fortran, dtype = read_header(file)
    data = file.read()
    if not dtype.hasobject:
        return view(data, dtype, shape, fortran)
    if math.prod(shape) != 1:
        raise BadMap("unreadable", f"an array of Python objects of shape {shape}, and not one dictionary")
    pairs = the_dictionary(parse(data, most_opcodes))
    return [(to_key(key), to_array(value)) for key, value in pairs]


def view(data: bytes, dtype: np.dtype, shape: Sequence[int], fortran: bool) -> np.ndarray:
    """The array that the bytes hold, without a copy."""
    if dtype.kind not in KINDS:
        raise BadMap("unreadable", f"an array of type {str(dtype)[:60]}, and not of numbers")
    needed = math.prod(sizes(shape)) * dtype.itemsize
    if len(data) < needed:
        raise BadMap("unreadable", f"{len(data)} bytes for an array of shape {shape}, which needs {needed}")
    return np.ndarray(tuple(shape), dtype, data, order="F" if fortran else "C")


def sizes(shape: Sequence[int]) -> Sequence[int]:
    """The shape (or strides, or an offset) of an array, all of it whole and not negative."""
    whole = isinstance(shape, tuple) and len(shape) <= MOST_AXES
    if not whole or not all(type(length) is int and 0 <= length < 1 << 48 for length in shape):
        raise BadMap("unreadable", f"the shape or strides {short(shape)}")
    return shape


def the_dictionary(value: Any) -> list[tuple[Any, Any]]:
    """The pairs of the dictionary in the array of one object that `np.save` makes of it."""
    if isinstance(value, Call) and value.name in RECONSTRUCT:
        match value.state:
            case (int(), _, _, _, [Pairs() as only]):
                return only.pairs
    raise BadMap("unreadable", f"{short(value)}, and not a dictionary")


def to_key(key: Any) -> int | str:
    """A key of the dictionary: text or a whole number, also one of NumPy's."""
    if isinstance(key, Call) and key.name in SCALAR:
        match key.arguments:
            case (Call(name="numpy dtype") as kind, data):
                number = view(to_bytes(data), to_dtype(kind), (1,), False)
                key = number[0].item() if number.dtype.kind in "iu" else key
    if type(key) not in (int, str):
        raise BadMap("unreadable", f"{short(key)} as a key of the dictionary; keys are class numbers or text")
    return key


def to_array(value: Any) -> np.ndarray:
    """The array that a call would make: NumPy's, a tensor's, or a list of whole numbers."""
    if isinstance(value, list) and all(type(number) is int for number in value):
        return np.array(value, np.int64)
    if isinstance(value, Call) and value.name in RECONSTRUCT:
        match value.state:
            case (int(), tuple() as shape, Call(name="numpy dtype") as kind, bool() | int() as fortran, data):
                dtype = to_dtype(kind)
                return view(to_bytes(data), dtype, shape, bool(fortran))
    if isinstance(value, Call) and value.name == TENSOR:
        match value.arguments:
            case (Call(name="torch.storage _load_from_bytes", arguments=(data,)), offset, shape, strides, *_):
                return tensor(storage(to_bytes(data)), offset, shape, strides)
    raise BadMap("unreadable", f"{short(value)}, and not an array")


def tensor(flat: np.ndarray, offset: int, shape: tuple[int, ...], strides: tuple[int, ...]) -> np.ndarray:
    """A tensor's view of its storage; offset and strides are in elements."""
    count = math.prod(sizes(shape))
    if len(sizes(strides)) != len(shape) or count + sizes((offset,))[0] > len(flat):
        raise BadMap("unreadable", f"a tensor of shape {short(shape)} in {len(flat)} numbers")
    size = flat.dtype.itemsize
    # NumPy refuses what would lie beyond the buffer
    return np.ndarray(shape, flat.dtype, flat.data, offset * size, [stride * size for stride in strides])


def storage(content: bytes) -> np.ndarray:
    """The numbers of a torch storage: five pickles (magic, version, machine, what is stored, keys), then the bytes."""
    file = io.BytesIO(content)
    magic, version, _, what, keys = (parse(file) for _ in range(5))
    if magic != TORCH_MAGIC or version != TORCH_PROTOCOL:
        raise BadMap("unreadable", "a tensor in a format of torch.save that pickled tensors do not have")
    match (what, keys):  # nested values are not compared, which could take forever
        case (Outside(identity=("storage", Name(text=kind), str() as key, _, int() as count, None)), [str() as same]):
            if key != same:
                raise BadMap("unreadable", "a tensor whose numbers are not there")
            if kind not in STORAGES:
                raise BadMap("unreadable", f"a tensor of {kind}")
            stored = int.from_bytes(file.read(8), "little")
            if stored == count:
                return view(file.read(), np.dtype(STORAGES[kind]), (count,), False)
    raise BadMap("unreadable", f"{short(what)}, and not the numbers of a tensor")


def to_dtype(kind: Call) -> np.dtype:
    """A type as it is pickled: its name, and its byte order in the state."""
    match (kind.arguments, kind.state):
        case ((str() as name, *_), (_, "<" | ">" | "|" | "=" as order, None, None, None, *_)) if (
            name[:1] in KINDS and len(name) < 9
        ):
            return np.dtype(name).newbyteorder(order)
    raise BadMap("unreadable", f"an array of type {short((*kind.arguments, '')[0])}, and not of numbers")


def to_bytes(value: Any) -> bytes:
    """Bytes; the older pickles write them as text, one character for each."""
    if isinstance(value, Call) and value.name == ENCODE:
        match value.arguments:
            case (str() as text, "latin1" | "latin-1"):
                return text.encode("latin1")
    if isinstance(value, str):
        return value.encode("latin1")  # of Python 2
    if not isinstance(value, bytes):
        raise BadMap("unreadable", f"{short(value)} for the bytes of an array")
    return value
