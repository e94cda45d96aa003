"""The table of experiments: one row per experiment, whatever DVC and git do with the file."""

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest

from stages.core.experiment import current_experiment
from stages.core.faults import Fault
from stages.core.files import csv_text
from stages.track import ledger

HEADER = ",".join(ledger.COLUMNS)
FILE = Path("metrics/experiments.csv")
PARAMS = """\
dataset: tiny
method: full
source: stages/shapes.py
seed: 0
recipes: {tiny: {predict: {flip: true, scales: [1.0]}}, big: {predict: {flip: true}}}
methods: {full: {w: 1}, tags: {w: 2}}
"""


def git(*arguments):
    return subprocess.run(["git", *arguments], check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture(autouse=True)
def repository(tmp_path, monkeypatch):
    """A git repository with a committed params.yaml and one module."""
    for name in ("DVC_ROOT", "DVC_EXP_NAME", "DVC_EXP_BASELINE_REV"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    Path("params.yaml").write_text(PARAMS)
    Path("stages").mkdir()
    Path("stages/shapes.py").write_text("")
    git("init", "-q")
    git("config", "user.name", "n")
    git("config", "user.email", "n@example.org")
    git("add", ".")
    git("commit", "-qm", "one")
    return tmp_path


def row(name, commit="0123456789", **cells):
    return dict.fromkeys(ledger.COLUMNS, "") | {"experiment": name, "commit": commit} | cells


def edit(*changes):
    content = PARAMS
    for old, new in changes:
        assert old in content
        content = content.replace(old, new)
    Path("params.yaml").write_text(content)


def test_the_row_of_an_experiment(monkeypatch):
    edit(
        ("method: full", "method: tags"),
        ("seed: 0", "seed: 3"),
        ("flip: true, scales: [1.0]", "flip: false, scales: [0.5, 1.0]"),
    )
    monkeypatch.setenv("DVC_EXP_NAME", "flips")
    summary = {"miou": 1 / 3, "ia_miou": 0.5, "ia_s": None, "size_error": float("nan"), "ia_l": 1}
    found = ledger.row_of(current_experiment(), summary, {"train_minutes": 2.5})
    assert tuple(found) == ledger.COLUMNS
    assert found == row(
        "flips",
        git("rev-parse", "HEAD")[:10],
        dataset="tiny",
        method="tags",
        seed="3",
        params="recipes.tiny.predict.flip=false recipes.tiny.predict.scales=[0.5,1.0]",
        miou="0.333333",
        ia_miou="0.5",
        ia_l="1",
        train_minutes="2.5",
    )


def test_params_of_other_data_sets_and_methods_are_no_difference():
    edit(("big: {predict: {flip: true}}", "big: {predict: {flip: false}}"), ("tags: {w: 2}", "tags: {w: 3}"))
    assert ledger.changed_params(current_experiment()) == ""


def test_a_section_in_place_of_a_value_is_one_change():
    edit(("scales: [1.0]}}", "scales: [1.0]}, crf: none}"))
    git("commit", "-qam", "two")
    edit(("scales: [1.0]}}", "scales: [1.0]}, crf: {kernels: {rgb: 3, xy: [1, 2]}, iterations: 10}}"))
    found = ledger.changed_params(current_experiment())
    assert found == "recipes.tiny.crf={kernels:{rgb:3,xy:[1,2]},iterations:10}"


def test_an_absolute_path_keeps_only_its_name():
    edit(("stages/shapes.py", "/home/ann/VOC2012"))
    assert ledger.changed_params(current_experiment()) == "source=.../VOC2012"


def test_differences_are_from_the_experiments_commit(monkeypatch):
    first = git("rev-parse", "HEAD")
    edit(("flip: true, scales", "flip: false, scales"))
    git("commit", "-qam", "two")
    assert ledger.changed_params(current_experiment()) == ""
    monkeypatch.setenv("DVC_EXP_BASELINE_REV", first)
    assert ledger.changed_params(current_experiment()) == "recipes.tiny.predict.flip=false"


@pytest.mark.parametrize("path", ["stages/shapes.py", "stages/new.py"])
def test_a_row_says_that_its_code_was_not_committed(path):
    assert ledger.code_commit(current_experiment()) == git("rev-parse", "HEAD")[:10]
    Path(path).write_text("print(1)\n")
    assert ledger.code_commit(current_experiment()) == git("rev-parse", "HEAD")[:10] + "+"


def test_a_metric_without_a_column_is_a_defect():
    with pytest.raises(ValueError, match="accuracy"):
        ledger.row_of(current_experiment(), {"miou": 1.0, "accuracy": 1.0}, {})


def test_dice_is_that_of_the_headline_split():
    edit(("seed: 0\n", "seed: 0\ndatasets: {tiny: {headline: test}, big: {headline: val}}\n"))
    scores = [{"split": "val", "dice": "0.5"}, {"split": "test", "dice": "0.25"}]
    assert ledger.mean_dice(current_experiment(), scores) == 0.25
    assert np.isnan(ledger.mean_dice(current_experiment(), [{"split": "test", "dice": ""}]))


def test_rows_from_before_there_was_a_dice_have_none():
    FILE.parent.mkdir()
    older = [column for column in ledger.COLUMNS if column != "dice"]
    FILE.write_text(csv_text([{"experiment": "a", "commit": "1", "miou": "0.5", "train_minutes": "3"}], older))
    expected = [row("a", "1", miou="0.5", train_minutes="3"), row("b", dice="0.75")]
    assert ledger.gather(FILE, [row("b", dice="0.75")]) == expected
    assert ledger.read(FILE) == expected
    assert tuple(expected[0]) == ledger.COLUMNS


def test_the_same_experiment_replaces_its_row_where_it_stands():
    ledger.gather(FILE, [row("a", miou="1"), row("b", miou="2"), row("a", "9999999999", miou="3")])
    ledger.gather(FILE, [row("a", "0123456789+", miou="4")])
    assert [(found["experiment"], found["miou"]) for found in ledger.read(FILE)] == [("a", "4"), ("b", "2"), ("a", "3")]
    assert FILE.read_text().splitlines()[0] == HEADER


def test_an_unchanged_file_is_not_written_again():
    ledger.gather(FILE, [row("a")])
    before = FILE.stat().st_mtime_ns
    ledger.gather(FILE, [row("a")])
    assert FILE.stat().st_mtime_ns == before


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (f"{HEADER}\n<<<<<<< HEAD\n", r"experiments\.csv: row 2 has 1 cells, not 17"),
        ("experiment,miou\n", r"experiments\.csv: the header must be experiment,commit"),
    ],
)
def test_a_file_that_was_not_written_by_track_is_a_fault(content, message):
    FILE.parent.mkdir()
    FILE.write_text(content)
    with pytest.raises(Fault, match=message):
        ledger.gather(FILE, [row("a")])
    assert FILE.read_text() == content


def test_rows_of_experiments_that_dvc_keeps_come_back():
    ledger.gather(FILE, [row("old", miou="1"), row("kept", miou="2")])
    git("add", ".")
    git("commit", "-qm", "an experiment's commit")
    base = git("rev-parse", "HEAD~")
    git("update-ref", f"refs/exps/{base[:2]}/{base[2:]}/kept", "HEAD")
    git("update-ref", "refs/exps/exec/EXEC_APPLY", "HEAD")  # one of DVC's own, no experiment
    FILE.write_text(f"{HEADER}\n")
    # Of each experiment only its own row: what else its file holds is a copy that may be out of date.
    assert ledger.gather(FILE) == ledger.read(FILE) == [row("kept", miou="2")]


def test_a_temporary_workspace_adds_only_its_own_row(tmp_path, monkeypatch):
    (tmp_path / "main").mkdir()
    monkeypatch.setenv("DVC_ROOT", str(tmp_path / "main"))
    monkeypatch.setattr(ledger, "known_to_dvc", lambda path: pytest.fail("asked for all experiments"))
    assert ledger.gather(FILE, [row("temp")]) == [row("temp")]
    assert list((tmp_path / "main").iterdir()) == []


def test_writers_take_turns(tmp_path):
    code = "import sys, time; from pathlib import Path; from stages.track import ledger\n" + (
        "row = dict.fromkeys(ledger.COLUMNS, '')\n"
        "for n in range(20):\n"
        f"    ledger.gather(Path({str(FILE)!r}), [row | {{'experiment': sys.argv[1] + str(n)}}])\n"
    )
    root = Path(__file__).parents[2]
    environment = {"PYTHONPATH": str(root), "PATH": "/usr/bin:/bin"}
    import sys

    processes = [subprocess.Popen([sys.executable, "-c", code, name], env=environment) for name in "ab"]
    assert [process.wait(timeout=60) for process in processes] == [0, 0]
    assert len(ledger.read(FILE)) == 40


def test_row_survives_json_summary(tmp_path):
    summary = json.loads('{"miou": 0.1234567, "ia_s": null}')
    assert ledger.row_of(current_experiment(), summary, {})["miou"] == "0.123457"
