"""Experiments on several machines: the launch files under docs, run here, and clones that exchange results.

The machines are clones on this one, with a bare git repository and a DVC remote between them.
"""

from __future__ import annotations

import shutil
import subprocess

import pytest
from ruamel.yaml import YAML

from stages.track import ledger
from tests.pipeline.machines import author, clone, md5
from tests.pipeline.repository import ROOT, Repository

LAUNCH = ROOT / "docs" / "launch"
LIST = "first -S lr=0.5\nsecond -S lr=0.75 -S seed=1\n"
IDENTITY = {f"GIT_{who}_{what}": "tester" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}


def sky() -> dict:
    """The content of sky.yaml."""
    return YAML(typ="safe").load(LAUNCH / "sky.yaml")


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """The clone of the person who starts experiments."""
    folder = tmp_path_factory.mktemp("machines")
    return author(folder / "home", str(folder / "store"))


@pytest.fixture(scope="module")
def array(home):
    """What two tasks of the Slurm array printed, side by side; the second is one that was killed and starts again."""
    folder = home.folder.parent
    (folder / "experiments.txt").write_text(LIST)
    (folder / "clones").mkdir()
    clone(home, folder / "clones" / "second").edit(lr=0.75)
    environment = {"GIT": str(folder / "git"), "CLONES": str(folder / "clones"), **IDENTITY, **home.variables}
    tasks = []
    for number in ("1", "2"):
        task = Repository(folder, environment | {"SLURM_ARRAY_TASK_ID": number})
        tasks.append(task.start("bash", str(LAUNCH / "slurm.sh"), str(folder / "experiments.txt")))
    outputs = [task.communicate(timeout=600)[0] for task in tasks]
    assert [task.returncode for task in tasks] == [0, 0], "\n".join(outputs)
    return outputs


@pytest.mark.parametrize("script", [LAUNCH.joinpath("slurm.sh").read_text(), sky()["setup"], sky()["run"]])
def test_the_launch_files_are_sound_shell(script):
    done = subprocess.run(["bash", "-n"], input=script, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    if shutil.which("shellcheck") is None:
        pytest.skip("shellcheck is not installed; the syntax is right")
    checked = subprocess.run(
        ["shellcheck", "--shell=bash", "--exclude=SC2086", "-"],  # 2086: $CHANGES is meant to be several words
        input=script,
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stdout


def test_sky_names_everything_that_its_commands_use():
    task = sky()
    assert set(task) == {"name", "resources", "envs", "secrets", "setup", "run"}
    for name, value in (task["envs"] | task["secrets"]).items():
        assert value is None, f"{name} has a value, so that SkyPilot would not ask for it"
    for name in ("GIT", "NAME", "CHANGES"):
        assert name in task["envs"]
        assert f"${name}" in task["setup"] + task["run"]


def test_an_array_without_a_list_or_a_number_says_what_is_missing(home):
    script = str(LAUNCH / "slurm.sh")
    code, output = home.attempt("bash", script)
    assert code != 0
    assert "sbatch --array" in output
    outside = Repository(home.folder, {"SLURM_ARRAY_TASK_ID": "1"})
    code, output = outside.attempt("bash", script)
    assert code != 0
    assert "name the list" in output


def test_what_the_array_ran_arrives_in_another_clone(home, array):
    assert all("Running stage 'segment'" in output for output in array)
    assert list((home.folder.parent / "clones").iterdir()) == [], "a finished task leaves its clone"
    other = clone(home, home.folder.parent / "other")
    other.run("dvc", "exp", "pull", "origin", "first", "second")
    other.run("python", "-m", "stages.track.table")
    rows = {row["experiment"]: row for row in ledger.parse(other.read("metrics/experiments.csv"), "")}
    assert {name: (row["params"], row["seed"], row["miou"]) for name, row in rows.items()} == {
        "first": ("lr=0.5", "0", "0.5"),
        "second": ("lr=0.75", "1", "0.75"),
    }
    base = other.run("git", "rev-parse", "HEAD").strip()
    assert {row["commit"] for row in rows.values()} == {base[: ledger.COMMIT_DIGITS]}
    assert other.read("README.md").count("| full | `-S dataset=tiny") == 2

    other.run("git", "checkout", "-q", ".")
    other.run("dvc", "exp", "apply", "second")
    other.run("dvc", "pull")
    assert other.read("models/segmenter.pt") == other.read("metrics/samples/a.png") == "lr: 0.75\n"
    assert other.md5s()["models/segmenter.pt"] == md5("lr: 0.75\n")
    assert other.md5s()["data/dataset.zip"] == md5("pictures\n")
    assert "up to date" in other.run("dvc", "status")


def test_a_task_that_was_killed_before_it_pushed_pushes_what_it_has(home, array):
    folder = home.folder.parent
    (folder / "late.txt").write_text("late -S lr=0.25\n")
    there = clone(home, folder / "clones" / "late")
    there.run("dvc", "exp", "run", "--name", "late", "-S", "lr=0.25")
    environment = {"GIT": str(folder / "git"), "CLONES": str(folder / "clones"), **IDENTITY, **home.variables}
    task = Repository(folder, environment | {"SLURM_ARRAY_TASK_ID": "1"})
    assert "Running stage" not in task.run("bash", str(LAUNCH / "slurm.sh"), str(folder / "late.txt"))
    assert home.run("git", "ls-remote", "origin", "refs/exps/*/late").strip()


def test_sky_runs_the_same_and_takes_from_the_remote_what_another_machine_made(home, array):
    machine = home.folder.parent / "machine"
    machine.mkdir()
    clone(home, machine / "sizewise")
    task = Repository(machine, home.variables | {"NAME": "third", "CHANGES": "-S lr=0.5"})
    output = task.run("bash", "-c", sky()["run"])
    assert "Stage 'segment' is cached" in output
    assert "Running stage 'segment'" not in output
    assert "Running stage 'track'" in output
    assert home.run("git", "ls-remote", "origin", "refs/exps/*/third").strip()
    finished = Repository(machine / "sizewise")
    assert finished.md5s()["models/segmenter.pt"] == md5("lr: 0.5\n")
    assert ledger.parse(finished.read("metrics/experiments.csv"), "")[-1]["experiment"] == "third"
