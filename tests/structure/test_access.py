"""A room reads by name what dvc.yaml declares for its stage: nothing else, and all of it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from stages.core.stage import declared_name, is_code
from tests.structure.closure import ROOT, texts

TREE = YAML(typ="safe").load(ROOT / "dvc.yaml")
KINDS = {"params": ("params",), "deps": ("deps",), "outs": ("outs", "metrics", "plots")}
READS_ALL_PARAMS = {"check", "track"}  # they can change no result

# Declared and not read by name, with the reason.
UNREAD = {
    ("download", "deps", "params_ok"): "nothing runs before params.yaml is valid",
    ("download", "deps", "source"): "it is read as the param of the same name; as a dep, a changed source shows",
}


@dataclass
class Reads:
    """What a room reads of its stage: by constant name, and whether it goes over all entries of a kind."""

    names: set[tuple[str, str]] = field(default_factory=set)
    all_of: set[str] = field(default_factory=set)
    computed: set[str] = field(default_factory=set)
    strings: set[str] = field(default_factory=set)


def reads_of(source: str) -> Reads:
    """What the text of a module reads: `stage.deps["raw"]`, `stage.deps.values()`, `stage.deps[name]`."""
    reads = Reads()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            reads.strings.add(node.value)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "dataset_params":
            reads.names.add(("params", "datasets.${dataset}"))
        held = node.value if isinstance(node, ast.Subscript | ast.Attribute) else None
        kind = kind_of(held)
        if kind is None:
            continue
        if isinstance(node, ast.Attribute):
            reads.all_of.add(kind)
        elif isinstance(node.slice, ast.Constant):
            reads.names.add((kind, node.slice.value))
        else:
            reads.computed.add(kind)
    return reads


def kind_of(node: ast.expr | None) -> str | None:
    """`deps` for the expression `stage.deps`, and so on."""
    if isinstance(node, ast.Attribute) and node.attr in KINDS and isinstance(node.value, ast.Name):
        return node.attr if node.value.id == "stage" else None
    return None


def room_reads(room: str, root: Path = ROOT) -> Reads:
    """What all modules of a room read."""
    total = Reads()
    for path in (root / "stages" / room).rglob("*.py"):
        reads = reads_of(path.read_text(encoding="utf-8"))
        total.names |= reads.names
        total.all_of |= reads.all_of
        total.computed |= reads.computed
        total.strings |= reads.strings
    return total


def declared(room: str) -> Iterator[tuple[str, str]]:
    """Kind and name of everything that dvc.yaml declares for a stage."""
    for kind, keys in KINDS.items():
        for text in texts([entry for key in keys for entry in TREE["stages"][room].get(key, [])]):
            if kind == "params" and not text.endswith(".yaml"):
                yield kind, text
            elif kind != "params" and not is_code(text):
                yield kind, declared_name(text)


@pytest.mark.parametrize("room", TREE["stages"])
def test_a_room_reads_what_is_declared(room):
    assert room_reads(room).names <= set(declared(room))


@pytest.mark.parametrize("room", TREE["stages"])
def test_what_is_declared_is_read(room):
    """A name that is computed (`stage.outs[name]`) counts as read if the room holds it as text."""
    reads = room_reads(room)
    unread = {
        (room, kind, name)
        for kind, name in declared(room)
        if (kind, name) not in reads.names
        and kind not in reads.all_of
        and not (kind in reads.computed and name in reads.strings)
    }
    assert unread == {entry for entry in UNREAD if entry[0] == room}


def test_all_of_params_yaml_is_read_by_two_stages_only():
    """They depend on the file or on all of its keys; every other stage reads through `stage.params`.

    Commands that no stage runs (`stages.predict.run`, `stages.track.card`) make nothing that could become stale.
    """
    found = {name for name, spec in TREE["stages"].items() if "params.yaml" in texts(spec.get("params", []))}
    found |= {name for name, spec in TREE["stages"].items() if "params.yaml" in spec.get("deps", [])}
    assert found == READS_ALL_PARAMS
    run = {dep for spec in TREE["stages"].values() for dep in texts(spec["deps"]) if dep.endswith(".py")}
    rooms = {Path(name).parts[1] for name in run if "$" not in name and "read_yaml" in (ROOT / name).read_text()}
    assert rooms - {"core"} == READS_ALL_PARAMS


def test_how_reads_are_found():
    reads = reads_of(
        'a = stage.deps["raw"]\nb = [stage.outs[n] for n in ("x", "y")]\nstage.deps.values()\nother.deps["z"]\n'
        "dataset_params(stage)\nstage.name"
    )
    assert reads.names == {("deps", "raw"), ("params", "datasets.${dataset}")}
    assert reads.all_of == {"deps"}
    assert reads.computed == {"outs"}
    assert {"x", "y"} <= reads.strings
