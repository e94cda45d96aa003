"""What a pickle says, without doing it.

A pickle is a program for a small stack machine, and an unpickler is dangerous because that machine may import any name
and call it. This module has no unpickler. `pickletools.genops`, the disassembler of Python's library, splits the bytes
into opcodes and their arguments; `parse` carries out those that build lists, tuples, dictionaries, numbers and text,
and where the program imports a name or calls one it only writes down the name and the arguments (`Name`, `Call`). No
name is looked up, nothing is called or instantiated, and every other opcode, and every name that no array needs, is
refused.

Dictionaries are kept as pairs, for hashing a key from a hostile file can take forever.
"""

from __future__ import annotations

import io
import pickletools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from stages.core.label_files import BadMap

MOST_OPCODES = 100_000  # a dictionary of the maps of 80 classes has under 10 000
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


def parse(source: bytes | io.BytesIO, most_opcodes: int = MOST_OPCODES) -> Any:
    """What a pickle describes: plain values, `Pairs` for dictionaries, `Name`, `Call` and `Outside` for what it is not.

    A file is left behind the pickle's end. A pickle of more than `most_opcodes` is refused.
    """
    machine = Machine()
    for number, (opcode, argument, _) in enumerate(pickletools.genops(source)):
        if number == most_opcodes:
            raise BadMap("unreadable", f"a pickle of more than {most_opcodes} opcodes")
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
