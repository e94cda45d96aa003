"""params.yaml as immutable values, with the text of dvc.yaml as the only way in."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.constructor import ConstructorError, SafeConstructor
from ruamel.yaml.error import YAMLError

from stages.core.faults import Fault

REFERENCE = re.compile(r"\$\{([\w.]+)\}")
MOST_VALUES, DEEPEST = 200_000, 64  # of a file: aliases of aliases make a few lines into more than any memory


class Params(Mapping[str, Any]):
    """A read-only section of params.yaml: `section.key` and `section["key"]` are the same value.

    Nested mappings become Params and lists become tuples, so that no stage can change what another one reads.
    A key that is not there raises a Fault that names the section and its keys.
    """

    __slots__ = ("_name", "_values")

    def __init__(self, values: Mapping[str, Any], name: str = "params") -> None:
        frozen = {key: freeze(value, f"{name}.{key}") for key, value in values.items()}
        object.__setattr__(self, "_values", frozen)
        object.__setattr__(self, "_name", name)

    def __getattr__(self, key: str) -> Any:
        if key.startswith("__"):
            raise AttributeError(key)
        return self[key]

    def __setattr__(self, key: str, value: Any) -> None:
        raise AttributeError(f"{self._name} is read-only")

    def __getitem__(self, key: str) -> Any:
        try:
            return self._values[key]
        except KeyError:
            raise Fault(f"{self._name} has no key {key!r}; it has {', '.join(self._values) or 'none'}") from None

    def __contains__(self, key: object) -> bool:
        return key in self._values

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return f"Params({self.plain()})"

    def __reduce__(self) -> tuple:
        return Params, (self.plain(), self._name)

    def plain(self) -> dict[str, Any]:
        """The same values as ordinary dicts and lists, for JSON and fingerprints."""
        return {key: thaw(value) for key, value in self._values.items()}


def freeze(value: Any, name: str) -> Any:
    """Params for a mapping, a tuple for a list, anything else unchanged."""
    if isinstance(value, Mapping):
        return Params(value, name)
    if isinstance(value, list | tuple):
        return tuple(freeze(item, name) for item in value)
    return value


def thaw(value: Any) -> Any:
    """The inverse of `freeze`."""
    if isinstance(value, Params):
        return value.plain()
    if isinstance(value, tuple):
        return [thaw(item) for item in value]
    return value


def read_yaml(path: Path) -> dict[str, Any]:
    """A YAML 1.2 file as a dict.

    YAML 1.1 reads the `1e-05` that `dvc exp run -S lr=1e-5` writes as text; 1.2 reads it as a number.

    Raises:
        Fault: the file is missing, is not UTF-8 text, is not YAML, holds no mapping, or more than any params.
    """
    try:
        content = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise Fault(f"{path} is missing; run the command in the project's folder") from None
    except UnicodeDecodeError as error:
        raise Fault(f"{path} is not UTF-8 text (byte {error.start})") from None
    except OSError as error:
        raise Fault(f"{path} cannot be read: {error.strerror}") from None
    return parse_yaml(content, path)


def parse_yaml(content: str, name: str | Path) -> dict[str, Any]:
    """YAML 1.2 text as a dict; `name` is what it is called in a message.

    Raises:
        Fault: it is not YAML, holds no mapping, or more than any params.
    """
    try:
        yaml = YAML(typ="safe")
        yaml.Constructor = Marked
        tree = yaml.load(content)
    except YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        before = mark.line if mark else content.count("\n", 0, getattr(error, "position", 0))
        what = getattr(error, "problem", None) or getattr(error, "reason", error)
        raise Fault(f"{name} is not YAML in line {before + 1}: {what}") from None
    except RecursionError:
        raise Fault(f"{name} is nested deeper than any params") from None
    if not isinstance(tree, dict):
        raise Fault(f"{name} holds no mapping")
    if not is_bounded(tree):
        raise Fault(f"{name} holds over {MOST_VALUES} values or {DEEPEST} levels, each use of an alias (*) counted")
    return tree


class Marked(SafeConstructor):
    """Tells in which line a value is that is not of its type, as `2001-99-99`, which looks like a date."""

    def construct_object(self, node: Any, deep: bool = False) -> Any:
        """A value of the file."""
        try:
            return super().construct_object(node, deep)
        except (ValueError, TypeError, AttributeError, KeyError, IndexError, OverflowError) as error:
            text = str(node.value)[:40]
            raise ConstructorError(None, None, f"{text!r} is no value ({error})", node.start_mark) from None


def is_bounded(tree: Any) -> bool:
    """Whether mappings and lists hold no more values than allowed, and no deeper ones; one that holds itself does."""
    count, level = 0, [tree]
    for _ in range(DEEPEST):
        inner: list[Any] = []
        for value in level:
            held = value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ()
            count += len(held)
            if count > MOST_VALUES:
                return False
            inner.extend(held)
        level = inner
    return not level


def look_up(tree: Mapping[str, Any], dotted: str, file: str = "params.yaml") -> Any:
    """The value at `a.b.c` of nested mappings, which were read from `file`.

    Raises:
        Fault: a part of the way is missing; the message lists what there is.
    """
    value: Any = tree
    walked: list[str] = []
    for part in dotted.split("."):
        if not isinstance(value, Mapping) or part not in value:
            there = ", ".join(map(str, value)) if isinstance(value, Mapping) else "a single value"
            raise Fault(f"{file} has no {dotted!r}: {'.'.join(walked) or 'its top level'} holds {there}")
        value = value[part]
        walked.append(part)
    return value


def interpolate(text: str, tree: Mapping[str, Any]) -> str:
    """`text` with each `${key}` replaced by its value in params.yaml, as DVC does."""
    return REFERENCE.sub(lambda match: str(look_up(tree, match[1])), text)
