"""Arrays of .npy files, also of those that hold a Python dictionary, read without executing anything.

`np.save` of a dictionary writes a pickle behind the .npy header. A pickle is a program for a small stack machine, and
an unpickler is dangerous because that machine may import any name and call it. This module has no unpickler.
`pickletools.genops`, the disassembler of Python's library, splits the bytes into opcodes and their arguments; `parse`
below carries out those that build lists, tuples, dictionaries, numbers and text, and where the program imports a name
or calls one it only writes down the name and the arguments (`Name`, `Call`). No name is looked up, nothing is called or
instantiated, and every other opcode is refused. Afterwards `to_array` reads as data the few calls that write arrays:
NumPy's, and those of torch, whose storages are bytes in the format of `torch.save` before its zip files (the one that a
pickled tensor always has). So neither pickle nor torch is imported.

Memory is bounded by the file: an array is a view of bytes that are there, and a size that is claimed is compared with
them first. Dictionaries are kept as pairs, for hashing a key from a hostile file can take forever.
"""

from __future__ import annotations

import io
import math
import pickletools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from stages.core.label_files import BadMap

MOST_OPCODES = 100_000  # a dictionary of 80 classes has under 10 000
MULTIARRAY = ("numpy.core.multiarray", "numpy._core.multiarray")  # before and since NumPy 2
RECONSTRUCT, SCALAR = ({f"{module} {name}" for module in MULTIARRAY} for name in ("_reconstruct", "scalar"))
NDARRAY, DTYPE, ENCODE, ORDERED = "numpy ndarray", "numpy dtype", "_codecs encode", "collections OrderedDict"
TENSOR, STORAGE = "torch._utils _rebuild_tensor_v2", "torch.storage _load_from_bytes"
NAMES = {*RECONSTRUCT, *SCALAR, NDARRAY, DTYPE, ENCODE, ORDERED, TENSOR, STORAGE}
STORAGES = {
    "torch DoubleStorage": "<f8",
    "torch FloatStorage": "<f4",
    "torch HalfStorage": "<f2",
    "torch LongStorage": "<i8",
    "torch IntStorage": "<i4",
    "torch ShortStorage": "<i2",
    "torch CharStorage": "<i1",
    "torch ByteStorage": "<u1",
    "torch BoolStorage": "<b1",
}
MOST_AXES = 32
TORCH_MAGIC = 0x1950A86A20F9469CFC6C  # the first object of a legacy torch.save file
TORCH_PROTOCOL = 1001  # the second
KINDS = "fiub"  # of the arrays: floats, integers and booleans


@dataclass(frozen=True)
class Name:
    """A name that a pickle would import, `module name`; here it is text."""

    text: str


@dataclass(eq=False)
class Call:
    """What a pickle would call with which arguments, and the state that it would give the result."""

    name: str
    arguments: tuple
    state: Any = None


@dataclass(frozen=True)
class Outside:
    """What a pickle refers to as lying outside of it, by an identity; torch writes its storages so."""

    identity: Any


@dataclass(eq=False)
class Pairs:
    """A dictionary as its pairs, in their order."""

    pairs: list[tuple[Any, Any]] = field(default_factory=list)


def read_npy(content: bytes) -> np.ndarray | list[tuple[int | str, np.ndarray]]:
    """An .npy file: an array of numbers as it is, or the pairs of key and array of a dictionary.

    Raises:
        BadMap: `unreadable`, the file is broken or holds something else; `code`, something in it would have to be
            executed.
    """
    try:
        return read_content(content)
    except BadMap:
        raise
    except Exception as error:  # NumPy's header parser and the disassembler have their own dozen for broken bytes
        raise BadMap("unreadable", f"{type(error).__name__}: {error}"[:300]) from None


def read_header(file: io.BytesIO) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Shape, order (True for Fortran's) and type of an .npy file; the file then stands at the data."""
    version = np.lib.format.read_magic(file)
    readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    if version not in readers:
        raise BadMap("unreadable", f"an .npy file of version {version[0]}.{version[1]}")
    return readers[version](file)


def read_content(content: bytes) -> np.ndarray | list[tuple[int | str, np.ndarray]]:
    """See `read_npy`."""
    file = io.BytesIO(content)
    shape, fortran, dtype = read_header(file)
    data = file.read()
    if not dtype.hasobject:
        return view(data, dtype, shape, fortran)
    if math.prod(shape) != 1:
        raise BadMap("unreadable", f"an array of Python objects of shape {shape}, and not one dictionary")
    pairs = the_dictionary(parse(data))
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


def parse(source: bytes | io.BytesIO) -> Any:
    """What a pickle describes: plain values, `Pairs` for dictionaries, `Name`, `Call` and `Outside` for what it is not.

    A file is left behind the pickle's end.
    """
    machine = Machine()
    for number, (opcode, argument, _) in enumerate(pickletools.genops(source)):
        if number == MOST_OPCODES:
            raise BadMap("unreadable", f"a pickle of more than {MOST_OPCODES} opcodes")
        if opcode.name == "STOP":
            return machine.stack.pop()
        if opcode.name in VALUES:
            machine.stack.append(argument)
        elif opcode.name in STEPS:
            STEPS[opcode.name](machine, argument)
        else:
            raise BadMap("code", f"the pickle opcode {opcode.name}, which no array needs; nothing was executed")
    raise BadMap("unreadable", "a pickle without an end")


@dataclass
class Machine:
    """The stack machine of a pickle; `marks` are the stacks below, `memo` what is referred to again."""

    stack: list[Any] = field(default_factory=list)
    marks: list[list[Any]] = field(default_factory=list)
    memo: dict[int, Any] = field(default_factory=dict)

    def mark(self) -> None:
        """Begins a sequence."""
        self.marks.append(self.stack)
        self.stack = []

    def since_mark(self) -> list[Any]:
        """Ends the sequence."""
        items, self.stack = self.stack, self.marks.pop()
        return items

    def last(self, count: int) -> list[Any]:
        """Takes the last `count` values."""
        if len(self.stack) < count:
            raise BadMap("unreadable", "a pickle whose stack is empty")
        items = self.stack[len(self.stack) - count :]
        del self.stack[len(self.stack) - count :]
        return items

    def remember(self, index: int) -> None:
        """Keeps the last value under a number."""
        self.memo[index] = self.stack[-1]

    def extend(self, items: list[Any]) -> None:
        """Adds to the list that is last."""
        if type(self.stack[-1]) is not list:
            raise BadMap("unreadable", "a pickle that appends to what is no list")
        self.stack[-1].extend(items)

    def update(self, items: list[Any]) -> None:
        """Adds keys and values to the dictionary that is last."""
        if type(self.stack[-1]) is not Pairs:
            raise BadMap("unreadable", "a pickle that sets items of what is no dictionary")
        self.stack[-1].pairs.extend(zip(items[::2], items[1::2], strict=True))

    def name(self, text: str) -> None:
        """Writes a name down, if it is one of those that arrays need."""
        if text not in NAMES and text not in STORAGES:
            shown = text.replace(" ", ".", 1)[:80]
            raise BadMap("code", f"it wants {shown!r}, which no array needs; nothing was executed")
        self.stack.append(Name(text))

    def name_from_stack(self) -> None:
        """The same, the name being two values."""
        module, name = self.last(2)
        if not (isinstance(module, str) and isinstance(name, str)):
            raise BadMap("unreadable", "a pickle that imports what is no name")
        self.name(f"{module} {name}")

    def call(self) -> None:
        """Writes a call down."""
        function, arguments = self.last(2)
        if not isinstance(function, Name) or not isinstance(arguments, tuple):
            raise BadMap("code", f"it calls {short(function)}, which is no name; nothing was executed")
        self.stack.append(Call(function.text, arguments))

    def build(self) -> None:
        """Writes down the state of the array or type that is last."""
        (state,) = self.last(1)
        built = self.stack[-1]
        if not isinstance(built, Call) or built.name not in {*RECONSTRUCT, DTYPE} or built.state is not None:
            raise BadMap("code", f"it sets the state of {short(built)}; nothing was executed")
        built.state = state


def short(value: Any) -> str:
    """A value in a message; nested ones only by their kind, for they may be of any depth."""
    if isinstance(value, Name | Call):
        return (value.text if isinstance(value, Name) else value.name).replace(" ", ".", 1)
    flat = isinstance(value, tuple) and len(value) < 9 and all(type(item) is int for item in value)
    if not flat and type(value) not in (int, float, bool, str, bytes):
        return f"a {type(value).__name__}"
    return str(value)[:60] if not isinstance(value, int) or abs(value) < 1 << 64 else "a very large number"


def push(machine: Machine, value: Any) -> None:
    """Adds a value that was made of those above the last mark."""
    machine.stack.append(value)


def fill(machine: Machine, items: list[Any]) -> None:
    """Adds a dictionary of keys and values."""
    machine.stack.append(Pairs())
    machine.update(items)


VALUES = {
    *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
    *("STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"),
    *("BINBYTES", "SHORT_BINBYTES", "BINBYTES8"),
}
STEPS: dict[str, Callable[[Machine, Any], None]] = {
    "PROTO": lambda machine, _: None,
    "FRAME": lambda machine, _: None,
    "NONE": lambda machine, _: machine.stack.append(None),
    "NEWTRUE": lambda machine, _: machine.stack.append(True),
    "NEWFALSE": lambda machine, _: machine.stack.append(False),
    "MARK": lambda machine, _: machine.mark(),
    "EMPTY_TUPLE": lambda machine, _: machine.stack.append(()),
    "TUPLE1": lambda machine, _: machine.stack.append(tuple(machine.last(1))),
    "TUPLE2": lambda machine, _: machine.stack.append(tuple(machine.last(2))),
    "TUPLE3": lambda machine, _: machine.stack.append(tuple(machine.last(3))),
    "TUPLE": lambda machine, _: push(machine, tuple(machine.since_mark())),
    "EMPTY_LIST": lambda machine, _: machine.stack.append([]),
    "LIST": lambda machine, _: push(machine, machine.since_mark()),
    "APPEND": lambda machine, _: machine.extend(machine.last(1)),
    "APPENDS": lambda machine, _: machine.extend(machine.since_mark()),
    "EMPTY_DICT": lambda machine, _: machine.stack.append(Pairs()),
    "DICT": lambda machine, _: fill(machine, machine.since_mark()),
    "SETITEM": lambda machine, _: machine.update(machine.last(2)),
    "SETITEMS": lambda machine, _: machine.update(machine.since_mark()),
    "MEMOIZE": lambda machine, _: machine.remember(len(machine.memo)),
    "PUT": lambda machine, index: machine.remember(index),
    "BINPUT": lambda machine, index: machine.remember(index),
    "LONG_BINPUT": lambda machine, index: machine.remember(index),
    "GET": lambda machine, index: machine.stack.append(machine.memo[index]),
    "BINGET": lambda machine, index: machine.stack.append(machine.memo[index]),
    "LONG_BINGET": lambda machine, index: machine.stack.append(machine.memo[index]),
    "GLOBAL": lambda machine, text: machine.name(text),
    "STACK_GLOBAL": lambda machine, _: machine.name_from_stack(),
    "REDUCE": lambda machine, _: machine.call(),
    "BUILD": lambda machine, _: machine.build(),
    "BINPERSID": lambda machine, _: machine.stack.append(Outside(machine.last(1)[0])),
}
