"""Disks that are full or can only be read: a message, no half of a file, and the same results once there is space."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from tests.faults.disks import filled, read_only, small_disk
from tests.faults.rooms import ROOMS, Ending, Project
from tests.pipeline.repository import copy

DISK = 96  # MB; the project has 10
FULL, LONG, CLOSED = "no space left on the disk", "a file is larger than allowed", "the disk can only be read"
TRAININGS = ("classify", "segment")


@pytest.fixture
def project(finished, tmp_path):
    """The finished project on a disk of its own, and that disk."""
    with small_disk(tmp_path / "disk", DISK) as disk:
        yield finished.copy(disk / "project")


def judge(project: Project, finished: Project, room: str, broken: AbstractContextManager, said: str, **run) -> None:
    """Runs a room while something is broken, and once more when it is mended.

    The first run makes all its outs or says why not, and each out is whole or absent; the second makes them all.
    """
    shutil.rmtree(project.folder / ".scratch/checkpoints", ignore_errors=True)
    project.remove_outs(room)
    sound = finished.md5s(room)
    with broken:
        ending = project.run(room, **run)
        made = project.md5s(room)
    assert made.items() <= sound.items(), f"half an out of {room}: {made.items() - sound.items()}: {ending.output}"
    finished.give_outs(room, project)
    if ending.code:
        ending.told(said)
    else:
        assert made == sound, ending.output
    project.remove_outs(room)
    parts = [path for path in project.folder.rglob(".*.part") if path.is_file()]
    assert not parts, parts
    again = project.run(room)
    found = project.md5s(room)
    finished.give_outs(room, project)
    assert (again.code, found) == (0, sound), again.output


def steps(project: Project, room: str, whole: bool, number: int) -> list[int]:
    """Free bytes that end a room's writing at its beginning, within its outs, and near its end."""
    size = sum(path.stat().st_size for path in project.outs(room).values())
    found = [0, 4096, size // 4, size // 2, size * 3 // 4, size, size * 2]
    return found if whole else [found[number % len(found)]]


def some(rooms: Sequence[str], whole: bool, first: int) -> list[tuple[int, str]]:
    """The rooms with their numbers; every third one from `first` on, where a sample is enough."""
    return list(enumerate(rooms))[slice(None) if whole else slice(first, None, 3)]


def test_a_full_disk(project, finished, count, whole):
    tally = count("a room on a full disk")
    for number, room in some(ROOMS[:-1], whole, 0):
        for left in steps(finished, room, whole, number):
            with tally.trial(f"{room} with {left} bytes left"):
                judge(project, finished, room, filled(project.folder.parent, left), FULL)


def test_a_limit_of_the_files_size(finished, tmp_path, count, whole):
    """The same without a mount, as `ulimit -f` or a file system of small files does."""
    tally = count("a room that may write no large file")
    project = finished.copy(tmp_path)
    for number, room in some(ROOMS[1:-1], whole, 1):
        largest = max(path.stat().st_size for path in finished.outs(room).values())
        limits = [0, largest // 3, largest - 1] if whole else [(0, largest // 3, largest - 1)[number % 3]]
        for limit in limits:
            with tally.trial(f"{room} with files of {limit} bytes at most"):
                judge(project, finished, room, small_files(), LONG, limit=limit)


class small_files(AbstractContextManager):  # noqa: N801 - as the others are written
    """Nothing around the run: the limit is one of its process."""

    def __exit__(self, *_: object) -> None:
        """Nothing to mend."""


def test_folders_that_can_only_be_read(project, finished, count, whole):
    tally = count("a room whose folders can only be read")
    for number, room in some(ROOMS[:-1], whole, 2):
        outs = [path.parent for path in finished.outs(room).values()]
        folders = [path.relative_to(finished.folder) for path in dict.fromkeys(outs)] + [Path(".scratch"), Path()]
        for folder in folders if whole else [folders[number % len(folders)]]:
            with tally.trial(f"{room} with {folder or 'all'}"):
                broken = read_only(project.folder / folder)
                judge(project, finished, room, broken, CLOSED)


@pytest.mark.parametrize("room", TRAININGS)
def test_what_is_no_result_may_stay_unwritten(room, project, finished, count, whole):
    """A full or closed disk of MLflow's database or of the logs alone costs a line and no training."""
    tally = count("a training whose MLflow database or log cannot be written")
    for folder, said in ((".mlflow", "MLflow does not take metrics"), (".scratch/logs", "no more is written to")):
        for kind in ("full", "closed") if whole else ("full" if room == "classify" else "closed",):
            with tally.trial(f"{kind} {folder}"):
                project.remove_outs(room)
                shutil.rmtree(project.folder / folder, ignore_errors=True)
                with small_disk(project.folder / folder, 1) as disk:
                    ending = on(disk, kind, project, room)
                assert (ending.code, project.md5s(room)) == (0, finished.md5s(room)), ending.output
                assert said in ending.output, ending.output
                assert "Traceback" not in ending.output, ending.output


def on(disk: Path, kind: str, project: Project, room: str) -> Ending:
    """A training with MLflow beside a disk that takes nothing."""
    with filled(disk, 0) if kind == "full" else read_only(disk):
        return project.run(room, SIZEWISE_TRACK="1")


def test_the_last_stage_on_a_full_disk(project, count, whole):
    """`track` writes MLflow's database and the table of experiments; neither is lost or cut off."""
    tally = count("stage `track` on a full disk")
    table = project.folder / "metrics/experiments.csv"
    assert project.run("track", SIZEWISE_TRACK="1").code == 0
    sound = table.read_bytes()
    for left in (0, 4096, 20_000, 100_000) if whole else (0,):
        with tally.trial(f"{left} bytes left"):
            shutil.rmtree(project.folder / ".mlflow")
            with filled(project.folder.parent, left):
                ending = project.run("track", SIZEWISE_TRACK="1")
                ending.told("cannot be written to MLflow", FULL)
            assert table.read_bytes() == sound
            again = project.run("track", SIZEWISE_TRACK="1")
            assert (again.code, table.read_bytes()) == (0, sound), again.output


def test_dvc_on_a_full_disk(tmp_path, count, whole):
    """DVC itself fails where it links or records; once there is space, it ends as an undisturbed run."""
    if not whole:
        pytest.skip("only with --whole: minutes of real DVC runs")
    quiet = {"SIZEWISE_TRACK": "0", "PYTHONDONTWRITEBYTECODE": "1"}  # bytecode is what may stay unwritten
    with small_disk(tmp_path / "disk", 64) as disk:
        tally = count("`dvc repro` on a full disk")
        sound = copy(disk / "sound", **quiet)
        free = shutil.disk_usage(disk).free
        sound.run("dvc", "repro", "balance")
        taken = free - shutil.disk_usage(disk).free
        for left in (taken // 20, taken * 4 // 5, taken * 19 // 20):
            with tally.trial(f"{left} of {taken} bytes left"):
                shutil.rmtree(disk / "one", ignore_errors=True)
                repository = copy(disk / "one", **quiet)
                with filled(disk, left):
                    code, output = repository.attempt("dvc", "repro", "balance")
                    assert code != 0, output
                    assert "space left" in output, output
                repository.run("dvc", "repro", "balance")
                assert repository.md5s() == sound.md5s()
