"""A small finished project, and the rooms' commands in it: forked from a process that has them loaded, seconds each."""

from __future__ import annotations

import multiprocessing
import os
import resource
import shutil
import signal
import sys
import threading
from dataclasses import dataclass
from importlib import import_module
from multiprocessing.connection import Connection
from pathlib import Path

from ruamel.yaml import YAML

from stages.core.files import md5
from stages.core.stage import load
from tests.pipeline.repository import FOREIGN, ROOT, edit_params

ROOMS = (
    *("check", "download", "prepare", "balance", "classify", "cam", "affinity", "refine", "size_targets", "segment"),
    *("predict", "evaluate", "track"),
)
EPOCHS = 3  # of each training, so that it can be stopped in between
SECONDS = 300  # for a room; on an idle machine it takes one or two

_server = multiprocessing.get_context("forkserver")
READY = [*(f"stages.{room}.__main__" for room in ROOMS), "stages.segment.methods.size_target", "mlflow"]
READY += ["mlflow.store.tracking.sqlalchemy_store"]  # half a minute of imports on a busy machine
_server.set_forkserver_preload(READY)


@dataclass(frozen=True)
class Ending:
    """How a room's command ended: its exit code, negative for a signal, and all that it printed."""

    code: int
    output: str

    def told(self, *names: str) -> None:
        """It must have failed with a message that has one of the names, and without a traceback."""
        assert self.code == 1, f"exit code {self.code}: {self.output[-500:]}"
        assert "Traceback" not in self.output, self.output[-1500:]
        message = self.output.rpartition("sizewise ")[2]
        assert any(name in message for name in names), f"none of {names} in {self.output[-500:]}"


@dataclass(frozen=True)
class Project:
    """A folder with params.yaml and dvc.yaml, and what the rooms make in it."""

    folder: Path

    def copy(self, folder: Path) -> Project:
        """All of it in another folder, which may be there."""
        shutil.copytree(self.folder, folder, symlinks=True, dirs_exist_ok=True)
        return Project(folder)

    def edit(self, **changes: object) -> None:
        """Sets values of params.yaml; `__` in a name stands for the dot between keys."""
        edit_params(self.folder / "params.yaml", **changes)

    def outs(self, room: str) -> dict[str, Path]:
        """A room's outs that are files, by name."""
        found = load(room, self.folder).outs
        return {name: self.folder / path for name, path in found.items() if path.suffix}

    def remove_outs(self, room: str) -> None:
        """As DVC does before it runs a stage."""
        for path in self.outs(room).values():
            path.unlink(missing_ok=True)

    def give_outs(self, room: str, other: Project) -> None:
        """Copies a room's outs into another project."""
        for name, path in self.outs(room).items():
            shutil.copy2(path, other.outs(room)[name])

    def md5s(self, room: str) -> dict[str, str]:
        """The md5 of each of a room's outs that is there."""
        return {name: md5(path) for name, path in self.outs(room).items() if path.exists()}

    def begin(self, room: str, limit: int | None = None, **variables: str) -> Running:
        """Starts a room's command.

        Args:
            room: its name.
            limit: the largest file that it may write, in bytes.
            variables: added to its environment; without MLflow unless SIZEWISE_TRACK says so.
        """
        receiver, sender = _server.Pipe(duplex=False)
        settings = {"SIZEWISE_JOBS": "1", "OMP_NUM_THREADS": "1", "SIZEWISE_TRACK": "0"} | variables
        process = _server.Process(target=_run, args=(room, str(self.folder), sender, limit, settings))
        process.start()
        sender.close()
        return Running(process, receiver)

    def run(self, room: str, limit: int | None = None, **variables: str) -> Ending:
        """Runs a room's command to its end, see `begin`."""
        return self.begin(room, limit, **variables).end()


class Running:
    """A room's command in the background; its output is read as it comes."""

    def __init__(self, process: multiprocessing.process.BaseProcess, receiver: Connection) -> None:
        self.process = process
        self._receiver, self._parts = receiver, []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        while part := os.read(self._receiver.fileno(), 1 << 16):
            self._parts.append(part)

    def end(self, seconds: float = SECONDS) -> Ending:
        """Waits for the end; a command that does not end is killed, and that is no ending."""
        self.process.join(seconds)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()
            raise TimeoutError(f"no end after {seconds} s")
        self._reader.join(10)
        self._receiver.close()
        return Ending(self.process.exitcode, b"".join(self._parts).decode(errors="replace"))


def _run(room: str, folder: str, sender: Connection, limit: int | None, variables: dict[str, str]) -> None:
    """In the forked process: what `python -m stages.ROOM` does in a shell."""
    import torch

    from stages.core import stage
    from stages.download import source

    source.__file__ = f"{folder}/stages/download/source.py"  # where a process that was not forked would have it
    os.chdir(folder)
    for number in (1, 2):
        os.dup2(sender.fileno(), number)
    sender.close()
    sys.stdout, sys.stderr = (os.fdopen(number, "w", buffering=1, closefd=False) for number in (1, 2))
    for name in filter(FOREIGN.match, list(os.environ)):
        del os.environ[name]
    os.environ.update(variables)
    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if limit is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    stage.run(room, import_module(f"stages.{room}.__main__").main)


def finish(folder: Path) -> Project:
    """Makes the project in `folder`: data set `tiny` with few images, every room but `track` run, and a dvc.lock."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("params.yaml", "dvc.yaml"):
        shutil.copy2(ROOT / name, folder / name)
    (folder / "stages").symlink_to(ROOT / "stages")
    project = Project(folder)
    splits = {"train": 20, "val": 4, "test": 8}
    project.edit(dataset="tiny", datasets__tiny__image_size=48, datasets__tiny__splits=splits)
    project.edit(recipes__tiny__classifier__epochs=EPOCHS, recipes__tiny__segmenter__epochs=EPOCHS)
    project.edit(evaluate__bootstrap=100, evaluate__samples=2)
    for room in ROOMS[:-1]:
        ending = project.run(room)
        assert ending.code == 0, f"{room}: {ending.output}"
    lock(project)
    return project


def lock(project: Project) -> None:
    """Writes the md5s of all outs into dvc.lock, in the form of DVC 3."""
    stages = {}
    for room in ROOMS[:-1]:
        paths = [path for path in project.outs(room).values() if path.exists()]
        outs = [
            {"path": path.relative_to(project.folder).as_posix(), "hash": "md5", "md5": md5(path)} for path in paths
        ]
        stages[room] = {"cmd": f"exec python -m stages.{room}", "outs": outs}
    YAML().dump({"schema": "2.0", "stages": stages}, project.folder / "dvc.lock")
