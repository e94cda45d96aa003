"""What a person sees when something is wrong: a message of ours, an exit code, and finished stages that stay valid."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
from mlflow import MlflowClient
from PIL import Image

from tests.pipeline.repository import TIMEOUT, Repository, copy

EPOCHS = 8  # enough that training is still going on when it is stopped a second time


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    """A copy in which the first rooms have run."""
    made = copy(tmp_path_factory.mktemp("faults") / "one", SIZEWISE_TRACK="0")
    made.run("dvc", "repro", "prepare")
    made.commit("prepared")
    return made


@pytest.fixture
def params(repository):
    """The repository; params.yaml may be changed and is restored afterwards."""
    yield repository
    repository.run("git", "checkout", "-q", "params.yaml", "dvc.lock")


def fails(repository: Repository, *stages: str) -> str:
    """What a failing `dvc repro` prints; it must be no traceback."""
    code, output = repository.attempt("dvc", "repro", *stages)
    assert code != 0, output
    assert "Traceback" not in output
    return output


def test_every_fault_in_the_params_is_named_at_once(params):
    before = sorted(path for path in (params.folder / "data").rglob("*") if path.name != "params_ok.json")
    params.edit(dataset="nope", method="guess", recipes__tiny__cam__strid=3)
    output = fails(params)
    assert "sizewise check: params.yaml is not valid (3 faults):" in output
    assert "'nope' is not under datasets; there are: tiny, shapes" in output
    assert "'guess' is not a method; there are: full, pseudo_mask, size_balanced, size_target, tags" in output
    assert "unknown key 'strid' in recipes.tiny.cam; allowed: extractor, level, scales, flip, stride" in output
    assert "Running stage 'download'" not in output
    # No stage after `check` has lost its files.
    assert sorted(path for path in (params.folder / "data").rglob("*") if path.name != "params_ok.json") == before
    params.run("git", "checkout", "-q", "params.yaml")
    again = params.run("dvc", "repro", "prepare")
    assert "Running stage 'prepare'" not in again


def test_a_missing_source_is_named(params):
    params.edit(dataset="voc_sample", source="/nowhere/VOC2012")
    output = fails(params, "prepare")
    assert "/nowhere/VOC2012" in output
    assert "Running stage 'prepare'" not in output


@pytest.fixture
def damaged_voc(tmp_path) -> Path:
    """A VOC folder of six images: one is cut off, one has a mask of another size, one a label that VOC has not."""
    for name in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"):
        (tmp_path / name).mkdir(parents=True)
    for number in range(6):
        image = np.random.default_rng(number).integers(0, 255, (24, 32, 3), dtype=np.uint8)
        mask = np.full((24, 32) if number != 2 else (24, 31), 0, np.uint8)
        mask[5:15, 5:15] = 1 + number % 3 if number != 4 else 99
        Image.fromarray(image).save(tmp_path / f"JPEGImages/im{number}.jpg")
        Image.fromarray(mask).save(tmp_path / f"SegmentationClass/im{number}.png")
    cut = tmp_path / "JPEGImages/im1.jpg"
    cut.write_bytes(cut.read_bytes()[:400])
    (tmp_path / "ImageSets/Segmentation/train.txt").write_text("im0\nim1\nim2\n")
    (tmp_path / "ImageSets/Segmentation/val.txt").write_text("im3\nim4\nim5\n")
    return tmp_path


def test_every_damaged_file_is_named_at_once(params, damaged_voc):
    params.edit(dataset="voc_sample", source=str(damaged_voc))
    output = fails(params, "prepare")
    assert "sizewise prepare: " in output
    message = output.split("sizewise prepare: ")[1]
    assert all(f"im{number}" in message for number in (1, 2, 4))
    assert not any(f"im{number}" in message for number in (0, 3, 5))


def test_a_full_disk_is_said_and_the_next_run_goes_on(params):
    params.edit(balance__seed=5)
    # A write to this device fails as on a full disk; `balance` writes beside its out and then renames.
    (params.folder / "data/tiny/.balanced.csv.part").symlink_to("/dev/full")
    output = fails(params, "balance")
    assert "sizewise balance: no space left on the disk" in output
    again = params.run("dvc", "repro", "balance")
    assert "Running stage 'prepare'" not in again
    assert "Running stage 'balance'" in again


class Training:
    """`dvc repro classify` in the background, and the checkpoint of its training."""

    def __init__(self, repository: Repository) -> None:
        self.folder = repository.folder / ".scratch" / "checkpoints"
        self.process = repository.start("dvc", "repro", "classify")

    def wait_for_epoch(self) -> None:
        """Until a checkpoint is written anew."""
        before = self.written()
        deadline = time.monotonic() + TIMEOUT
        while self.written() == before:
            assert self.process.poll() is None, self.process.stdout.read()
            assert time.monotonic() < deadline
            time.sleep(0.02)
        time.sleep(0.2)  # the epoch's metrics are sent after its checkpoint

    def written(self) -> set[tuple[str, int]]:
        """The checkpoints and when they were written."""
        found = set()
        for path in self.folder.glob("*/classify.pt"):
            with contextlib.suppress(FileNotFoundError):
                found.add((str(path), path.stat().st_mtime_ns))
        return found

    def worker(self) -> psutil.Process:
        """The process that trains."""
        below = psutil.Process(self.process.pid).children(recursive=True)
        return next(child for child in below if child.cmdline()[1:3] == ["-m", "stages.classify"])

    def end(self) -> tuple[int, str]:
        """Exit code and output, once DVC has ended."""
        output, _ = self.process.communicate(timeout=TIMEOUT)
        return self.process.returncode, output


def test_training_goes_on_after_ctrl_c_and_after_kill(repository):
    """Stopped twice, the training has the bytes of one that never stopped, and one MLflow run with every epoch."""
    repository = Repository(repository.folder)  # with MLflow
    repository.edit(recipes__tiny__classifier__epochs=EPOCHS)

    training = Training(repository)
    training.wait_for_epoch()
    os.killpg(training.process.pid, signal.SIGINT)  # as the terminal does on Ctrl-C
    code, output = training.end()
    assert code != 0
    assert "sizewise classify: stopped; `dvc repro` goes on from here" in output
    assert "Traceback" not in output

    training = Training(repository)
    training.wait_for_epoch()
    training.worker().kill()
    code, output = training.end()
    assert code != 0
    assert training.written(), "the checkpoint is gone"
    assert "Running stage 'prepare'" not in output

    assert "Running stage 'prepare'" not in repository.run("dvc", "repro", "classify")
    resumed = repository.md5s()["models/tiny/classifier.pt"]
    assert training.written() == set(), "a finished training needs no checkpoint"
    assert len(repository.read("metrics/classifier_log.csv").splitlines()) == 1 + EPOCHS

    client = MlflowClient(f"sqlite:///{repository.folder / '.mlflow' / 'mlflow.db'}")
    (experiment,) = client.search_experiments(filter_string="name = 'sizewise'")
    (run,) = client.search_runs([experiment.experiment_id], "tags.`sizewise.stage` = 'classify'")
    assert run.info.status == "FINISHED"
    steps = [metric.step for metric in client.get_metric_history(run.info.run_id, "loss")]
    assert set(steps) == set(range(1, EPOCHS + 1))
    assert len(steps) <= EPOCHS + 2, "an epoch was trained twice"  # each stop may fall between an epoch's log and save

    untracked = Repository(repository.folder, {"SIZEWISE_TRACK": "0"})
    untracked.run("dvc", "repro", "--single-item", "--force", "--no-run-cache", "classify")
    assert untracked.md5s()["models/tiny/classifier.pt"] == resumed


def test_an_orphan_does_not_outlive_dvc(repository):
    """DVC killed in the middle of a stage: the stage ends too, and the next run is not refused."""
    untracked = Repository(repository.folder, {"SIZEWISE_TRACK": "0"})
    untracked.edit(recipes__tiny__classifier__epochs=EPOCHS, seed=1)
    training = Training(untracked)
    training.wait_for_epoch()
    worker = training.worker()
    training.process.kill()
    with contextlib.suppress(psutil.NoSuchProcess, subprocess.TimeoutExpired):
        worker.wait(timeout=60)
    assert not worker.is_running()
    training.process.stdout.close()
    training.process.wait()
