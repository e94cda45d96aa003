"""MLflow's own server with several machines that write to it at once, over SQLite and over PostgreSQL."""

import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

import pytest
from mlflow import MlflowClient

ROOT = Path(__file__).parents[2]
EPOCHS = 20
STAGES = ("classify", "segment")
START_SECONDS = 900  # 10 on an idle machine; minutes on one that is busy
WRITER = """
import sys, time
from pathlib import Path
from mlflow import MlflowClient
from stages.core import tracking
tracking.machine_tags = dict  # without torch
stage, ready, go = sys.argv[1:]
Path(ready).touch()
while not Path(go).exists():
    time.sleep(0.01)
with tracking.child_run(stage) as log:
    for epoch in range(1, EPOCHS + 1):
        log(epoch, {"loss": 1 / epoch, "miou": epoch / 100})
""".replace("EPOCHS", str(EPOCHS))


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def end(process):
    """Ends a server and what it started."""
    os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(timeout=30)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def wait_for(condition, process, log):
    """Waits until a server that was started answers."""
    deadline = time.monotonic() + START_SECONDS
    while not condition():
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline, f"no answer after {START_SECONDS} s:\n{log.read_text()}"
        time.sleep(0.2)


@pytest.fixture(scope="module")
def postgres():
    """The address of a database in a PostgreSQL cluster of its own, on 127.0.0.1."""
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin"))  # where Debian puts them
    path = os.pathsep.join([os.environ["PATH"], *map(str, programs)])
    pg_ctl, make_cluster = shutil.which("pg_ctl", path=path), shutil.which("initdb", path=path)
    if not pg_ctl or not make_cluster:
        pytest.skip("there is no PostgreSQL (pg_ctl, initdb) on this machine")
    if importlib.util.find_spec("psycopg2") is None:
        pytest.skip("PostgreSQL is there, but psycopg2, its driver, is not installed in this environment")
    folder = Path(tempfile.mkdtemp(prefix="sizewise-postgres-"))  # pytest's own folders are closed to other users
    account = {}
    if os.geteuid() == 0:  # the server refuses to run as root
        shutil.chown(folder, "postgres", "postgres")
        account = {"user": "postgres", "group": "postgres", "extra_groups": []}
    port, log = free_port(), folder / "log"
    quiet = {"cwd": folder, "stdout": subprocess.DEVNULL, **account}
    initdb = [make_cluster, "-D", "data", "-U", "sizewise", "--auth=trust", "-E", "UTF8", "--no-sync"]
    subprocess.run(initdb, check=True, **quiet)
    options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c fsync=off"
    subprocess.run([pg_ctl, "-D", "data", "-l", str(log), "-w", "-o", options, "start"], check=True, **quiet)
    yield f"postgresql+psycopg2://sizewise@127.0.0.1:{port}/postgres"
    subprocess.run([pg_ctl, "-D", "data", "-m", "immediate", "stop"], check=True, **quiet)
    shutil.rmtree(folder)


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def server(request, tmp_path_factory):
    """The address of an `mlflow server` that is starting on a new database, and a function that waits for it."""
    folder = tmp_path_factory.mktemp(request.param)
    database = f"sqlite:///{folder / 'mlflow.db'}" if request.param == "sqlite" else request.getfixturevalue("postgres")
    port, log = free_port(), folder / "log"
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port)]
    command += ["--workers", "1"]  # uvicorn kills one of several that is silent for 5 s, as on a busy machine
    command += ["--backend-store-uri", database, "--artifacts-destination", str(folder / "artifacts")]
    environment = os.environ | {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    with log.open("w") as file:
        process = subprocess.Popen(
            command, cwd=folder, env=environment, stdout=file, stderr=subprocess.STDOUT, start_new_session=True
        )
    address = f"http://127.0.0.1:{port}"

    def healthy():
        try:
            with urllib.request.urlopen(f"{address}/health", timeout=5) as answer:  # noqa: S310 - our own server
                return answer.status == 200
        except OSError:
            return False

    try:
        yield address, lambda: wait_for(healthy, process, log)
    finally:
        end(process)


def test_what_several_machines_write_at_once_arrives(server, tmp_path):
    """Two machines (repositories, so no lock in common) run an experiment each, and each runs two stages at once."""
    (address, wait), processes = server, []
    for machine in ("a", "b"):
        (tmp_path / machine).mkdir()
        (tmp_path / machine / "params.yaml").write_text("dataset: tiny\nmethod: full\nseed: 0\n")
        environment = os.environ | {
            "PYTHONPATH": str(ROOT),
            "DVC_ROOT": str(tmp_path / machine),
            "DVC_EXP_NAME": f"on-{machine}",
            "MLFLOW_TRACKING_URI": address,
            "MLFLOW_HTTP_REQUEST_TIMEOUT": "120",  # a busy machine is not a dead server
        }
        for stage in STAGES:
            arguments = [stage, str(tmp_path / f"{machine}-{stage}"), str(tmp_path / "go")]
            processes.append(
                subprocess.Popen(
                    [sys.executable, "-c", WRITER, *arguments],
                    cwd=tmp_path / machine,
                    env=environment,
                    stderr=subprocess.PIPE,
                    text=True,
                )
            )
    wait()
    while len(list(tmp_path.glob("?-*"))) < len(processes):
        assert all(process.poll() is None for process in processes), "a writer failed to start"
        time.sleep(0.1)
    (tmp_path / "go").touch()
    said = [process.communicate(timeout=600)[1] for process in processes]
    assert ([process.returncode for process in processes], "".join(said)) == ([0] * 4, "")

    client = MlflowClient(address)
    (experiment,) = client.search_experiments(filter_string="name = 'sizewise'")
    runs = client.search_runs([experiment.experiment_id])
    parents = {run.info.run_id: run.info.run_name for run in runs if "sizewise.experiment" in run.data.tags}
    assert sorted(parents.values()) == ["on-a", "on-b"]
    children = [run for run in runs if run.info.run_id not in parents]
    owners = sorted((parents[run.data.tags["mlflow.parentRunId"]], run.info.run_name) for run in children)
    assert owners == [(f"on-{machine}", stage) for machine in ("a", "b") for stage in STAGES]
    for run in children:
        assert run.info.status == "FINISHED"
        for key, value in (("loss", lambda epoch: 1 / epoch), ("miou", lambda epoch: epoch / 100)):
            steps = sorted((metric.step, metric.value) for metric in client.get_metric_history(run.info.run_id, key))
            assert steps == [(epoch, pytest.approx(value(epoch))) for epoch in range(1, EPOCHS + 1)]
