"""The graph of dvc.yaml as the mermaid diagram of README.md: `python -m tests.structure.diagram` prints it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import networkx
from ruamel.yaml import YAML

from tests.structure.closure import ROOT, texts


def graph(tree: Mapping[str, Any]) -> networkx.DiGraph:
    """Stages, and an arrow from each to those that read what it writes."""
    stages = tree["stages"]
    writes = {
        text: name
        for name, spec in stages.items()
        for kind in ("outs", "metrics", "plots")
        for text in texts(spec.get(kind, []))
    }
    result = networkx.DiGraph()
    result.add_nodes_from(stages)
    reads = ((text, name) for name, spec in stages.items() for text in texts(spec.get("deps", [])))
    result.add_edges_from((writes[text], name) for text, name in reads if text in writes)
    return result


def mermaid(tree: Mapping[str, Any]) -> str:
    """The diagram, without its fences; an arrow that a longer way implies is left out (the transitive reduction)."""
    order = {name: position for position, name in enumerate(tree["stages"])}
    edges = sorted(networkx.transitive_reduction(graph(tree)).edges, key=lambda edge: [order[name] for name in edge])
    return "\n".join(["flowchart LR", *(f"    {first} --> {second}" for first, second in edges)]) + "\n"


def diagrams(readme: str) -> list[str]:
    """The mermaid blocks of a Markdown text, without their fences."""
    return re.findall(r"^```mermaid\n(.*?)^```$", readme, re.MULTILINE | re.DOTALL)


if __name__ == "__main__":
    print(mermaid(YAML(typ="safe").load(ROOT / "dvc.yaml")), end="")  # noqa: T201 - the command's result
