"""How a room's command starts and ends: what it is handed, its locks, its exit codes, and that it leaves no orphan."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from stages.core.faults import Fault
from stages.core.params import Params
from stages.core.stage import Stage, dataset_params, keep_record, load

ROOT = Path(__file__).parents[2]
PATIENCE = 60  # seconds for what takes one on an idle machine

PARAMS_YAML = """
dataset: pets
method: full
source: stages/download/shapes.py
datasets: {pets: {format: voc, size_bins: [1, 2]}}
recipes: {pets: {cam: {stride: 4}}}
"""
DVC_YAML = """
stages:
  demo:
    cmd: python -m stages.demo
    deps:
      - "data/${dataset}/raw.zip"
      - "${source}"
      - stages/demo/__main__.py
      - "stages/demo/methods/${method}.py"
    params: [dataset, "datasets.${dataset}", "recipes.${dataset}.cam", params.yaml: []]
    outs: ["data/${dataset}/out.txt"]
    metrics: [{metrics/summary.json: {cache: false}}]
    plots:
      - metrics/log.csv: {cache: false}
      - metrics/samples
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder with params.yaml and dvc.yaml."""
    (tmp_path / "params.yaml").write_text(PARAMS_YAML)
    (tmp_path / "dvc.yaml").write_text(DVC_YAML)
    return tmp_path


def test_a_stage_gets_what_dvc_yaml_declares(project):
    stage = load("demo", project)
    assert stage.name == "demo"
    assert stage.deps == {"raw": Path("data/pets/raw.zip"), "source": Path("stages/download/shapes.py")}
    assert stage.outs == {
        "out": Path("data/pets/out.txt"),
        "summary": Path("metrics/summary.json"),
        "log": Path("metrics/log.csv"),
        "samples": Path("metrics/samples"),
    }
    assert stage.code == (Path("stages/demo/__main__.py"), Path("stages/demo/methods/full.py"))
    assert stage.params["dataset"] == "pets"
    assert stage.params["recipes.${dataset}.cam"] == Params({"stride": 4})
    assert dataset_params(stage).size_bins == (1, 2)


@pytest.mark.parametrize(
    ("read", "message"),
    [
        (
            lambda stage: stage.params["seed"],
            "stage demo asks for the key 'seed', which dvc.yaml does not declare for it; "
            "declared: dataset, datasets.${dataset}, recipes.${dataset}.cam",
        ),
        (
            lambda stage: stage.deps["cam"],
            "stage demo asks for the dependency 'cam', which dvc.yaml does not declare for it; declared: raw, source",
        ),
        (
            lambda stage: stage.outs["raw"],
            "stage demo asks for the out 'raw', which dvc.yaml does not declare for it; "
            "declared: out, summary, log, samples",
        ),
        (
            lambda stage: stage.params["recipes.${dataset}.cam"].flip,
            "recipes.pets.cam has no key 'flip'; it has stride",
        ),
    ],
)
def test_what_is_not_declared_cannot_be_read(project, read, message):
    for stage in (load("demo", project), pickle.loads(pickle.dumps(load("demo", project)))):  # noqa: S301 - our own
        with pytest.raises(Fault) as caught:
            read(stage)
        assert str(caught.value) == message


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        ("dvc.yaml", "demo:", "other:", "dvc.yaml has no 'stages.demo': stages holds other"),
        ("params.yaml", "cam:", "cams:", "params.yaml has no 'recipes.pets.cam': recipes.pets holds cams"),
        ("params.yaml", "dataset: pets", "", "params.yaml has no 'dataset'"),
        ("dvc.yaml", "metrics/samples", "plots/log.csv", "dvc.yaml: two paths of stage demo have the same stem"),
    ],
)
def test_a_declaration_that_cannot_be_met(project, file, old, new, message):
    path = project / file
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(Fault) as caught:
        load("demo", project)
    assert str(caught.value).startswith(message)


Start = Callable[..., subprocess.Popen]

WORK = """
import os, sys, time
from pathlib import Path
from stages.core.faults import Fault
from stages.core.files import atomic
from stages.core.stage import run

def ready():
    Path("ready").write_text(str(os.getpid()))

def work(stage):
{body}

if __name__ == "__main__":
    run("demo", work)
"""
HOLD = """
with atomic(stage.outs["out"]) as temporary:
    temporary.write_text("half")
    ready()
    time.sleep(600)
"""


@pytest.fixture
def start(project: Path) -> Iterator[Start]:
    """A function that starts a stage whose work is the given lines; whatever still runs at the end is killed."""
    started = []

    def begin(body: str, *before: str) -> subprocess.Popen:
        lines = "".join(f"    {line}\n" for line in body.strip().splitlines())
        (project / "demo.py").write_text(WORK.format(body=lines))
        process = subprocess.Popen(
            [*before, sys.executable, "demo.py"],
            cwd=project,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield begin
    for process in started:
        process.kill()
        process.communicate()


def wait_for(condition: Callable[[], bool]) -> None:
    """Returns when the condition holds; fails after PATIENCE seconds."""
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


def is_ready(project: Path) -> bool:
    """Whether the stage has come to its work, see HOLD."""
    path = project / "ready"
    return path.exists() and path.read_text() != ""


def runs(pid: int) -> bool:
    """Whether a process is there and is no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def end_of(process: subprocess.Popen) -> tuple[int, str]:
    """Exit code and what stands on stderr."""
    _, errors = process.communicate(timeout=PATIENCE)
    return process.returncode, errors


def test_success_says_nothing(start, project):
    assert end_of(start('Path(stage.outs["out"].name).write_text(stage.params["dataset"])')) == (0, "")
    assert (project / "out.txt").read_text() == "pets"


def test_a_fault_is_one_message_without_a_traceback(start):
    code, errors = end_of(start('raise Fault("image a.png is cut off; copy it again")'))
    assert (code, errors) == (1, "sizewise demo: image a.png is cut off; copy it again\n")


def test_a_fault_before_the_work_is_one_message_too(start, project):
    (project / "params.yaml").unlink()
    code, errors = end_of(start("pass"))
    assert (code, errors) == (1, "sizewise demo: params.yaml is missing; run the command in the project's folder\n")


def test_a_defect_of_ours_keeps_its_traceback(start):
    code, errors = end_of(start("1 / 0"))
    assert code == 1
    assert "Traceback" in errors
    assert "ZeroDivisionError" in errors


def test_a_killed_process_of_the_loader(start):
    """As PyTorch reports it."""
    code, errors = end_of(
        start(
            """
import os, torch
class Deadly(torch.utils.data.Dataset):
    def __len__(self): return 4
    def __getitem__(self, index, kill=os.kill, own=os.getpid): kill(own(), 9)
list(torch.utils.data.DataLoader(Deadly(), num_workers=1))
"""
        )
    )
    assert code == 1
    assert errors.startswith("sizewise demo: a process that loads images was killed, most likely for want of memory; ")
    assert errors.endswith("; set SIZEWISE_JOBS to a smaller number, and `dvc repro` goes on from the last epoch\n")
    assert errors.count("\n") == 1


def test_a_full_disk(start):
    """/dev/full refuses every write as a full disk does."""
    code, errors = end_of(start('open("/dev/full", "w").write("x" * 100_000)'))
    assert (code, errors) == (1, "sizewise demo: no space left on the disk; free some and run `dvc repro` again\n")


def test_a_full_disk_that_is_named(start):
    code, errors = end_of(start('raise OSError(28, "No space left on device", "data/pets/out.txt")'))
    message = "sizewise demo: no space left on the disk for data/pets/out.txt; free some and run `dvc repro` again\n"
    assert (code, errors) == (1, message)


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (27, "a file is larger than allowed for data/pets/out.txt; raise the limit"),
        (30, "the disk can only be read for data/pets/out.txt; make it writable and run `dvc repro` again"),
        (13, "no permission for data/pets/out.txt; give it and run"),
        (5, "the disk cannot be read or written for data/pets/out.txt; look after it"),
    ],
)
def test_a_disk_that_takes_or_gives_no_bytes(start, number, said):
    code, errors = end_of(start(f'raise OSError({number}, "it fails", "data/pets/out.txt")'))
    assert code == 1
    assert errors.startswith(f"sizewise demo: {said}")
    assert errors.count("\n") == 1


def test_another_failure_of_the_system_keeps_its_traceback(start):
    code, errors = end_of(start('open("absent")'))
    assert code == 1
    assert "FileNotFoundError" in errors


@pytest.mark.parametrize(
    ("number", "code", "message"),
    [(signal.SIGINT, 130, "sizewise demo: stopped; `dvc repro` goes on from here\n"), (signal.SIGTERM, 143, "")],
)
def test_a_stage_that_is_stopped_cleans_up(start, project, number, code, message):
    process = start(HOLD)
    wait_for(lambda: is_ready(project))
    process.send_signal(number)
    assert end_of(process) == (code, message)
    assert list((project / "data/pets").iterdir()) == []


LEAVING = """
import atexit
atexit.register(lambda: (ready(), time.sleep(600)))
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stage_that_is_stopped_while_python_ends_says_nothing(start, project, number):
    process = start(LEAVING)
    wait_for(lambda: is_ready(project))
    process.send_signal(number)
    assert end_of(process) == (-number, "")


def test_a_stage_ends_with_its_parent(start, project):
    """DVC that is killed with -9 cannot end its stage; the kernel does."""
    script = "import subprocess, sys; subprocess.run(sys.argv[1:])"
    parent = start(HOLD, sys.executable, "-c", script)
    wait_for(lambda: is_ready(project))
    stage = int((project / "ready").read_text())
    assert stage != parent.pid
    assert runs(stage)
    parent.kill()
    wait_for(lambda: not runs(stage))
    assert list((project / "data/pets").iterdir()) == []


def test_two_processes_do_not_write_the_same_out(start, project):
    first = start(HOLD)
    wait_for(lambda: is_ready(project))
    code, errors = end_of(start('Path("intruder").touch()'))
    message = "sizewise demo: another process is writing data/pets/out.txt; wait for it or end it\n"
    assert (code, errors) == (1, message)
    assert not (project / "intruder").exists()
    first.kill()  # the lock goes with the process, even so
    first.wait(PATIENCE)
    assert end_of(start("pass")) == (0, "")


def test_other_outs_can_be_written_meanwhile(start, project):
    """Two data sets may be run at once."""
    start(HOLD)
    wait_for(lambda: is_ready(project))
    text = PARAMS_YAML.replace("pets", "cars")
    (project / "params.yaml").write_text(text)
    (project / "dvc.yaml").write_text(DVC_YAML[: DVC_YAML.index("    metrics")])
    assert end_of(start('Path("beside").touch()')) == (0, "")
    assert (project / "beside").exists()


def test_stage_is_frozen(project):
    stage = load("demo", project)
    with pytest.raises(AttributeError):
        stage.name = "other"
    assert isinstance(stage, Stage)


def under_dvc() -> dict[str, str]:
    """The environment that DVC gives a stage."""
    return os.environ | {"PYTHONPATH": str(ROOT), "DVC_STAGE": "demo"}


def test_a_stage_whose_dvc_ended_before_it_began_does_nothing(project):
    """DVC is killed while the shell or Python starts: nobody sends the stage a signal afterwards."""
    (project / "demo.py").write_text(WORK.format(body="    ready()"))
    script = f"(sleep 0.5; exec {sys.executable} demo.py) & exit"
    done = subprocess.run(
        ["sh", "-c", script], cwd=project, env=under_dvc(), capture_output=True, start_new_session=True, check=True
    )  # comes back when the stage has ended too, since it holds the pipes
    assert (done.stdout, done.stderr) == (b"", b"")
    assert not (project / "ready").exists()


def test_ctrl_c_while_a_stage_loads_its_modules(project):
    (project / "slow.py").write_text("import stages, sys, time\nprint(flush=True)\ntime.sleep(600)\n")
    process = subprocess.Popen(
        [sys.executable, "slow.py"],
        cwd=project,
        env=under_dvc(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    process.stdout.readline()
    process.send_signal(signal.SIGINT)
    assert end_of(process) == (130, "sizewise demo: stopped; `dvc repro` goes on from here\n")


LOCK_OF_TWO = "schema: '2.0'\nstages:\n  check:\n    cmd: a\n  demo:\n    cmd: b\n"


@pytest.fixture
def recorded(project, monkeypatch) -> Path:
    """The project with a dvc.lock of stages `check` and `demo`, of which a copy was kept."""
    (project / "dvc.yaml").write_text("stages:\n  check:\n    cmd: a\n  demo:\n    cmd: b\n")
    (project / "dvc.lock").write_text(LOCK_OF_TWO)
    monkeypatch.chdir(project)
    monkeypatch.setenv("DVC_STAGE", "demo")
    keep_record()
    assert (project / ".scratch/dvc.lock").read_text() == LOCK_OF_TWO
    return project


def test_a_lock_that_has_lost_stages_is_refused(recorded):
    (recorded / "dvc.lock").write_text(LOCK_OF_TWO.partition("  demo")[0])
    with pytest.raises(Fault) as caught:
        keep_record()
    assert str(caught.value).startswith("dvc.lock has lost its entries of demo, ")
    assert "`cp .scratch/dvc.lock dvc.lock` gets them back" in str(caught.value)
    assert (recorded / ".scratch/dvc.lock").read_text() == LOCK_OF_TWO


def test_a_stage_that_is_no_more_is_not_missed(recorded):
    shorter = LOCK_OF_TWO.partition("  demo")[0]
    (recorded / "dvc.lock").write_text(shorter)
    (recorded / "dvc.yaml").write_text("stages:\n  check:\n    cmd: a\n")
    keep_record()
    assert (recorded / ".scratch/dvc.lock").read_text() == shorter


def test_a_stage_run_by_hand_keeps_no_copy(recorded, monkeypatch):
    (recorded / "dvc.lock").write_text("")
    monkeypatch.delenv("DVC_STAGE")
    keep_record()
    assert (recorded / ".scratch/dvc.lock").read_text() == LOCK_OF_TWO
