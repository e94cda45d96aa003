"""dvc.yaml says what DVC runs, names only params that exist, and is what README.md draws."""

from __future__ import annotations

import io
from itertools import product

import pytest
from dvc.dependency import ParamsDependency
from dvc.repo import Repo
from ruamel.yaml import YAML

from stages.core.params import interpolate, look_up, read_yaml
from stages.core.stage import load
from tests.structure.closure import ROOT, texts
from tests.structure.diagram import diagrams, graph, mermaid

TREE = YAML(typ="safe").load(ROOT / "dvc.yaml")
PARAMS = read_yaml(ROOT / "params.yaml")


@pytest.mark.parametrize(("dataset", "method"), list(product(PARAMS["datasets"], PARAMS["methods"])))
def test_every_key_exists_for_every_data_set_and_method(dataset, method):
    """A missing key would otherwise show when its stage is reached, hours into a run."""
    chosen = PARAMS | {"dataset": dataset, "method": method}
    for spec in TREE["stages"].values():
        for text in texts(spec.get("params", [])):
            if not text.endswith(".yaml"):
                look_up(chosen, interpolate(text, chosen))


def test_params_survive_a_program_that_rewrites_them_without_quotes():
    """A value that needs its quotes inside braces, as an address does, stands in a block, where it needs none."""
    yaml, rewritten = YAML(), io.StringIO()
    yaml.dump(yaml.load(ROOT / "params.yaml"), rewritten)
    assert YAML(typ="safe").load(rewritten.getvalue()) == YAML(typ="safe").load(ROOT / "params.yaml")


def test_a_stage_is_what_dvc_makes_of_it():
    """Our reading of dvc.yaml, which is all that a room sees, is DVC's."""
    stages = {stage.name: stage for stage in Repo(str(ROOT)).index.stages}
    assert set(stages) == set(TREE["stages"])
    for name, theirs in stages.items():
        ours = load(name, ROOT)
        tracked = [dep for dep in theirs.deps if isinstance(dep, ParamsDependency)]
        plain = {dep.def_path for dep in theirs.deps if not isinstance(dep, ParamsDependency)}
        assert {str(path) for path in (*ours.deps.values(), *ours.code)} == plain
        assert {str(path) for path in ours.outs.values()} == {out.def_path for out in theirs.outs}
        assert {interpolate(text, PARAMS) for text in ours.params} == {key for dep in tracked for key in dep.params}
        assert {dep.def_path for dep in tracked} <= {"params.yaml"}


def test_no_stage_is_without_a_description():
    assert all(spec.get("desc") for spec in TREE["stages"].values())


def test_the_readme_draws_the_pipeline():
    readme = ROOT / "README.md"
    if not readme.exists():
        pytest.skip("README.md is not written yet")
    hint = "python -m tests.structure.diagram prints the diagram of dvc.yaml"
    assert diagrams(readme.read_text(encoding="utf-8")) == [mermaid(TREE)], hint


def test_the_diagram_of_a_small_pipeline():
    tree = {
        "stages": {
            "make": {"outs": [{"a.zip": {"cache": False}}]},
            "train": {"deps": ["a.zip", "code.py"], "outs": ["m.pt"], "plots": ["log.csv"]},
            "score": {"deps": ["a.zip", "m.pt", "log.csv"]},
        }
    }
    assert set(graph(tree).edges) == {("make", "train"), ("train", "score"), ("make", "score")}
    assert mermaid(tree) == "flowchart LR\n    make --> train\n    train --> score\n"
    assert diagrams(f"# x\n\n```mermaid\n{mermaid(tree)}```\n\n```sh\nls\n```\n") == [mermaid(tree)]
