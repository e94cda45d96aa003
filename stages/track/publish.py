"""The final results of an experiment in MLflow."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from stages.core import tracking
from stages.core.experiment import Experiment
from stages.core.faults import Fault

TRAINING = {"train_minutes": ("wall_seconds", 60), "train_memory_gb": ("peak_memory_mb", 1000)}


def artifact_md5s(lock: Mapping[str, Any]) -> dict[str, str]:
    """The md5 of every out of every finished stage in the content of dvc.lock, by path, sorted.

    DVC writes the entry of a stage as soon as the stage ends, so the entries above the running stage are this run's.
    """
    outs = (out for stage in lock.get("stages", {}).values() for out in stage.get("outs", []))
    return dict(sorted((out["path"], out["md5"]) for out in outs if "md5" in out))


def files_below(paths: Iterable[Path], suffixes: tuple[str, ...]) -> list[tuple[Path, str]]:
    """The files with one of `suffixes` among `paths` and in the folders among them, with the folder's name or ""."""
    found = []
    for path in paths:
        if path.is_dir():
            found += [(file, path.name) for file in sorted(path.iterdir()) if file.suffix in suffixes]
        elif path.suffix in suffixes:
            found.append((path, ""))
    return found


def publish(
    experiment: Experiment,
    summary: Mapping[str, float | None],
    md5s: Mapping[str, str],
    files: Iterable[tuple[Path, str]],
) -> str:
    """Writes everything final to the experiment's own run, ends it as finished and returns its id.

    Args:
        experiment: its run is continued, or made where no training stage made it (all were restored from the cache).
        summary: final metrics; None is left out.
        md5s: written as tags `md5.PATH`.
        files: small files to upload, each with its folder in the run.

    Raises:
        Fault: the store cannot be reached.
    """
    with failure_is_a_fault():
        with tracking.open_store() as store:
            run_id = tracking.parent_run(store, experiment)
        from mlflow.entities import Metric, RunTag  # noqa: PLC0415 - see import_client

        now = int(time.time() * 1000)
        metrics = [Metric(key, float(value), now, 0) for key, value in summary.items() if value is not None]
        tags = [RunTag(f"md5.{path}", value) for path, value in md5s.items()]
        for start in range(0, len(tags), tracking.BATCH):
            store.client.log_batch(run_id, tags=tags[start : start + tracking.BATCH])
        store.client.log_batch(run_id, metrics=metrics)
        for path, folder in files:
            store.client.log_artifact(run_id, str(path), folder or None)
        store.client.set_terminated(run_id, "FINISHED")
    return run_id


def training_cost(run_id: str) -> dict[str, float]:
    """What training the segmenter took under the experiment's run: wall time and largest memory of the process.

    What MLflow did not get is left out: all where the segmenter came from the cache, and there is no run of its
    training; or both where the server was away in its end.

    Raises:
        Fault: the store cannot be reached.
    """
    with failure_is_a_fault(), tracking.open_store() as store:
        child = store.find({tracking.PARENT_TAG: run_id, tracking.STAGE_TAG: "segment"})
    if child is None or child.info.status != "FINISHED":
        return {}
    metrics = child.data.metrics
    return {name: metrics[key] / unit for name, (key, unit) in TRAINING.items() if key in metrics}


@contextmanager
def failure_is_a_fault() -> Iterator[None]:
    """Turns whatever MLflow, SQLAlchemy or the network raise into one message that says what to do."""
    try:
        yield
    except Fault:
        raise
    except Exception as error:
        raise Fault(
            f"the results cannot be written to MLflow ({tracking.reason(error)}): mend that (start the server), or set "
            "MLFLOW_TRACKING_URI to another one, or set SIZEWISE_TRACK=0, and run `dvc repro` again; "
            "no training is repeated"
        ) from None
