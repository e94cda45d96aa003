"""The modules that a stage's command imports, which are the code deps that dvc.yaml must declare for it.

python tests/structure/closure.py            names the stages whose deps differ; exit code 1 if there are any
python tests/structure/closure.py --write    rewrites their deps in dvc.yaml, one per line: data first, then code
"""

from __future__ import annotations

import ast
import difflib
import re
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

ROOT = Path(__file__).resolve().parents[2]
REFERENCE = re.compile(r"\$\{[^}]*\}")

Modules = Mapping[str, Path]


def find_modules(root: Path) -> dict[str, Path]:
    """Every module of the pipeline by its dotted name, as a path relative to `root`."""
    modules = {}
    for path in sorted((root / "stages").rglob("*.py")):
        relative = path.relative_to(root)
        parts = relative.with_suffix("").parts
        modules[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = relative
    return modules


@cache
def targets(path: Path, package: tuple[str, ...]) -> frozenset[str]:
    """The dotted names that the file of a module in `package` imports anywhere; perhaps things inside modules."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            source = ".".join([*base, *(node.module or "").split(".")]).strip(".")
            found |= {source} | {f"{source}.{alias.name}" for alias in node.names}
    return frozenset(found)


def imports(name: str, modules: Modules, root: Path) -> set[str]:
    """The modules of the pipeline that module `name` imports, with the packages they lie in."""
    path = modules[name]
    package = tuple(name.split("."))[: None if path.name == "__init__.py" else -1]
    return {known for target in targets(root / path, package) for known in with_packages(target) if known in modules}


def with_packages(name: str) -> list[str]:
    """`a`, `a.b` and `a.b.c` for `a.b.c`: importing a module runs its packages first."""
    parts = name.split(".")
    return [".".join(parts[: depth + 1]) for depth in range(len(parts))]


def closure(names: set[str], modules: Modules, root: Path) -> set[str]:
    """The modules that `names` import, directly or not; of `names` themselves only those that another one imports."""
    found: set[str] = set()
    waiting = set(names)
    seen: set[str] = set()
    while waiting:
        name = waiting.pop()
        seen.add(name)
        reached = imports(name, modules, root)
        found |= reached
        waiting |= reached - seen
    return found


def texts(entries: list[Any]) -> list[str]:
    """The paths of a list of dvc.yaml, whose entries are text or a mapping of a path to its flags."""
    return [entry if isinstance(entry, str) else next(iter(entry)) for entry in entries]


def is_code(text: str) -> bool:
    """Whether a dep is a module of the pipeline."""
    return text.startswith("stages/") and text.endswith(".py")


def needed_code(stage: str, deps: list[str], root: Path) -> list[str]:
    """The modules that stage `stage` must declare, as sorted paths.

    A code dep with a reference (`stages/segment/methods/${method}.py`) stands for the one module that is imported by
    name; what any of the modules in its place imports is needed, they themselves are not.
    """
    modules = find_modules(root)
    names = {path: name for name, path in modules.items()}
    command = f"stages.{stage}.__main__"
    seeds = {command}
    packages = set(with_packages(command))
    for text in deps:
        if is_code(text) and REFERENCE.search(text):
            chosen = {names[path.relative_to(root)] for path in root.glob(REFERENCE.sub("*", text))}
            chosen = {name for name in chosen if modules[name].name != "__init__.py"}
            seeds |= chosen
            packages |= {package for name in chosen for package in with_packages(name)[:-1]}
    needed = closure(seeds | (packages & set(modules)), modules, root) | packages
    return sorted(str(modules[name]) for name in needed if name in modules)


def declared_code(deps: list[str]) -> list[str]:
    """The modules that are declared, without those that a reference stands for."""
    return [text for text in deps if is_code(text) and not REFERENCE.search(text)]


def differences(tree: Mapping[str, Any], root: Path) -> dict[str, list[str]]:
    """By stage, what is declared and not needed (`- path`) and what is needed and not declared (`+ path`)."""
    found = {}
    for stage, spec in tree["stages"].items():
        deps = texts(spec.get("deps", []))
        lines = difflib.ndiff(sorted(declared_code(deps)), needed_code(stage, deps, root))
        changed = [line for line in lines if line[0] in "+-"]
        if changed:
            found[stage] = changed
    return found


def rewrite(path: Path) -> None:
    """Renews the deps of the stages that differ in dvc.yaml at `path`, as lines of text: all others stay as they are.

    A data dep that has its own line keeps it, with its comment.
    """
    tree = YAML().load(path)  # knows where everything stands
    lines = path.read_text(encoding="utf-8").splitlines()
    for stage in reversed(list(differences(tree, path.parent))):
        spec = tree["stages"][stage]
        start, indent = spec.lc.key("deps")
        end = start + 1
        while end < len(lines) and is_inside(lines[end], indent):
            end += 1
        margin = " " * indent
        kept = [text for text in texts(spec["deps"]) if text not in declared_code([text])]
        own = {line.split("#")[0].strip().removeprefix("- ").strip("\"'"): line for line in lines[start + 1 : end]}
        data = [own.get(text, f"{margin}  - {quoted(text)}") for text in kept]
        code = [f"{margin}  - {text}" for text in needed_code(stage, kept, path.parent)]
        lines[start:end] = [f"{margin}deps:", *data, *code]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def is_inside(line: str, indent: int) -> bool:
    """Whether a line belongs to the key that stands `indent` columns from the margin."""
    text = line.lstrip()
    column = len(line) - len(text)
    return bool(text) and (column > indent or (column == indent and text.startswith(("- ", "]"))))


def quoted(text: str) -> str:
    """A path as YAML takes it: in quotes where it has a reference."""
    return f'"{text}"' if REFERENCE.search(text) else text


def main() -> None:
    """See the module."""
    path = ROOT / "dvc.yaml"
    found = differences(YAML(typ="safe").load(path), ROOT)
    for stage, lines in found.items():
        print(f"{stage}:", *lines, sep="\n  ")  # noqa: T201 - the command's result
    if found and "--write" in sys.argv[1:]:
        rewrite(path)
    elif found:
        sys.exit(1)


if __name__ == "__main__":
    main()
