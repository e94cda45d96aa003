"""The card of a model: what the file says, and what git, dvc.lock and MLflow add."""

import json
import subprocess
from pathlib import Path

import pytest
import torch

from stages.core import tracking
from stages.core.experiment import Experiment
from stages.core.faults import Fault
from stages.core.files import md5
from stages.track import card as cards

MODEL = {
    "architecture": "fcn_skip",
    "encoder": "slim_resnet10",
    "output_stride": 8,
    "num_classes": 2,
    "background": True,
    "palette": ((0, 0, 0),) * 256,
    "state": {},
    "best": {"epoch": 3, "score": 0.5, "state": {}},
    "dataset": "shapes",
    "classes": ("background", "cat"),
    "made_of": {
        "stage": "segment",
        "params": {"seed": 0, "recipes.${dataset}.segmenter": {"lr": 1e-05}},
        "inputs": {"data/shapes/dataset.zip": "aa"},
        "code": "bb",
    },
}
PATH = Path("models/shapes/segmenter.pt")


@pytest.fixture
def workspace(own_store):
    PATH.parent.mkdir(parents=True)
    with PATH.open("wb") as file:
        torch.save(MODEL, file)
    Path("metrics").mkdir()
    Path("metrics/summary.json").write_text(json.dumps({"miou": 0.7155, "ia_s": None}))
    return own_store


def lock(checksum, summary):
    def entry(path, value):
        return [{"path": path, "md5": value}]

    stages = {
        "segment": {"outs": entry(PATH.as_posix(), checksum)},
        "predict": {"deps": entry(PATH.as_posix(), checksum), "outs": entry("p.zip", "cc")},
        "evaluate": {"deps": entry("p.zip", "cc"), "outs": entry("metrics/summary.json", summary)},
    }
    Path("dvc.lock").write_text(json.dumps({"stages": stages}))


def text():
    return "\n".join(cards.card(PATH))


def test_the_file_alone_says_what_it_was_made_of(workspace, monkeypatch):
    monkeypatch.setenv("SIZEWISE_TRACK", "0")
    found = text()
    assert f"md5          {md5(PATH)}" in found
    assert "fcn_skip on slim_resnet10, output stride 8" in found
    assert "data set     shapes" in found
    assert "labels       2: background, cat" in found
    assert "best on val, epoch 3, mIoU 0.5000" in found
    assert "input        data/shapes/dataset.zip  md5 aa" in found
    assert "param        recipes.${dataset}.segmenter.lr=1e-05" in found
    assert "code         sha256 bb" in found
    assert "none whose dvc.lock has this md5" in found
    assert "another model" in found and "0.7155" not in found
    assert "turned off by SIZEWISE_TRACK=0" in found


def test_results_are_shown_only_where_dvc_lock_leads_from_the_model_to_them(workspace, monkeypatch):
    monkeypatch.setenv("SIZEWISE_TRACK", "0")
    lock(md5(PATH), md5(Path("metrics/summary.json")))
    assert "miou         0.7155" in text()
    lock(md5(PATH), "of other results")
    assert "the out of stage segment" in text() and "0.7155" not in text()


def test_the_commit_is_the_first_whose_lock_has_the_model(workspace, monkeypatch):
    monkeypatch.setenv("SIZEWISE_TRACK", "0")

    def git(*arguments):
        done = subprocess.run(
            ["git", "-c", "user.name=a", "-c", "user.email=a@b.c", *arguments],
            check=True,
            capture_output=True,
            text=True,
        )
        return done.stdout.strip()

    git("init", "-q")
    lock("something older", "x")
    git("add", "dvc.lock")
    git("commit", "-qm", "one")
    lock(md5(PATH), "x")
    git("commit", "-qam", "two")
    second = git("rev-parse", "--short", "HEAD")
    git("commit", "-q", "--allow-empty", "-m", "three")
    assert f"commit       {second} of 20" in text()
    git("update-ref", "refs/exps/11/22/mine", "HEAD~1")  # as DVC keeps an experiment
    git("reset", "-q", "--hard", "HEAD~2")
    assert f"commit       {second} of 20" in text()


def test_the_address_of_the_store_is_not_printed(workspace, monkeypatch):
    """It may hold a password."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{workspace}/secret.db")
    assert "no run of the store has this md5" in text()
    assert "secret" not in text()


def test_mlflow_adds_time_memory_and_machine_of_the_run_that_trained(workspace):
    assert "has this md5" in text()
    with tracking.open_store() as store:
        for name, trained in (("first", True), ("other-crf", False)):  # the later one had the model from the cache
            parent = tracking.parent_run(store, Experiment(name, "c" * 40, {"seed": 0}))
            store.client.set_tag(parent, f"md5.{PATH.as_posix()}", md5(PATH))
            if trained:
                child = tracking.child_of(store, parent, "segment").info.run_id
                store.client.log_metric(child, "wall_seconds", 90)
                store.client.log_metric(child, "peak_memory_mb", 1500)
                store.client.set_tag(child, "device", "CPU x86_64")
    found = text()
    assert "experiment   first, run " in found
    assert f"from commit  {'c' * 40}" in found
    assert "wall         1.5 min" in found
    assert "peak_memory  1.5 GB" in found
    assert "device       CPU x86_64" in found


def test_mlflow_knows_a_model_by_its_md5_wherever_it_lies(workspace):
    with tracking.open_store() as store:
        parent = tracking.parent_run(store, Experiment("first", "c" * 40, {"seed": 0}))
        store.client.set_tag(parent, f"md5.{PATH.as_posix()}", md5(PATH))
        store.client.log_metric(parent, "ia_miou", 0.519)
    moved = PATH.rename("it's mine.pt")
    found = "\n".join(cards.card(moved))
    assert "experiment   first, run " in found
    assert "ia_miou      0.519" in found


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "does not exist"),
        (b"", "not a model that can be read safely"),
        (b"cos\nsystem\n(S'true'\ntR.", "not a model that can be read safely"),
        ({"state": {}}, "is no segmenter.pt of stage"),
        ({"made_of": {}}, "is no segmenter.pt of stage"),
    ],
)
def test_what_is_no_segmenter_is_named(workspace, content, message):
    if content is None:
        PATH.unlink()
    elif isinstance(content, bytes):
        PATH.write_bytes(content)
    else:
        torch.save(content, PATH)
    with pytest.raises(Fault, match=message):
        text()
