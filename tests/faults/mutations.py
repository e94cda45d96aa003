"""Ways to spoil params.yaml: another value at a key, another shape of a section, or broken text."""

from __future__ import annotations

import copy
import io
import random
from collections.abc import Iterator
from typing import Any

from ruamel.yaml import YAML

Tree = dict[str, Any]
Path = tuple[str | int, ...]

NUMBERS = (
    *(0, -1, 1, 2, 3, 7, 8, 16, 255, 256, 10**6, 2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**63, 2**64, 10**30, 10**400),
    *(0.0, -0.0, 0.5, 1.0, 3.7, -0.1, 0.999999999, 1e-9, 1e-38, 1e-300, 5e-324, 1e9, 1e38, 1e300, 1.7e308),
    *(float("inf"), float("-inf"), float("nan")),
)
TEXTS = (
    *("", " ", "none", "all", "keep", "any", "null", "1e400", "0x10", "\0", "é", "日本語", "\u202egnp", "a" * 5000),
    *("../x", "/etc/passwd", "/" + "a" * 5000, "/nowhere/\nx", "${seed}", "${", "'", '"', "\n", "{", "#", "\t"),
    *("!!python/object", "*x", "&x", "- x", "a: b", "/x.py", "x.py", "imagenet", "(?P<subject>.)(?P<place>.)"),
    *("a{99999999999}", "(" * 2000, "\ud800"),
)
OTHERS = (
    True,
    False,
    None,
    [],
    {},
    [1],
    [1, 2],
    [2, 1],
    ["a", "a"],
    [[1]],
    {"a": 1},
    {"x": {"y": []}},
    [None],
    [1e300],
)
CHOICES = tuple((key,) for key in ("dataset", "method", "source", "pseudo_masks", "size_file", "seed"))
SUBTREES = (
    *CHOICES,
    *((("recipes", "tiny"),) * 20),
    *((("methods",), ("size_targets",), ("datasets", "tiny")) * 4),
    *((("balance",), ("evaluate",), ()) * 2),
)


def leaves(tree: Any, start: Path = ()) -> Iterator[Path]:
    """The path of every value that is no section."""
    if isinstance(tree, dict):
        for key, value in tree.items():
            yield from leaves(value, (*start, key))
    else:
        yield start
        if isinstance(tree, list):
            yield from ((*start, index) for index in range(len(tree)))


def sections(tree: Any, start: Path = ()) -> Iterator[Path]:
    """The path of every section but the whole."""
    for key, value in tree.items():
        if isinstance(value, dict):
            yield (*start, key)
            yield from sections(value, (*start, key))


def at(tree: Any, path: Path) -> Any:
    """The value at a path."""
    for key in path:
        tree = tree[key]
    return tree


def put(tree: Any, path: Path, value: Any) -> None:
    """Sets the value at a path; `...` removes it."""
    holder = at(tree, path[:-1])
    if value is ...:
        del holder[path[-1]]
    else:
        holder[path[-1]] = value


def near(value: Any, chance: random.Random) -> Any:
    """A value that is almost this one, or the same in another type."""
    ways: list[Any] = [str(value), [value], {"a": value}, [value, value]]
    if isinstance(value, int | float) and not isinstance(value, bool):
        ways += [value * 2, value / 2, value + 1, value - 1, -value, value * 10, value / 10, float(value), value * 1000]
        ways += [int(value)] * 2 if abs(value) < 2**60 else []
    if isinstance(value, str):
        ways += [value.upper(), value + " ", value[:-1], value + "x", value.encode().hex()]
    if isinstance(value, list):
        ways += [
            value[::-1],
            value + value,
            value[:1],
            [*value, 5],
            [*value, 0.25],
            [value],
            dict.fromkeys(map(str, value)),
        ]
    if isinstance(value, dict):
        ways += [list(value), list(value.values()), value | {"other": 1}, {str(key).upper(): 1 for key in value}]
    return chance.choice(ways)


def spoil(tree: Tree, chance: random.Random) -> tuple[Path, str]:
    """Changes a tree in one place, and gives the path of that place and what was done."""
    inside = chance.choice([path for path in SUBTREES if path[:1] == () or path[0] in tree])
    part = at(tree, inside)
    paths = [(*inside, *path) for path in leaves(part)]
    groups = [(*inside, *path) for path in sections(part)] if isinstance(part, dict) else []
    words = sorted({value for path in leaves(tree) if isinstance(value := at(tree, path), str)})
    kind = chance.choice(
        ["value"] * 8 + ["near"] * 8 + ["word"] * 2 + ["remove", "add", "swap", "scalar", "typo", "key"]
    )
    path = chance.choice(paths)
    if kind in ("add", "swap", "scalar", "key") and not groups:
        kind = "near"
    if kind == "value":
        value = chance.choice(chance.choice((NUMBERS, NUMBERS, TEXTS, OTHERS)))
    elif kind == "near":
        value = near(at(tree, path), chance)
    elif kind == "word":
        value = chance.choice(words)
    elif kind == "remove":
        path, value = chance.choice(paths + groups), ...
    elif kind == "add":
        path = (*chance.choice(groups), chance.choice(("extra", "Seed", "<<", "a.b", "", "é", "x" * 300)))
        value = chance.choice((1, None, {}, "x"))
    elif kind == "key":
        path = (*chance.choice(groups), chance.choice((1, 2.5, None, True, (1, 2))))
        value = 1
    elif kind == "scalar":
        path, value = chance.choice(groups), chance.choice((*NUMBERS[:4], *TEXTS[:4], *OTHERS))
    elif kind == "swap":
        path, other = chance.choice(groups), chance.choice(list(sections(tree)))
        value = copy.deepcopy(at(tree, other))
    else:  # typo
        path = next((path for path in chance.sample(paths, len(paths)) if isinstance(path[-1], str)), ("seed",))
        value = at(tree, path)
        put(tree, path, ...)
        path = (*path[:-1], path[-1] + "s")
    put(tree, path, copy.deepcopy(value))
    return path, f"{kind} {'.'.join(map(str, path))[:80]} = {str(value)[:60]!r}"


def as_text(tree: Tree) -> str:
    """The tree as YAML."""
    yaml, buffer = YAML(typ="safe", pure=True), io.StringIO()
    yaml.default_flow_style = False
    yaml.width = 10**6
    yaml.dump(tree, buffer)
    return buffer.getvalue()


BOMB = "\n".join(
    ["b0: &b0 [x, x, x, x, x, x, x, x, x]"] + [f"b{n}: &b{n} [{', '.join([f'*b{n - 1}'] * 9)}]" for n in range(1, 25)]
)


def broken_texts(text: str, marker: str, chance: random.Random) -> Iterator[tuple[str, str]]:
    """Endless: what was done to the text, and the text; `marker` is a file that nothing may make."""
    lines = text.splitlines()
    tags = (
        f'!!python/object/apply:os.system ["touch {marker}"]',
        f'!!python/object/new:os.system ["touch {marker}"]',
        f'!!python/object/apply:subprocess.check_call [[touch, "{marker}"]]',
        "!!python/name:os.system", "!!python/module:os", "!!python/tuple [1, 2]", "!!int abc", "!!float abc",
        "!!bool maybe", "!!binary '%%%'", "!!timestamp never", "!!set {a, b}", "!!omap [a: 1]", "!own 1",
        "!<tag:x> 1", "2001-99-99",
        "2001-01-01", "12:30:45", "0o777", "0b12", "0x", "1_000", "010", "+.inf", ".NaN", "~", "yes", "*nowhere", "&x",
        "%", "@x", "`x`", "|", ">", "? a", "<<: 1", "1" * 5000, "{" * 3000, "[" * 3000, "&a [*a]", "&a {a: *a}",
        "\u0085", "\ufeff",
    )  # fmt: skip
    while True:
        number = chance.randrange(len(lines))
        line = lines[number]
        key = line.partition(":")[0]
        place = chance.randrange(len(text))
        kinds = {
            "cut": lambda: text[:place],
            "NUL": lambda: text[:place] + "\0" + text[place:],
            "control": lambda: text[:place] + chance.choice("\x01\x07\x1b\x7f\ufffe\u2028") + text[place:],
            "tab": lambda: "\n".join([*lines[:number], "\t" + line, *lines[number + 1 :]]),
            "indent": lambda: "\n".join([*lines[:number], " " + line, *lines[number + 1 :]]),
            "twice": lambda: "\n".join([*lines[: number + 1], *lines[number:]]),
            "tag": lambda: "\n".join([*lines[:number], f"{key}: {chance.choice(tags)}", *lines[number + 1 :]]),
            "tag at the end": lambda: f"{text}\nextra: {chance.choice(tags)}\n",
            "quote": lambda: text[:place] + chance.choice("'\"{}[],:#&*!|>%@`-?") + text[place:],
            "letter": lambda: text[:place] + chance.choice("abcxyz019.-_~é") + text[place + 1 :],
            "removed line": lambda: "\n".join([*lines[:number], *lines[number + 1 :]]),
            "two documents": lambda: f"{text}\n---\na: 1\n",
            "empty": lambda: chance.choice(("", "\n", "# nothing", "[]", "1", "x", "---", "null", "\ufeff" + text)),
            "aliases": lambda: f"{BOMB}\n{text}",
            "aliases for a value": lambda: (
                f"{BOMB}\n" + "\n".join([*lines[:number], f"{key}: *b24", *lines[number + 1 :]])
            ),
            "line ends": lambda: text.replace("\n", chance.choice(("\r\n", "\r", "\n\n"))),
        }
        kind = chance.choice([*kinds, "tag", "tag", "quote", "letter", "cut"])
        yield f"{kind} at line {number + 1}: {line.strip()[:40]!r}", kinds[kind]()
