"""MLflow runs: parent and child, interruptions, a server that is down, the first use by several processes."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from mlflow import MlflowClient

from stages.core import tracking
from stages.core.experiment import current_experiment
from stages.core.faults import Fault

ROOT = Path(__file__).parents[2]
PARAMS = "dataset: tiny\nmethod: full\nseed: {seed}\nlr: 1e-05\n"


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    """A main repository whose store is shared by the module, since making one takes seconds."""
    return tmp_path_factory.mktemp("repository")


@pytest.fixture(autouse=True)
def workspace(repository, tmp_path, monkeypatch, request):
    """A temporary workspace of that repository, as in `dvc exp run --temp`; each test is an experiment of its own."""
    for name in ("MLFLOW_TRACKING_URI", "SIZEWISE_TRACK", "DVC_EXP_BASELINE_REV"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DVC_ROOT", str(repository))
    monkeypatch.setenv("DVC_EXP_NAME", request.node.originalname)
    monkeypatch.setattr(tracking, "machine_tags", lambda: {"device": "abacus"})
    monkeypatch.chdir(tmp_path)
    Path("params.yaml").write_text(PARAMS.format(seed=0))
    return tmp_path


def runs_of_this_test():
    """The client, the parents and the children of the present experiment, oldest first."""
    with tracking.open_store() as store:
        name = os.environ["DVC_EXP_NAME"]
        search = {"order_by": ["attributes.start_time"]}
        parents = store.client.search_runs([store.experiment_id], f"tags.`sizewise.experiment` = '{name}'", **search)
        children = [
            run
            for parent in parents
            for run in store.client.search_runs(
                [store.experiment_id], f"tags.`mlflow.parentRunId` = '{parent.info.run_id}'", **search
            )
        ]
    return store.client, parents, children


def history(client, run, key):
    """The (epoch, value) pairs of a metric."""
    return sorted((metric.step, metric.value) for metric in client.get_metric_history(run.info.run_id, key))


def test_a_stage_is_a_child_of_its_experiment(repository):
    with tracking.child_run("segment") as log:
        log(1, {"loss": 2.0, "miou": 0.25})
        log(2, {"loss": 1.5, "miou": 0.5})
    with tracking.child_run("classify") as log:
        log(1, {"loss": 7.0})
    client, (parent,), (segment, classify) = runs_of_this_test()
    assert parent.data.params == {"dataset": "tiny", "method": "full", "seed": "0", "lr": "1e-05"}
    assert parent.data.tags["git.base"] == "none"
    assert (parent.info.status, parent.data.metrics) == ("RUNNING", {})
    assert (segment.info.run_name, segment.info.status, segment.data.params) == ("segment", "FINISHED", {})
    assert segment.data.tags["device"] == "abacus"
    assert history(client, segment, "loss") == [(1, 2.0), (2, 1.5)]
    assert history(client, segment, "miou") == [(1, 0.25), (2, 0.5)]
    assert history(client, classify, "loss") == [(1, 7.0)]
    assert set(segment.data.metrics) == {"loss", "miou", "wall_seconds", "peak_memory_mb"}
    assert 10 < segment.data.metrics["peak_memory_mb"] < 20_000
    assert "user" not in str(segment.data.tags).lower()
    # The workspace is thrown away: nothing of MLflow may lie or point there.
    assert parent.info.artifact_uri.startswith((repository / ".mlflow" / "artifacts").as_uri())
    assert [path.name for path in Path.cwd().iterdir()] == ["params.yaml"]


def test_a_killed_stage_goes_on_in_its_run():
    killed = tracking.Recorder("segment", current_experiment())
    killed.open()
    killed.log(1, {"loss": 2.0})
    killed.started -= 100  # as if the epoch had taken that long
    killed.log(2, {"loss": 1.5})
    with tracking.child_run("segment") as log:
        log(3, {"loss": 1.0})
    client, parents, children = runs_of_this_test()
    assert (len(parents), len(children)) == (1, 1)
    assert history(client, children[0], "loss") == [(1, 2.0), (2, 1.5), (3, 1.0)]
    assert 100 < children[0].data.metrics["wall_seconds"] < 160
    assert children[0].info.status == "FINISHED"


def test_a_repeated_stage_replaces_its_run():
    for loss in (2.0, 3.0):
        with tracking.child_run("segment") as log:
            log(1, {"loss": loss})
    client, parents, children = runs_of_this_test()
    assert (len(parents), len(children)) == (1, 1)
    assert history(client, children[0], "loss") == [(1, 3.0)]


def test_other_params_under_the_same_name_are_another_experiment():
    for seed in (0, 1):
        Path("params.yaml").write_text(PARAMS.format(seed=seed))
        with tracking.child_run("segment"):
            pass
    _, parents, children = runs_of_this_test()
    assert [parent.data.params["seed"] for parent in parents] == ["0", "1"]
    assert len(children) == 2


@pytest.mark.parametrize(
    ("error", "status"), [(ValueError, "FAILED"), (KeyboardInterrupt, "KILLED"), (SystemExit, "KILLED")]
)
def test_a_failed_stage_says_so_until_it_goes_on(error, status, monkeypatch):
    monkeypatch.setenv("DVC_EXP_NAME", f"failed-{error.__name__}")
    with pytest.raises(error), tracking.child_run("segment") as log:
        log(1, {"loss": 1.0})
        raise error
    _, (parent,), (child,) = runs_of_this_test()
    assert (parent.info.status, child.info.status) == (status, status)
    with tracking.child_run("segment"):
        _, (parent,), (child,) = runs_of_this_test()
        assert (parent.info.status, child.info.status) == ("RUNNING", "RUNNING")


def test_a_server_that_is_down_costs_one_line(monkeypatch, capfd):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://ann:secret@127.0.0.1:9")  # nothing listens on this port
    started, epochs = time.monotonic(), []
    with tracking.child_run("segment") as log:
        for epoch in range(1, 20):
            log(epoch, {"loss": 1.0})
            epochs.append(epoch)
    assert epochs == list(range(1, 20))
    assert time.monotonic() - started < 30
    err = capfd.readouterr().err
    assert err.count("\n") == 1
    assert "sizewise segment: warning: MLflow does not take metrics (http://127.0.0.1:9: " in err
    assert "secret" not in err


def test_epochs_logged_while_the_server_was_away_arrive_later(monkeypatch, capfd):
    there, opened = tracking.open_store, []

    def away_twice():
        opened.append(1)
        if len(opened) <= 2:
            raise OSError("away")
        return there()

    monkeypatch.setattr(tracking, "open_store", away_twice)
    monkeypatch.setattr(tracking, "RETRY_SECONDS", 0)
    with tracking.child_run("segment") as log:
        for epoch in (1, 2, 3):
            log(epoch, {"loss": epoch / 2})
    assert capfd.readouterr().err.count("warning") == 1
    client, _, (child,) = runs_of_this_test()
    assert history(client, child, "loss") == [(1, 0.5), (2, 1.0), (3, 1.5)]


@pytest.mark.parametrize(("seconds", "pause"), [(0.1, 60), (20, 400)])
def test_a_server_that_hangs_is_asked_the_more_rarely(monkeypatch, seconds, pause):
    """However long an attempt takes, attempts take a twentieth of the training's time."""
    clock = iter([100.0, 100.0 + seconds])
    recorder = tracking.Recorder("segment", current_experiment())

    def hangs():
        raise OSError("timed out")

    monkeypatch.setattr(tracking, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    recorder._attempt(hangs)
    assert recorder.not_before == pytest.approx(100 + seconds + pause)


def test_a_damaged_database_is_named_and_left_alone(monkeypatch, tmp_path, capfd):
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    (tmp_path / ".mlflow").mkdir()
    (tmp_path / ".mlflow/mlflow.db").write_text("garbage" * 2000)
    with tracking.child_run("segment") as log:
        log(1, {"loss": 1.0})
    said = capfd.readouterr().err
    assert "mlflow.db: the database is damaged; rename it, and a new one is made (file is not a database)" in said
    assert (tmp_path / ".mlflow/mlflow.db").read_text() == "garbage" * 2000


def test_without_tracking_mlflow_is_not_needed(monkeypatch, repository):
    monkeypatch.setenv("SIZEWISE_TRACK", "0")
    monkeypatch.setitem(sys.modules, "mlflow", None)  # any import of it fails
    with tracking.child_run("segment") as log:
        log(1, {"loss": 1.0})


def test_tracking_without_mlflow_is_a_fault_before_training(monkeypatch):
    monkeypatch.setitem(sys.modules, "mlflow", None)
    with pytest.raises(Fault, match="mlflow cannot be imported.*SIZEWISE_TRACK=0"), tracking.child_run("segment"):
        pytest.fail("training began")


def test_only_the_first_process_of_a_distributed_training_tracks(monkeypatch):
    class Second:
        is_available = is_initialized = staticmethod(lambda: True)
        get_rank = staticmethod(lambda: 1)

    monkeypatch.setitem(sys.modules, "torch.distributed", Second)
    monkeypatch.setitem(sys.modules, "mlflow", None)
    with tracking.child_run("segment") as log:
        log(1, {"loss": 1.0})


def test_a_store_of_a_moved_repository_is_a_fault(repository, tmp_path, monkeypatch):
    with tracking.open_store():
        pass
    shutil.copytree(repository / ".mlflow", tmp_path / "moved" / ".mlflow")
    monkeypatch.setenv("DVC_ROOT", str(tmp_path / "moved"))
    with pytest.raises(Fault, match="was made at .*move the repository back"), tracking.open_store():
        pass


def test_an_experiment_that_another_machine_makes_at_the_same_time_is_shared(monkeypatch):
    with tracking.open_store() as store:
        expected = store.experiment_id
    there, asked = MlflowClient.get_experiment_by_name, []

    def not_at_first(client, name):
        asked.append(name)
        return there(client, name) if len(asked) > 1 else None

    monkeypatch.setattr(MlflowClient, "get_experiment_by_name", not_at_first)
    with tracking.open_store() as store:
        assert store.experiment_id == expected
    assert len(asked) == 2


def test_the_modules_import_neither_mlflow_nor_torch():
    code = "import sys, stages.core.tracking; print([m for m in ('mlflow', 'torch') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_machine_tags_name_device_and_versions(monkeypatch):
    monkeypatch.undo()
    import torch

    tags = tracking.machine_tags()
    assert set(tags) == {"device", "gpu_count", "torch", "python"}
    assert tags["torch"] == torch.__version__
    assert tags["gpu_count"] == str(torch.cuda.device_count())
    assert os.uname().nodename not in " ".join(tags.values())


def test_processes_that_start_together_make_one_store(tmp_path):
    code = (
        "from stages.core import tracking\n"
        "from stages.core.experiment import current_experiment\n"
        "with tracking.open_store() as store:\n"
        "    print(tracking.parent_run(store, current_experiment()))\n"
    )
    environment = os.environ | {"DVC_ROOT": str(tmp_path), "PYTHONPATH": str(ROOT)}
    processes = [
        subprocess.Popen([sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    found = {process.communicate(timeout=120)[0] for process in processes}
    assert [process.returncode for process in processes] == [0, 0, 0]
    assert len(found) == 1, "several parents for one experiment"


def test_a_store_that_a_kill_left_half_made_is_made_anew(tmp_path, monkeypatch):
    """MLflow itself can neither use nor complete one."""
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    folder = tmp_path / ".mlflow"
    folder.mkdir()
    for name in (".mlflow.db.part", ".mlflow.db.part-journal"):
        (folder / name).write_bytes(b"half of something")
    with tracking.open_store() as store:
        assert store.client.get_experiment(store.experiment_id).name == tracking.MLFLOW_EXPERIMENT
    assert sorted(path.name for path in folder.iterdir()) == ["lock", "mlflow.db"]
