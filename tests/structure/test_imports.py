"""A room imports stages.core and itself, core imports no room, and dvc.yaml declares what a stage imports."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from stages.check.methods import Methods
from tests.structure import closure
from tests.structure.closure import ROOT

TREE = YAML(typ="safe").load(ROOT / "dvc.yaml")
MODULES = closure.find_modules(ROOT)
BY_NAME = {"stages/segment/__main__.py"}  # imports the method of params.yaml, see `closure.needed_code`


def room(name: str) -> str:
    """The room of a module; empty for `stages` itself."""
    return ".".join(name.split(".")[1:2])


def test_the_folder_tree_is_the_pipeline():
    rooms = {room(name) for name in MODULES} - {"", "core"}
    assert rooms == set(TREE["stages"])


@pytest.mark.parametrize("name", TREE["stages"])
def test_a_command_is_the_room_of_its_stage(name):
    """`exec`, because DVC starts a shell: /bin/sh would stay between the two, and outlive a DVC that is killed."""
    assert TREE["stages"][name]["cmd"] == f"exec python -m stages.{name}"


@pytest.mark.parametrize("name", sorted(MODULES))
def test_a_module_imports_core_and_its_own_room(name):
    found = {room(target) for target in closure.imports(name, MODULES, ROOT)}
    assert found <= {"", "core", room(name)}


def test_only_segment_imports_by_name():
    """What is imported by name, the closure does not see."""
    found = set()
    for path in MODULES.values():
        tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
        names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
        names |= {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
        if names & {"import_module", "__import__", "spec_from_file_location", "run_module", "run_path"}:
            found.add(str(path))
    assert found == BY_NAME


def test_each_stage_declares_the_modules_that_it_imports():
    found = closure.differences(TREE, ROOT)
    lines = [f"{stage}: {', '.join(changes)}" for stage, changes in found.items()]
    assert not found, "\n".join([*lines, "python tests/structure/closure.py --write renews the deps of dvc.yaml"])


def test_params_yaml_knows_the_methods_that_there_are():
    files = {path.stem for path in (ROOT / "stages/segment/methods").glob("*.py")} - {"__init__"}
    assert files == set(Methods.model_fields)


@pytest.fixture
def house(tmp_path: Path) -> Path:
    """A small pipeline with each way to import."""
    files = {
        "stages/__init__.py": "",
        "stages/core/__init__.py": "",
        "stages/core/faults.py": "",
        "stages/core/files.py": "import numpy\nfrom stages.core.faults import Fault",
        "stages/core/lazy.py": "",
        "stages/core/unused.py": "",
        "stages/core/nets/__init__.py": "from . import blocks",
        "stages/core/nets/blocks.py": "",
        "stages/core/nets/wide.py": "from ...core import files",
        "stages/a/__init__.py": "",
        "stages/a/__main__.py": "from stages.core.nets import wide\ndef f():\n    import stages.core.lazy",
        "stages/a/methods/__init__.py": "",
        "stages/a/methods/one.py": "from stages.a.loss import loss",
        "stages/a/methods/two.py": "from stages.a.methods import base",
        "stages/a/methods/base.py": "",
        "stages/a/loss.py": "",
        "stages/b/__init__.py": "",
        "stages/b/__main__.py": "from stages.core import faults",
    }
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)
    return tmp_path


def test_the_closure_of_a_stage(house):
    assert closure.needed_code("b", [], house) == [
        "stages/__init__.py",
        "stages/b/__init__.py",
        "stages/b/__main__.py",
        "stages/core/__init__.py",
        "stages/core/faults.py",
    ]
    wide = [
        "stages/__init__.py",
        "stages/a/__init__.py",
        "stages/a/__main__.py",
        "stages/core/__init__.py",
        "stages/core/faults.py",
        "stages/core/files.py",
        "stages/core/lazy.py",
        "stages/core/nets/__init__.py",
        "stages/core/nets/blocks.py",
        "stages/core/nets/wide.py",
    ]
    assert closure.needed_code("a", ["data/raw.zip"], house) == wide


def test_a_module_imported_by_name_adds_what_it_imports_but_not_itself(house):
    plain = closure.needed_code("a", [], house)
    named = closure.needed_code("a", ["stages/a/methods/${method}.py"], house)
    assert set(named) - set(plain) == {"stages/a/loss.py", "stages/a/methods/__init__.py", "stages/a/methods/base.py"}


BEFORE = """\
# The pipeline.
stages:
  a:
    desc: first   # of two
    deps: [data/raw.zip, "stages/a/methods/${method}.py", stages/core/unused.py]
    outs: ["data/${dataset}/a.zip"]

  b:   # second
    deps:
      - "data/${dataset}/a.zip"   # of the first
      - stages/core/unused.py
      - stages/core/faults.py
    plots: [{metrics/b.csv: {cache: false}}]
    params: [params.yaml: []]
"""

AFTER = """\
# The pipeline.
stages:
  a:
    desc: first   # of two
    deps:
      - data/raw.zip
      - "stages/a/methods/${method}.py"
      - A
    outs: ["data/${dataset}/a.zip"]

  b:   # second
    deps:
      - "data/${dataset}/a.zip"   # of the first
      - B
    plots: [{metrics/b.csv: {cache: false}}]
    params: [params.yaml: []]
"""


def test_rewriting_changes_the_deps_that_differ_and_nothing_else(house):
    path = house / "dvc.yaml"
    path.write_text(BEFORE)
    closure.rewrite(path)
    needed_a = closure.needed_code("a", ["stages/a/methods/${method}.py"], house)
    needed_b = closure.needed_code("b", [], house)
    wanted = AFTER.replace("- A", "\n      ".join(f"- {module}" for module in needed_a))
    wanted = wanted.replace("- B", "\n      ".join(f"- {module}" for module in needed_b))
    assert path.read_text() == wanted
    assert closure.differences(YAML(typ="safe").load(path), house) == {}
    closure.rewrite(path)
    assert path.read_text() == wanted
