"""The whole pipeline under real DVC commands, on the smallest data set; the tests are the steps of one session.

Every experiment changes only how predictions are made, so that no experiment trains.
"""

from __future__ import annotations

import csv
import io
import json
import re
import time
from dataclasses import dataclass

import pytest
from mlflow import MlflowClient

from stages.core.params import read_yaml
from stages.track import ledger
from tests.pipeline.repository import TIMEOUT, Repository, copy

CHANGES = {
    "here": "recipes.tiny.predict.flip=false",
    "there": "recipes.tiny.predict.scales=[0.75]",
    "queued-1": "recipes.tiny.predict.scales=[1.25]",
    "queued-2": "recipes.tiny.predict.scales=[1.0,0.5]",
}
NEEDED = {"check", "predict", "track"}  # the stages that a change of predictions runs
POSSIBLE = NEEDED | {"evaluate"}  # it is skipped where other settings predict the same bytes


@dataclass
class Session:
    """One repository after its first `dvc repro`.

    twin: another copy, made at the same time with other numbers of processes and without MLflow.
    """

    repository: Repository
    twin: Repository
    first: str


def ran(output: str) -> set[str]:
    """The stages that DVC ran."""
    return set(re.findall(r"Running stage '(\w+)'", output))


@pytest.fixture(scope="module")
def session(tmp_path_factory):
    """Runs the pipeline in two copies at once, one per core."""
    folder = tmp_path_factory.mktemp("pipeline")
    repository = copy(folder / "one")
    twin = copy(folder / "two", SIZEWISE_TRACK="0", SIZEWISE_JOBS="2")
    other = twin.start("dvc", "repro")
    try:
        first = repository.run("dvc", "repro")
        output, _ = other.communicate(timeout=TIMEOUT)
        assert other.returncode == 0, output
    finally:
        other.kill()
    return Session(repository, twin, first)


@pytest.fixture(scope="module")
def stages(session):
    """The names of all stages."""
    return {line.split()[0] for line in session.repository.run("dvc", "stage", "list").splitlines()}


def test_the_first_repro_runs_every_room_and_the_second_none(session, stages):
    assert ran(session.first) == stages
    started = time.monotonic()
    second = session.repository.run("dvc", "repro")
    seconds = time.monotonic() - started
    assert ran(second) == set()
    assert "Data and pipelines are up to date." in second
    assert seconds < 60  # 1 to 2 s on an idle machine; a busy one is no defect
    print(f"`dvc repro` with nothing to do: {seconds:.1f} s")  # noqa: T201 - shown by pytest -s


def test_another_copy_makes_the_same_bytes(session):
    ours, theirs = session.repository.md5s(), session.twin.md5s()
    assert len(ours) > 20
    assert theirs == ours


def test_a_copy_without_data_is_up_to_date_with_its_lock(session):
    session.repository.commit("results")
    clone = Repository(session.repository.folder.parent / "clone")
    session.repository.run("git", "clone", "-q", ".", str(clone.folder))
    assert ran(clone.run("dvc", "repro", "--dry", "--allow-missing")) == set()
    clone.edit(seed=7)
    code, output = clone.attempt("dvc", "repro", "--dry", "--allow-missing")
    assert code != 0, "a lock that does not fit the params was accepted"
    assert "'classify'" in output.splitlines()[-1]


def test_an_experiment_runs_only_what_depends_on_its_change(session):
    repository = session.repository
    try:
        output = repository.run("dvc", "exp", "run", "-n", "here", "-S", CHANGES["here"])
        rows = ledger.parse(repository.read("metrics/experiments.csv"), "")
    finally:  # the next tests begin where the first repro ended
        repository.run("git", "checkout", "-q", ".")
        repository.run("dvc", "checkout", "-q")
    assert NEEDED <= ran(output) <= POSSIBLE
    assert rows[-1]["experiment"] == "here"


def test_a_temporary_experiment_leaves_the_workspace_alone(session):
    output = session.repository.run("dvc", "exp", "run", "--temp", "-n", "there", "-S", CHANGES["there"])
    assert NEEDED <= ran(output) <= POSSIBLE
    assert session.repository.run("git", "status", "--porcelain") == ""


def test_queued_experiments_run_beside_each_other(session):
    repository = session.repository
    for name in ("queued-1", "queued-2"):
        repository.run("dvc", "exp", "run", "--queue", "-n", name, "-S", CHANGES[name])
    repository.run("dvc", "queue", "start", "-j", "2")
    deadline = time.monotonic() + TIMEOUT
    while time.monotonic() < deadline:
        states = re.findall(r"queued-\d\s+\d\d:\d\d \w\w\s+(\w+)", repository.run("dvc", "queue", "status"))
        if not {"Queued", "Running"} & set(states):
            break
        time.sleep(1)
    logs = "" if states == ["Success"] * 2 else repository.attempt("dvc", "queue", "logs", "queued-1")[1]
    assert states == ["Success"] * 2, logs
    assert repository.run("git", "status", "--porcelain") == ""


@pytest.fixture(scope="module")
def shown(session):
    """Summary metrics by experiment as DVC shows them; the workspace is the result of the first repro."""
    table = json.loads(session.repository.run("dvc", "exp", "show", "--json"))
    revisions = {"repro": table[0]["data"]}
    for baseline in table:
        for experiment in baseline.get("experiments") or []:
            revisions[experiment["name"]] = experiment["revs"][0]["data"]
    return {name: data["metrics"]["metrics/summary.json"]["data"] for name, data in revisions.items()}


def test_dvc_and_mlflow_have_the_same_metrics(session, shown):
    assert set(shown) == {"repro", *CHANGES}
    assert len({json.dumps(metrics) for metrics in shown.values()}) > 1, "the changes made no difference"
    store = session.repository.folder / ".mlflow"
    client = MlflowClient(f"sqlite:///{store / 'mlflow.db'}")
    (experiment,) = client.search_experiments(filter_string="name = 'sizewise'")
    assert experiment.artifact_location == (store / "artifacts").as_uri()
    runs = client.search_runs([experiment.experiment_id])
    parents = [run for run in runs if "sizewise.experiment" in run.data.tags]
    named = {re.sub("^repro-.*", "repro", run.data.tags["sizewise.experiment"]): run for run in parents}
    assert len(named) == len(parents)
    assert {name: run.data.metrics for name, run in named.items()} == shown
    assert {run.info.status for run in runs} == {"FINISHED"}

    children = [run for run in runs if run not in parents]
    assert {run.data.tags["mlflow.parentRunId"] for run in children} == {named["repro"].info.run_id}
    assert {run.info.run_name for run in children} == {"classify", "segment"}
    log = csv.DictReader(io.StringIO(session.repository.read("metrics/segment_log.csv")))
    (segment,) = [run for run in children if run.info.run_name == "segment"]
    steps = sorted((m.step, m.value) for m in client.get_metric_history(segment.info.run_id, "loss"))
    assert steps == [(int(row["epoch"]), pytest.approx(float(row["loss"]), rel=1e-5)) for row in log]

    there = named["there"]
    assert there.data.params["recipes.tiny.predict.scales"] == "[0.75]"
    assert there.data.tags["git.base"] == session.repository.run("git", "rev-parse", "HEAD").strip()
    md5s = {key[4:]: value for key, value in named["repro"].data.tags.items() if key.startswith("md5.")}
    assert md5s == session.twin.md5s()
    artifacts = {file.path for file in client.list_artifacts(there.info.run_id)}
    assert {"summary.json", "miou.csv", "samples"} <= artifacts
    assert client.list_artifacts(there.info.run_id, "samples")


def test_every_experiment_gets_a_row(session, shown):
    session.repository.run("python", "-c", "from stages.track.table import *; gather(EXPERIMENTS)")
    rows = {row["experiment"]: row for row in ledger.parse(session.repository.read("metrics/experiments.csv"), "")}
    for name, change in CHANGES.items():
        assert rows[name]["params"] == change
        assert float(rows[name]["miou"]) == pytest.approx(shown[name]["miou"], rel=1e-5)
        assert not rows[name]["commit"].endswith("+")


def test_the_table_of_experiments(session):
    rows = list(csv.DictReader(io.StringIO(session.repository.run("dvc", "exp", "show", "--csv"))))
    assert {*CHANGES} <= {row["Experiment"] for row in rows}
    assert {"miou", "ia_miou", "size_error"} <= set(rows[0])


def test_the_table_of_experiments_fits_a_terminal(session):
    make = ("make", "--no-print-directory", "-n", "experiments", "COLUMN=size_targets.sigma")
    command = session.repository.run(*make).splitlines()[-1]
    lines = session.repository.run("sh", "-c", command).splitlines()
    assert max(map(len, lines)) <= 160
    assert all(name in "\n".join(lines) for name in CHANGES)
    header = next(line for line in lines if "Experiment" in line).split()
    assert {"dataset", "method", "seed", "miou", "ia_miou", "ia_s", "ia_m", "ia_l", "balanced_ia_miou"} <= set(header)
    assert "size_targets.sigma" in header


def test_plots_of_two_experiments_are_drawn(session):
    session.repository.run("dvc", "plots", "show")
    page = session.repository.folder / "dvc_plots" / "index.html"
    assert page.stat().st_size > 1000
    session.repository.run("dvc", "plots", "diff", "here", "there")
    pictures = re.findall(r'<img src="([^"]+)"', page.read_text(encoding="utf-8"))
    assert all((page.parent / picture).is_file() for picture in pictures)
    revisions = {re.match(r"static/(here|there)_metrics_(?:samples|refinement)_", picture)[1] for picture in pictures}
    assert revisions == {"here", "there"}


def test_an_applied_experiment_is_up_to_date(session):
    session.repository.run("dvc", "exp", "apply", "there")
    assert ran(session.repository.run("dvc", "repro")) == set()
    assert read_yaml(session.repository.folder / "params.yaml")["recipes"]["tiny"]["predict"]["scales"] == [0.75]
