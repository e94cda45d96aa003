"""MLflow as the live view: one parent run per experiment, one child run per training stage.

DVC's files are the record; MLflow shows training while it goes on and searches across experiments. The store is
`MLFLOW_TRACKING_URI`, else a SQLite file under the main repository: DVC_ROOT names it in `--temp` and `--queue` runs
too, whose own folder is thrown away. Three properties of MLflow shape this module. Two processes that make the same
SQLite store at once leave it unusable, so it is opened under a file lock. The place of the artifacts is fixed when
the MLflow experiment is made, so it is absolute. Nothing is handed from stage to stage: a parent run is found by its
tags, and made under the same lock.

SIZEWISE_TRACK=0 turns MLflow off; mlflow is imported only when it is needed, so a machine without it can train.
"""

from __future__ import annotations

import logging
import os
import platform
import re
import resource
import sys
import textwrap
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock

from stages.core.experiment import Experiment, current_experiment, main_repository, text
from stages.core.faults import Fault
from stages.core.files import atomic
from stages.core.sqlite_file import refuse_damaged

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

MLFLOW_EXPERIMENT = "sizewise"
STORE = Path(".mlflow")  # under the main repository, ignored by git and DVC
FILE = "mlflow.db"
NAME_TAG, BASE_TAG, KEY_TAG, STAGE_TAG = "sizewise.experiment", "git.base", "sizewise.key", "sizewise.stage"
PARENT_TAG = "mlflow.parentRunId"  # MLflow's own: nests a run in its page
EXISTS = "RESOURCE_ALREADY_EXISTS"  # MLflow's error code
BATCH = 100  # MLflow's limit of params, and of tags, in one request
METRIC_BATCH = 1000  # and of metrics
RETRY_SECONDS = 60  # how long a failed server is left alone before the next attempt,
PATIENCE = 20  # and at least so many times as long as the attempt took: a server that hangs costs a twentieth

Log = Callable[[int, Mapping[str, float]], None]


def enabled() -> bool:
    """Whether MLflow is on: it is, unless SIZEWISE_TRACK=0."""
    return os.environ.get("SIZEWISE_TRACK", "1") != "0"


@dataclass
class Store:
    """An open MLflow store and the id of our MLflow experiment in it."""

    client: MlflowClient
    experiment_id: str

    def find(self, tags: Mapping[str, str]) -> Run | None:
        """The newest run with all of `tags`."""
        return next(iter(self.matching(tags, 1)), None)

    def matching(self, tags: Mapping[str, str], most: int = 1000) -> list[Run]:
        """The newest runs with all of `tags`, at most so many."""
        condition = " and ".join(f"tags.`{key}` = '{value}'" for key, value in tags.items())
        return list(self.client.search_runs([self.experiment_id], condition, max_results=most))


def tracking_uri() -> str:
    """Where runs are kept: `MLFLOW_TRACKING_URI`, else the SQLite file of the main repository."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{main_repository() / STORE / FILE}"


def reason(error: Exception) -> str:
    """Where and why MLflow failed, in one line without the password that an address may hold."""
    cause = " ".join(str(error).split()) or type(error).__name__
    line = f"{tracking_uri()}: {textwrap.shorten(cause, 200)}"
    return re.sub(r"://[^/@\s]*@", "://", line)


def import_client() -> type[MlflowClient]:
    """The class of MLflow's client.

    Raises:
        Fault: mlflow is not installed.
    """
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"  # this word exactly; 1 is ignored
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")  # no lines about the tables of a new store
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")  # the default waits minutes for a dead server
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
    try:
        from mlflow import MlflowClient  # noqa: PLC0415 - 1.5 s, and absent on some machines
    except ModuleNotFoundError as error:
        raise Fault(
            f"tracking is on but mlflow cannot be imported ({error}): "
            "install requirements-lock.txt, or set SIZEWISE_TRACK=0 to go on without MLflow"
        ) from None
    logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)  # our own line says it once
    return MlflowClient


@contextmanager
def open_store() -> Iterator[Store]:
    """The store, made where it is missing, under a lock for the whole block: look-up-or-create is one step.

    Raises:
        Fault: mlflow is not installed, or the store was made when the repository lay in another folder.
        Exception: MLflow's own, where the store cannot be reached; or its database is damaged.
    """
    client_class = import_client()
    uri, folder = tracking_uri(), main_repository() / STORE
    own = not os.environ.get("MLFLOW_TRACKING_URI")
    folder.mkdir(parents=True, exist_ok=True)
    artifacts = None if uri.startswith("http") else (folder / "artifacts").as_uri()  # a server decides by itself
    with FileLock(folder / "lock", timeout=120):
        if own and (folder / FILE).exists():
            refuse_damaged(folder / FILE)
        elif own:
            make_store(client_class, folder / FILE)
        client = client_class(tracking_uri=uri)
        found = client.get_experiment_by_name(MLFLOW_EXPERIMENT)
        if found is None:
            identity = make_experiment(client, artifacts)
        else:
            identity = found.experiment_id
            if own and found.artifact_location != artifacts:
                raise Fault(
                    f"the MLflow store {folder} was made at {found.artifact_location} and MLflow cannot move it: "
                    f"move the repository back, or rename {folder} to start a new store"
                )
        yield Store(client, identity)


def make_store(client_class: type[MlflowClient], path: Path) -> None:
    """Makes an empty SQLite store that is whole or absent.

    MLflow makes its tables in some seconds and many steps, and can neither use nor complete a store that a kill left
    in between.
    """
    with atomic(path) as temporary:
        for left in path.parent.glob(f"{temporary.name}*"):  # by a kill; the database's journal is among them
            left.unlink()
        client_class(tracking_uri=f"sqlite:///{temporary}")


def make_experiment(client: MlflowClient, artifacts: str | None) -> str:
    """The id of our MLflow experiment, also where another machine, whose lock is not ours, makes it just then."""
    from mlflow.exceptions import MlflowException  # noqa: PLC0415 - see import_client

    try:
        return client.create_experiment(MLFLOW_EXPERIMENT, artifact_location=artifacts)
    except MlflowException as error:
        found = client.get_experiment_by_name(MLFLOW_EXPERIMENT) if error.error_code == EXISTS else None
        if found is None:
            raise
        return found.experiment_id


def parent_run(store: Store, experiment: Experiment) -> str:
    """The id of the experiment's own run, made with all its params where it is missing; call it inside `open_store`.

    A run of the same name, commit and params is continued; the same name with other params (`dvc exp run -f`) is
    another run.
    """
    tags = {NAME_TAG: experiment.name, BASE_TAG: experiment.base, KEY_TAG: experiment.key}
    found = store.find(tags)
    if found:
        return found.info.run_id
    from mlflow.entities import Param  # noqa: PLC0415 - see import_client

    run_id = store.client.create_run(store.experiment_id, run_name=experiment.name, tags=tags).info.run_id
    params = [Param(key, text(value)) for key, value in experiment.params.items()]
    for start in range(0, len(params), BATCH):
        store.client.log_batch(run_id, params=params[start : start + BATCH])
    return run_id


def child_of(store: Store, parent: str, stage: str) -> Run:
    """The run of a stage under `parent`: the one that a kill interrupted, else a new one in place of a finished one."""
    found = store.find({PARENT_TAG: parent, STAGE_TAG: stage})
    if found and found.info.status != "FINISHED":
        store.client.update_run(found.info.run_id, status="RUNNING")
        return found
    if found:
        store.client.delete_run(found.info.run_id)
    return store.client.create_run(store.experiment_id, run_name=stage, tags={PARENT_TAG: parent, STAGE_TAG: stage})


def first_process() -> bool:
    """Whether this is the process of a distributed training that reports, or there is only one."""
    distributed = sys.modules.get("torch.distributed")  # whoever trains has loaded it
    started = distributed is not None and distributed.is_available() and distributed.is_initialized()
    return not started or distributed.get_rank() == 0


def machine_tags() -> dict[str, str]:
    """What the numbers were computed on; nothing that names the computer or its user."""
    import torch  # noqa: PLC0415 - the training stages have it loaded; others never ask

    gpus = torch.cuda.device_count()
    return {
        "device": torch.cuda.get_device_name() if gpus else f"CPU {platform.machine()}",
        "gpu_count": str(gpus),
        "torch": torch.__version__,
        "python": platform.python_version(),
    }


def peak_memory() -> dict[str, float]:
    """The largest resident memory of this process so far, and of PyTorch on the GPU where there is one, in MB."""
    unit = 1 if sys.platform == "darwin" else 1024  # getrusage counts bytes there, kB on Linux
    peak = {"peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6}
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        peak["peak_gpu_memory_mb"] = torch.cuda.max_memory_allocated() / 1e6
    return peak


@dataclass
class Recorder:
    """Sends one stage's metrics; what a failing server does not take is kept and sent later.

    A server that is down costs one warning line and no training.
    """

    stage: str
    experiment: Experiment
    started: float = 0.0
    earlier: float = 0.0
    store: Store | None = None
    parent: str = ""
    run_id: str = ""
    pending: list[tuple[str, float, int, int]] = field(default_factory=list)
    step: int = 0
    not_before: float = 0.0
    warned: bool = False

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Records the metrics of epoch `step`."""
        self.step = step
        self._keep(values)
        if time.monotonic() >= self.not_before:
            self._attempt(self._send)

    def open(self) -> None:
        """Connects at once, so that a missing mlflow is reported before hours of training."""
        self._attempt(self._connect)
        self.started = time.monotonic()

    def close(self, status: str) -> None:
        """Records time and memory and ends the run as FINISHED, FAILED or KILLED."""
        self._keep(peak_memory())
        self._attempt(self._send)
        self._attempt(lambda: self._end(status))

    def _keep(self, values: Mapping[str, float]) -> None:
        now = int(time.time() * 1000)
        timed = dict(values) | {"wall_seconds": self.earlier + time.monotonic() - self.started}
        self.pending += [(key, float(value), now, self.step) for key, value in timed.items()]

    def _connect(self) -> None:
        if self.store is not None:
            return
        with open_store() as store:
            self.parent = parent_run(store, self.experiment)
            child = child_of(store, self.parent, self.stage)
            store.client.update_run(self.parent, status="RUNNING")
        for key, value in machine_tags().items():
            store.client.set_tag(child.info.run_id, key, value)
        self.earlier = child.data.metrics.get("wall_seconds", 0.0)  # a resumed run goes on counting
        self.store, self.run_id = store, child.info.run_id

    def _send(self) -> None:
        from mlflow.entities import Metric  # noqa: PLC0415 - see import_client

        self._connect()
        while self.pending:
            batch = [Metric(*row) for row in self.pending[:METRIC_BATCH]]
            self.store.client.log_batch(self.run_id, metrics=batch)
            del self.pending[:METRIC_BATCH]

    def _end(self, status: str) -> None:
        if self.store is None:
            return
        self.store.client.set_terminated(self.run_id, status)
        if status != "FINISHED":  # a finished stage leaves the experiment to the next one
            self.store.client.set_terminated(self.parent, status)

    def _attempt(self, action: Callable[[], None]) -> None:
        began = time.monotonic()
        try:
            action()
        except Fault:
            raise
        except Exception as error:  # whatever MLflow, SQLAlchemy or the network raise: training is worth more
            ended = time.monotonic()
            self.not_before = ended + max(RETRY_SECONDS, PATIENCE * (ended - began))
            if not self.warned:
                self.warned = True
                sys.stderr.write(
                    f"sizewise {self.stage}: warning: MLflow does not take metrics ({reason(error)}); "
                    "training goes on, its metrics are in metrics/ in any case\n"
                )


@contextmanager
def child_run(stage: str) -> Iterator[Log]:
    """The MLflow run of a training stage; yields `log(step, values)` for the metrics of an epoch.

    After a kill, the next call for the same experiment continues the same run. With SIZEWISE_TRACK=0, and in all but
    the first process of a distributed training, `log` does nothing.

    Raises:
        Fault: tracking is on and mlflow is not installed.
    """
    if not enabled() or not first_process():
        yield lambda step, values: None
        return
    recorder = Recorder(stage, current_experiment())
    recorder.open()
    try:
        yield recorder.log
    except BaseException as error:
        recorder.close("KILLED" if isinstance(error, KeyboardInterrupt | SystemExit) else "FAILED")
        raise
    recorder.close("FINISHED")
