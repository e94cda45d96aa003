"""MLflow's server away in every way: training goes on at its pace; what is missing arrives later or is said to."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import time
from pathlib import Path

import pytest
from mlflow import MlflowClient

from stages.core import tracking
from tests.faults.rooms import EPOCHS as TRAINED
from tests.faults.rooms import READY
from tests.faults.store_server import WAYS, Door, mlflow_server

EPOCHS = 6
TIMEOUT = 2  # seconds that MLflow's client waits for an answer; 10 as we set it
WARNING = "MLflow does not take metrics"
AT_ONCE = 8


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """The port of MLflow's server."""
    with mlflow_server(tmp_path_factory.mktemp("server")) as port:
        yield port


@pytest.fixture
def door(server):
    """The door before the server; it is open."""
    made = Door(server)
    yield made
    made.close()


@pytest.fixture
def workspace(tmp_path, monkeypatch, door):
    """An experiment whose runs go through the door."""
    for name in ("DVC_EXP_BASELINE_REV", "SIZEWISE_TRACK"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", door.address)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", str(TIMEOUT))
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    monkeypatch.setattr(tracking, "machine_tags", dict)
    monkeypatch.chdir(tmp_path)
    Path("params.yaml").write_text("dataset: tiny\nmethod: full\nseed: 0\n")
    return tmp_path


def steps(name: str) -> list[int]:
    """The epochs whose loss the store has for the experiment of that name."""
    with tracking.open_store() as store:
        parent = store.find({tracking.NAME_TAG: name})
        child = parent and store.find({tracking.PARENT_TAG: parent.info.run_id})
        return sorted({one.step for one in store.client.get_metric_history(child.info.run_id, "loss")}) if child else []


def test_a_server_away_for_some_epochs(workspace, door, count, whole, monkeypatch, capfd):
    """It goes at one epoch and comes back at another or never; a train of epochs that take no time shows each wait."""
    tally = count("MLflow's server away from one epoch of a training to another")
    spans = [(0, 1), (0, 4), (1, 3), (2, EPOCHS + 1), (EPOCHS, EPOCHS + 1), (0, EPOCHS + 1)]
    trials = [(way, span) for way in WAYS for span in spans]
    for number, (way, (first, last)) in enumerate(trials if whole else trials[1::7]):
        name = f"away-{number}"
        monkeypatch.setenv("DVC_EXP_NAME", name)
        with tally.trial(f"{way} from epoch {first} to {last}"):
            seconds = train(door, way, first, last)
            said = capfd.readouterr().err
            assert seconds < 3 * 2 * (TIMEOUT + 3) + 30, f"{seconds:.0f} s of waiting"
            assert said.count(WARNING) <= 1, said
            assert "Traceback" not in said
            door.way = "open"
            there = steps(name)
            assert there == list(range(1, EPOCHS + 1)) or WARNING in said, f"{there} are there and nothing is said"
            if last <= EPOCHS:
                assert there == list(range(1, EPOCHS + 1)), f"the server came back, and only {there} are there"


def train(door: Door, way: str, first: int, last: int) -> float:
    """Logs epochs with the server away from epoch `first`, 0 for the start, up to `last`; the seconds that it took."""
    door.way = way if first == 0 else "open"
    began = time.monotonic()
    with tracking.child_run("segment") as log:
        for epoch in range(1, EPOCHS + 1):
            door.way = way if first <= epoch < last else "open"
            log(epoch, {"loss": 1 / epoch})
    return time.monotonic() - began


def test_a_real_training_and_its_last_stage(finished, tmp_path, door, count, whole):
    """The same bytes whatever the server does; `track` says what to do, and ends well once the server is back."""
    tally = count("MLflow's server away in a real training and in stage `track`")
    project, sound = finished.copy(tmp_path / "project"), finished.md5s("segment")
    variables = {
        "SIZEWISE_TRACK": "1",
        "MLFLOW_TRACKING_URI": door.address,
        "MLFLOW_HTTP_REQUEST_TIMEOUT": str(TIMEOUT),
    }
    for way in WAYS if whole else WAYS[1:2]:
        with tally.trial(way):
            project.remove_outs("segment")
            shutil.rmtree(project.folder / ".scratch/checkpoints", ignore_errors=True)
            door.way = "open"
            running = project.begin("segment", **variables)
            while running.process.is_alive() and not list(project.folder.glob(".scratch/checkpoints/*/segment.pt")):
                time.sleep(0.002)
            door.way = way  # after the run was made and an epoch was logged
            ending = running.end()
            assert (ending.code, project.md5s("segment")) == (0, sound), ending.output
            assert WARNING in ending.output, f"{TRAINED} epochs, and nothing is said: {ending.output}"
            project.run("track", **variables).told("cannot be written to MLflow")
            door.way = "open"
            ending = project.run("track", **variables)
            assert ending.code == 0, ending.output


def begin(folder: str, name: str) -> None:
    """One of several experiments that start at once, in a process of its own."""
    os.environ.update({"DVC_ROOT": folder, "DVC_EXP_NAME": name})
    os.environ.pop("MLFLOW_TRACKING_URI", None)
    os.chdir(folder)
    tracking.machine_tags = dict
    Path(f"ready-{name}").touch()
    while not Path("go").exists():
        time.sleep(0.005)
    with tracking.child_run("segment") as log:
        for epoch in range(1, EPOCHS + 1):
            log(epoch, {"loss": 1 / epoch})


def test_experiments_that_start_at_once_on_no_database(tmp_path, count, whole, monkeypatch, capfd):
    tally = count(f"{AT_ONCE} experiments at once on no MLflow database, each an experiment")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(READY)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    for round_number in range(4 if whole else 1):
        folder = tmp_path / str(round_number)
        folder.mkdir()
        (folder / "params.yaml").write_text("dataset: tiny\nmethod: full\nseed: 0\n")
        names = [f"e{number}" for number in range(AT_ONCE)]
        processes = [context.Process(target=begin, args=(str(folder), name)) for name in names]
        for process in processes:
            process.start()
        while len(list(folder.glob("ready-*"))) < AT_ONCE:
            assert all(process.is_alive() for process in processes)
            time.sleep(0.02)
        (folder / "go").touch()
        for process in processes:
            process.join(600)
        said = capfd.readouterr().err
        client = MlflowClient(f"sqlite:///{folder}/.mlflow/mlflow.db")
        (experiment,) = client.search_experiments(filter_string="name = 'sizewise'")
        runs = client.search_runs([experiment.experiment_id])
        parents = {run.data.tags[tracking.NAME_TAG]: run for run in runs if tracking.NAME_TAG in run.data.tags}
        assert len(runs) == 2 * AT_ONCE, "a run too many, or lost"
        for name, process in zip(names, processes, strict=True):
            with tally.trial(f"round {round_number}, {name}"):
                assert process.exitcode == 0
                assert WARNING not in said, said
                parent = parents[name].info.run_id
                (child,) = (run for run in runs if run.data.tags.get(tracking.PARENT_TAG) == parent)
                assert child.info.status == "FINISHED"
                steps = [one.step for one in client.get_metric_history(child.info.run_id, "loss")]
                assert sorted(steps) == list(range(1, EPOCHS + 1))
