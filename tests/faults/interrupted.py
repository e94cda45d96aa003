"""A `dvc repro` that is disturbed: what runs in it, what it has written, what is left of it, and its results."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from threading import Thread

import psutil
from ruamel.yaml import YAML

from stages.core.files import md5
from tests.pipeline.repository import TIMEOUT, Repository, copy

STAGES = (
    *("check", "download", "prepare", "balance", "classify", "cam", "affinity", "refine", "size_targets"),
    *("segment", "predict", "evaluate", "track"),
)
SAMPLE = ("check", "download", "prepare", "classify")  # the stages of the tests without --whole
FOLDERS = ("data", "models", "metrics")  # where outs are
GONE = 120  # seconds until all processes of a disturbed run must have ended, on a busy machine
SETTLED = 1.5  # seconds after which nothing writes an out any more
STARTS = re.compile(r"Running stage '(\w+)'")
WORKED = re.compile(r"^=== .*: exit code 0, ([\d.]+) s", re.MULTILINE)  # in a stage's log
WORKER = "multiprocessing.spawn import spawn_main"  # in the command line of a pool's worker process


class Repro:
    """`dvc repro STAGE` in a session of its own, read while it runs.

    started: when DVC said that it runs a stage, by name, on the clock of `time.monotonic`; in order.
    """

    def __init__(self, repository: Repository, stage: str) -> None:
        self.folder = repository.folder
        self._log, self._entries = log_of(repository, stage), entries(log_of(repository, stage))
        self.process = repository.start("dvc", "repro", stage)
        self.started: dict[str, float] = {}
        self._lines: list[str] = []
        self._reader = Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> Repro:
        return self

    def __exit__(self, *exc: object) -> None:
        self.end()

    def _read(self) -> None:
        with self.process.stdout as lines:
            for line in lines:
                self._lines.append(line)
                if found := STARTS.match(line):
                    self.started[found[1]] = time.monotonic()

    @property
    def output(self) -> str:
        """What it has printed so far."""
        return "".join(self._lines)

    def ended(self) -> bool:
        """Whether DVC has ended."""
        return self.process.poll() is not None

    def works(self) -> bool:
        """Whether the process of the stage that was asked for has loaded its modules and begun its work."""
        return entries(self._log) > self._entries

    def wait_for(self, happened: Callable[[], object]) -> bool:
        """Until something has happened in the run; False where the run has ended without it."""
        deadline = time.monotonic() + TIMEOUT
        while not happened():
            if self.ended():
                self._reader.join(GONE)  # an orphan would keep the pipe open
                return bool(happened())
            assert time.monotonic() < deadline, f"`dvc repro` hangs:\n{self.output}"
            time.sleep(0.03)
        return True

    def alive(self) -> list[psutil.Process]:
        """Every living process of the session, also one whose parent is gone."""
        self.process.poll()  # DVC itself is no zombie after this
        return [process for pid in psutil.pids() if (process := member(pid, self.process.pid))]

    def command(self) -> psutil.Process | None:
        """The process of the stage that runs, None between two stages."""
        return next(self._children("stages."), None)

    def workers(self) -> list[psutil.Process]:
        """The worker processes of a pool."""
        return list(self._children(WORKER))

    def _children(self, text: str) -> Iterator[psutil.Process]:
        try:
            below = psutil.Process(self.process.pid).children(recursive=True)
        except psutil.NoSuchProcess:
            return
        for child in below:
            try:
                if text in " ".join(child.cmdline()):
                    yield child
            except psutil.Error:  # it has just ended
                continue

    def nothing_is_left(self) -> None:
        """No process lives on, and none has written an out a moment after the disturbance."""
        time.sleep(SETTLED)
        before, deadline = written(self.folder), time.monotonic() + GONE
        while (left := self.alive()) and time.monotonic() < deadline:
            time.sleep(0.05)
        self.end()
        assert not left, f"{GONE} s later there still run {left}\n{self.output}"
        changed = {path for path, _ in written(self.folder) ^ before}
        assert not changed, f"an orphan has written {sorted(changed)}\n{self.output}"

    def end(self) -> None:
        """Ends what has not ended by itself, and reads the rest of the output."""
        for process in self.alive():
            process.kill()
        self.process.wait()
        self._reader.join()


def member(pid: int, session: int) -> psutil.Process | None:
    """The process, if it lives in that session."""
    try:
        process = psutil.Process(pid)
        return process if os.getsid(pid) == session and process.status() != psutil.STATUS_ZOMBIE else None
    except (ProcessLookupError, psutil.NoSuchProcess):
        return None


def log_of(repository: Repository, stage: str) -> Path:
    """Where a stage says when it begins and ends."""
    return repository.folder / ".scratch/logs" / f"{stage}.log"


def entries(log: Path) -> int:
    """How often a stage has begun its work."""
    return log.read_text(encoding="utf-8").count(": started by ") if log.exists() else 0


def kill_dvc(repro: Repro) -> None:
    """As the kernel does when memory is short."""
    repro.process.kill()


def kill_stage(repro: Repro) -> None:
    """The process of the present stage, or of the next one where there is none just then."""
    while not repro.ended():
        if stage := repro.command():
            with contextlib.suppress(psutil.NoSuchProcess):
                stage.kill()
            return
        time.sleep(0.01)


def to_group(number: signal.Signals, repro: Repro) -> None:
    """As a terminal does on Ctrl-C."""
    os.killpg(repro.process.pid, number)


def to_dvc(number: signal.Signals, repro: Repro) -> None:
    """As `kill` does with one process id."""
    repro.process.send_signal(number)


def written(folder: Path) -> set[tuple[Path, int]]:
    """The outs that are there, under their own name, and when each was written."""
    found = set()
    for path in (path for name in FOLDERS for path in (folder / name).rglob("[!.]*")):
        try:
            if path.is_file():
                found.add((path, path.stat().st_mtime_ns))
        except FileNotFoundError:
            continue
    return found


def lock_of(repository: Repository) -> dict[str, dict]:
    """The entries of dvc.lock by stage."""
    return YAML(typ="safe").load(repository.read("dvc.lock"))["stages"]


def forget(repository: Repository, stages: Iterable[str]) -> None:
    """As if the stages had never run: no outs, no entries in dvc.lock, no record of former runs."""
    path = repository.folder / "dvc.lock"
    yaml = YAML()
    tree = yaml.load(path)
    for out in (out for stage in stages for out in tree["stages"].pop(stage, {}).get("outs", [])):
        there = repository.folder / out["path"]
        shutil.rmtree(there) if there.is_dir() else there.unlink(missing_ok=True)
    yaml.dump(tree, path)
    shutil.rmtree(repository.folder / ".dvc/cache/runs", ignore_errors=True)
    (repository.folder / ".scratch/dvc.lock").unlink(missing_ok=True)


def finish(repository: Repository, stage: str) -> str:
    """What `dvc repro STAGE` prints, once a record that DVC was writing is mended."""
    code, output = repository.attempt("dvc", "repro", stage)
    if code and mend_record(repository, output):
        return repository.run("dvc", "repro", stage)
    assert code == 0, output
    return output


def mend_record(repository: Repository, output: str) -> bool:
    """Does what README.md says where DVC was killed while it wrote a record of its own; whether one was named."""
    refused = any(word in output for word in ("corrupted", "is invalid", "validation failed", "dvc.lock has lost"))
    if refused and ".dvc/tmp/rwlock" in output:
        (repository.folder / ".dvc/tmp/rwlock").unlink()
    elif refused and "dvc.lock" in output:
        shutil.copyfile(repository.folder / ".scratch/dvc.lock", repository.folder / "dvc.lock")
    else:
        return False
    return True


def results(repository: Repository, stages: Iterable[str]) -> dict[str, str]:
    """The md5 of every file that the stages have made, read anew, by path; each is what dvc.lock says."""
    found, lock = {}, lock_of(repository)
    for out in (out for stage in stages for out in lock[stage].get("outs", [])):
        path = repository.folder / out["path"]
        below = sorted(path.rglob("*")) if path.is_dir() else [path]
        found |= {str(file.relative_to(repository.folder)): md5(file) for file in below}
        if not path.is_dir():
            assert md5(path) == out["md5"], f"dvc.lock has another md5 of {out['path']} than the file itself"
        found[f"{out['path']} in dvc.lock"] = out["md5"]
    parts = [str(path) for name in FOLDERS for path in (repository.folder / name).rglob("*.part")]
    assert not parts, f"left over: {parts}"
    return found


@dataclass(frozen=True)
class Undisturbed:
    """A run on one thread that nothing has disturbed.

    repository: where it has run.
    stages: what has run.
    seconds: how long each stage took, with the start of its process and with DVC's own work.
    work: how long it took without these.
    """

    repository: Repository
    stages: Sequence[str]
    seconds: dict[str, float]
    work: dict[str, float]

    def again(self, name: str, first: str, **variables: str) -> Repository:
        """A copy of it in which stage `first` and all after it have not run."""
        folder = self.repository.folder.with_name(name)
        shutil.copytree(self.repository.folder, folder, symlinks=True)
        repository = Repository(folder, variables)
        forget(repository, self.stages[self.stages.index(first) :])
        return repository

    def agrees(self, other: Repository, last: str) -> None:
        """All that the stages up to `last` have made there are the same bytes."""
        stages = self.stages[: self.stages.index(last) + 1]
        expected, found = results(self.repository, stages), results(other, stages)
        differing = sorted(name for name in expected | found if expected.get(name) != found.get(name))
        assert not differing, f"other bytes than without a disturbance: {differing}"


def run_undisturbed(folder: Path, stages: Sequence[str]) -> Undisturbed:
    """Runs the stages in a copy of the project."""
    repository = copy(folder, SIZEWISE_TRACK="0")
    with Repro(repository, stages[-1]) as repro:
        repro.wait_for(repro.ended)
    assert repro.process.returncode == 0, repro.output
    moments = [*repro.started.values(), time.monotonic()]
    seconds = dict(zip(repro.started, (end - start for start, end in pairwise(moments)), strict=True))
    assert set(seconds) == set(stages)
    work = {stage: float(WORKED.findall(log_of(repository, stage).read_text(encoding="utf-8"))[-1]) for stage in stages}
    return Undisturbed(repository, tuple(seconds), seconds, work)
