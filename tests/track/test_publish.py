"""The final results in MLflow."""

from pathlib import Path

import pytest

from stages.core import tracking
from stages.core.experiment import Experiment, current_experiment
from stages.core.faults import Fault
from stages.track import publish

LOCK = {
    "stages": {
        "segment": {"outs": [{"path": "models/m.pt", "md5": "aa", "size": 1}], "deps": [{"path": "x", "md5": "bb"}]},
        "evaluate": {"outs": [{"path": "metrics/samples", "md5": "cc.dir"}, {"path": "metrics/a.csv", "md5": "dd"}]},
        "track": {"cmd": "python -m stages.track"},
    }
}
MD5S = {"metrics/a.csv": "dd", "metrics/samples": "cc.dir", "models/m.pt": "aa"}


@pytest.fixture
def workspace(own_store):
    for name in ("metrics/a.csv", "metrics/samples/00.png", "metrics/samples/01.png", "models/m.pt"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text(name)
    return own_store


def test_md5s_are_those_of_the_outs():
    assert publish.artifact_md5s(LOCK) == MD5S
    assert publish.artifact_md5s({}) == {}


def test_small_files_are_chosen_by_suffix(workspace):
    paths = [Path("metrics/a.csv"), Path("metrics/samples"), Path("models/m.pt")]
    assert publish.files_below(paths, (".csv", ".png")) == [
        (Path("metrics/a.csv"), ""),
        (Path("metrics/samples/00.png"), "samples"),
        (Path("metrics/samples/01.png"), "samples"),
    ]


def test_everything_final_is_on_the_experiments_run(workspace):
    experiment = Experiment("lr-1", "c" * 40, {"seed": 0, "lr": 1e-05})
    with tracking.open_store() as store:
        parent = tracking.parent_run(store, experiment)  # as a training stage made it
    files = [(Path("metrics/a.csv"), ""), (Path("metrics/samples/00.png"), "samples")]
    summary = {"miou": 0.5, "ia_s": None}
    assert publish.publish(experiment, summary, MD5S, files) == parent
    assert publish.publish(experiment, summary | {"miou": 0.75}, MD5S, files) == parent
    run = store.client.get_run(parent)
    assert run.info.status == "FINISHED"
    assert run.data.metrics == {"miou": 0.75}
    assert run.data.params == {"seed": "0", "lr": "1e-05"}
    assert {key: value for key, value in run.data.tags.items() if key.startswith("md5.")} == {
        f"md5.{path}": md5 for path, md5 in MD5S.items()
    }
    assert (run.data.tags["git.base"], run.data.tags["sizewise.experiment"]) == ("c" * 40, "lr-1")
    assert [file.path for file in store.client.list_artifacts(parent)] == ["a.csv", "samples"]
    assert [file.path for file in store.client.list_artifacts(parent, "samples")] == ["samples/00.png"]
    assert len(store.client.search_runs([store.experiment_id])) == 1


def test_the_cost_is_that_of_the_segmenters_training(workspace, monkeypatch):
    monkeypatch.setenv("DVC_EXP_NAME", "lr-2")
    Path("params.yaml").write_text("seed: 0\n")
    run_id = publish.publish(current_experiment(), {"miou": 0.5}, {}, [])
    assert publish.training_cost(run_id) == {}
    for stage in ("classify", "segment"):
        with tracking.child_run(stage) as log:
            log(1, {"loss": 1.0})
    cost = publish.training_cost(run_id)
    assert 0 < cost["train_minutes"] < 1
    assert cost["train_memory_gb"] == pytest.approx(tracking.peak_memory()["peak_memory_mb"] / 1000, rel=0.2)


def test_a_server_that_is_down_is_a_fault(workspace, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://ann:secret@127.0.0.1:9")
    with pytest.raises(
        Fault, match=r"cannot be written to MLflow \(http://127\.0\.0\.1:9: .*start the server"
    ) as fault:
        publish.publish(Experiment("x", "none", {}), {"miou": 1.0}, {}, [])
    assert "secret" not in str(fault.value)


@pytest.mark.parametrize(
    ("status", "metrics", "cost"),
    [
        ("FINISHED", {"wall_seconds": 120.0, "peak_memory_mb": 500.0}, {"train_minutes": 2.0, "train_memory_gb": 0.5}),
        ("FINISHED", {"wall_seconds": 120.0}, {"train_minutes": 2.0}),
        ("RUNNING", {"wall_seconds": 60.0}, {}),  # the server went away before the training's end
    ],
)
def test_what_mlflow_did_not_get_of_a_training_is_left_out(own_store, status, metrics, cost):
    with tracking.open_store() as store:
        run_id = tracking.parent_run(store, Experiment(f"cost-{status}", "none", {"seed": len(metrics)}))
        child = tracking.child_of(store, run_id, "segment").info.run_id
        for key, value in metrics.items():
            store.client.log_metric(child, key, value)
        if status != "RUNNING":
            store.client.set_terminated(child, status)
    assert publish.training_cost(run_id) == pytest.approx(cost)
