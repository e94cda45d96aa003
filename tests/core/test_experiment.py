"""What identifies an experiment."""

import subprocess
from pathlib import Path

import pytest

from stages.core import experiment
from stages.core.faults import Fault

PARAMS = """\
dataset: tiny
method: full
seed: 0
datasets: {tiny: {size: 8}, big: {size: 64}}
recipes:
  tiny: {cam: {scales: [1.0, 0.5]}, methods: {full: {w: 1e-05}, tags: {w: 2}}}
  big: {cam: {scales: [1.0]}}
methods: {full: {}, tags: {q: 1}}
pascal_b: {archives: [{size: 5}]}
"""


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    for name in ("DVC_ROOT", "DVC_EXP_NAME", "DVC_EXP_BASELINE_REV"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    Path("params.yaml").write_text(PARAMS)
    return tmp_path


def git(*arguments):
    command = ["git", "-c", "user.name=n", "-c", "user.email=e@example.org", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def test_only_params_that_can_change_the_results_count():
    assert experiment.current_experiment().params == {
        "dataset": "tiny",
        "method": "full",
        "seed": 0,
        "datasets.tiny.size": 8,
        "recipes.tiny.cam.scales": [1.0, 0.5],
        "recipes.tiny.methods.full.w": 1e-05,
        "methods.full": {},
    }


@pytest.mark.parametrize(
    ("old", "new", "same"),
    [
        ("big: {size: 64}", "big: {size: 65}", True),
        ("big: {cam: {scales: [1.0]}}", "big: {cam: {scales: [2.0]}}", True),
        ("tags: {w: 2}", "tags: {w: 3}", True),
        ("tags: {q: 1}", "tags: {q: 2}", True),
        ("size: 5", "size: 6", True),
        ("seed: 0", "seed: 1", False),
        ("size: 8", "size: 9", False),
        ("w: 1e-05", "w: 1e-4", False),
        ("[1.0, 0.5]", "[0.5, 1.0]", False),
    ],
)
def test_the_name_of_a_repro_changes_with_what_it_depends_on(old, new, same):
    before = experiment.current_experiment().name
    Path("params.yaml").write_text(PARAMS.replace(old, new))
    assert (experiment.current_experiment().name == before) is same


def test_the_base_is_head_and_part_of_the_name():
    outside = experiment.current_experiment()
    assert outside.base == "none"
    git("init", "-q")
    git("add", "params.yaml")
    git("commit", "-qm", "one")
    inside = experiment.current_experiment()
    assert inside.base == git("rev-parse", "HEAD")
    assert inside.name == f"repro-{inside.key}" != outside.name
    assert len(inside.key) == 12


def test_dvc_names_the_experiment_and_its_base(monkeypatch):
    monkeypatch.setenv("DVC_EXP_NAME", "lr-1")
    monkeypatch.setenv("DVC_EXP_BASELINE_REV", "a" * 40)
    found = experiment.current_experiment()
    assert (found.name, found.base) == ("lr-1", "a" * 40)


def test_the_main_repository_is_not_the_temporary_workspace(monkeypatch, folder):
    assert experiment.main_repository() == folder.resolve()
    monkeypatch.setenv("DVC_ROOT", "/elsewhere")
    assert experiment.main_repository() == Path("/elsewhere")


@pytest.mark.parametrize(
    ("value", "written"),
    [(True, "true"), (1e-05, "1e-05"), ([1.0, 0.5], "[1.0,0.5]"), ("adamw", "adamw"), (None, "null"), (3, "3")],
)
def test_a_param_is_written_as_exp_run_takes_it(value, written):
    assert experiment.text(value) == written


def test_flatten_keeps_lists_and_empty_sections():
    assert experiment.flatten({"a": {"b": {"c": [1, 2]}, "d": {}}, "e": 1}) == {"a.b.c": [1, 2], "a.d": {}, "e": 1}


def test_missing_params_file_is_a_fault():
    Path("params.yaml").unlink()
    with pytest.raises(Fault, match=r"params\.yaml is missing"):
        experiment.current_experiment()
