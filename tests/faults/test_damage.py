"""Files with wrong bytes: noticed by name, never used, with a word about what to do."""

from __future__ import annotations

import shutil
import sqlite3
import tarfile
import time
import zipfile
from contextlib import closing
from itertools import cycle
from pathlib import Path

import numpy as np
import pytest

from stages.core.dataset import Dataset
from stages.core.faults import Fault
from stages.core.files import md5
from stages.core.params import Params
from stages.download.source import write_index
from stages.prepare.build import prepare
from stages.prepare.voc import CLASSES
from stages.track import verify
from tests.faults.damage import PAGES, WAYS, cut_off, end_lost, flipped, garbage
from tests.faults.rooms import EPOCHS, Project
from tests.pipeline.repository import copy
from tests.prepare.conftest import IDS, mask_of, photograph, save

READERS = {  # by file: rooms that read it
    "data/tiny/raw.zip": ("prepare", "cam"),
    "data/tiny/dataset.zip": ("balance", "size_targets", "refine", "evaluate"),
    "data/tiny/cam.zip": ("refine", "evaluate"),
    "data/tiny/edges.zip": ("refine",),
    "data/tiny/pseudo_masks.zip": ("evaluate",),
    "data/tiny/predictions.zip": ("evaluate",),
    "models/tiny/pretrained.pt": ("classify",),
    "models/tiny/classifier.pt": ("cam",),
    "models/tiny/segmenter.pt": ("predict",),
}
TABLES = {
    "data/tiny/balanced.csv": "evaluate",
    "data/tiny/size_targets.csv": "segment",
    "metrics/size_error.csv": "evaluate",
}


def write(path: Path, content: bytes) -> None:
    """Bytes in a file's place, which DVC may have made read-only or linked to its cache."""
    path.unlink()
    path.write_bytes(content)


def judge(
    project: Project, room: str, path: str, sound: dict[str, str], always: bool = False, **variables: str
) -> None:
    """Runs a room that reads a damaged file: it must name the file, or (not `always`) make what it would without."""
    project.remove_outs(room)
    ending = project.run(room, **variables)
    made = project.md5s(room)
    assert made.items() <= sound.items(), f"wrong outs of {room}: {made.items() - sound.items()}"
    if always or ending.code:
        ending.told(path)
        assert "remove it" in ending.output, ending.output
    else:
        assert made == sound, ending.output


@pytest.mark.parametrize("path", READERS)
def test_a_damaged_file_stops_the_room_that_reads_it(path, finished, tmp_path, count, whole):
    """Run by hand, where a zip's own checksums are all there is; bytes that mean nothing may be wrong."""
    tally = count(f"{Path(path).name} damaged, its reader run by hand")
    generator = np.random.default_rng(len(path))
    project = finished.copy(tmp_path)
    content = (project.folder / path).read_bytes()
    for number, (damage, room) in enumerate(zip(WAYS * (2 if whole else 1), cycle(READERS[path]), strict=False)):
        if not whole and number not in (len(path) % 6, (len(path) + 3) % 6):
            continue
        with tally.trial(f"{damage.__name__} {number}, read by {room}"):
            write(project.folder / path, damage(content, generator))
            judge(project, room, path, finished.md5s(room))
        write(project.folder / path, content)
        finished.give_outs(room, project)


def test_under_dvc_no_wrong_byte_is_read(finished, tmp_path, count, whole):
    """As DVC runs it, dvc.lock says what the file must be: every byte counts, also in tables without checksums."""
    tally = count("an out damaged in place, its reader run by DVC")
    generator = np.random.default_rng(5)
    project = finished.copy(tmp_path)
    readers = [(path, room) for path, rooms in READERS.items() for room in rooms] + list(TABLES.items())
    ways = cycle(WAYS)
    for number, (path, room) in enumerate(readers):
        if not whole and number % 4:
            continue
        content, damage = (project.folder / path).read_bytes(), next(ways)
        with tally.trial(f"{path}, {damage.__name__} {number}, read by {room}"):
            write(project.folder / path, damage(content, generator))
            judge(project, room, path, finished.md5s(room), always=True, DVC_STAGE=room)
        write(project.folder / path, content)
        finished.give_outs(room, project)


@pytest.mark.parametrize("room", ["classify", "segment"])
def test_a_damaged_checkpoint_is_not_gone_on_from(room, finished, tmp_path, count, whole):
    tally = count(f"the checkpoint of a training of {room} damaged")
    generator = np.random.default_rng(6)
    project, sound = finished.copy(tmp_path), finished.md5s(room)
    shutil.rmtree(project.folder / ".scratch/checkpoints", ignore_errors=True)
    project.remove_outs(room)
    path = stopped(project, room)
    content = path.read_bytes()
    for number, damage in enumerate(WAYS * (3 if whole else 1)):
        if not whole and number % 3:
            continue
        with tally.trial(f"{damage.__name__} {number}"):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(damage(content, generator))
            judge(project, room, path.name, sound)
            if path.exists():  # as the message says
                path.unlink()
                ending = project.run(room)
                assert ending.code == 0, ending.output
                assert project.md5s(room) == sound


def stopped(project: Project, room: str) -> Path:
    """Kills a training after its first checkpoint, which is returned."""
    running = project.begin(room)
    deadline = time.monotonic() + 120
    while not (found := list(project.folder.glob(f".scratch/checkpoints/*/{room}.pt"))):
        assert running.process.is_alive()
        assert time.monotonic() < deadline
        time.sleep(0.002)
    running.process.kill()
    running.end()
    assert found[0].exists(), "the training was faster than its end"
    return found[0]


def test_a_damaged_mlflow_database_is_named_and_left_alone(finished, tmp_path, count, whole):
    """Training goes on without it, `track` ends with a message; with the file renamed, there is a new store."""
    tally = count("MLflow's database damaged")
    generator = np.random.default_rng(7)
    project, sound = finished.copy(tmp_path), finished.md5s("classify")
    database = project.folder / ".mlflow/mlflow.db"
    assert project.run("classify", SIZEWISE_TRACK="1").code == 0
    content = database.read_bytes()
    for number, damage in enumerate(PAGES * (3 if whole else 1)):
        if not whole and number in (0, 3):
            continue
        with tally.trial(f"{damage.__name__} {number}"):
            for path in database.parent.glob("mlflow.db*"):
                path.unlink()
            wrong = damage(content, generator)
            database.write_bytes(wrong)
            project.remove_outs("classify")
            ending = project.run("classify", SIZEWISE_TRACK="1")
            assert (ending.code, project.md5s("classify")) == (0, sound), ending.output
            assert "Traceback" not in ending.output, ending.output
            if "the database is damaged" not in ending.output:  # wrong bytes in a page that nothing uses
                assert losses(database) == EPOCHS, f"{losses(database)} epochs: {ending.output}"
                continue
            assert "mlflow.db" in ending.output
            project.run("track", SIZEWISE_TRACK="1").told("mlflow.db: the database is damaged; rename it")
            assert database.read_bytes() == wrong
            database.rename(database.with_name("damaged"))
            ending = project.run("track", SIZEWISE_TRACK="1")
            assert ending.code == 0, ending.output


def losses(database: Path) -> int:
    """How many epochs' losses the runs that are not deleted have."""
    query = "SELECT COUNT(*) FROM metrics JOIN runs USING (run_uuid) WHERE key = 'loss' AND lifecycle_stage = 'active'"
    with closing(sqlite3.connect(database)) as opened:
        return opened.execute(query).fetchone()[0]


@pytest.fixture(scope="module")
def cached(tmp_path_factory):
    """A repository after real DVC commands."""
    repository = copy(tmp_path_factory.mktemp("cached") / "one", SIZEWISE_TRACK="0")
    repository.run("dvc", "repro", "balance")
    repository.commit("balanced")
    return repository


def test_a_cache_object_changed_in_place_is_named(cached, count, whole, monkeypatch):
    monkeypatch.chdir(cached.folder)
    tally = count("an object of DVC's cache damaged, looked for by `make verify`")
    generator = np.random.default_rng(8)
    cache = cached.folder / ".dvc/cache"
    before = verify.verify(cache, every=True).wrong  # what a project without results lacks
    for number, path in enumerate(sorted((cache / "files/md5").glob("??/*")) * (5 if whole else 1)):
        content, damage = path.read_bytes(), WAYS[number % len(WAYS)]
        if not content:
            continue
        with tally.trial(f"{path.name}, {damage.__name__}"):
            path.chmod(0o644)
            wrong = damage(content, generator)
            path.write_bytes(wrong)  # in place: hard links share it
            said = set(verify.verify(cache, every=True).wrong) - set(before)
            path.write_bytes(content)
            assert wrong == content or any(str(path) in line and "remove it" in line for line in said), said


def test_a_damaged_cache_object_reaches_no_result(cached, count, whole):
    """DVC believes its cache; the room that reads the object's bytes names the file, `verify` the object to remove."""
    tally = count("an object of DVC's cache damaged, then `dvc repro`")
    generator = np.random.default_rng(9)
    sound = cached.md5s()
    for number, name in enumerate(["data/tiny/dataset.zip", "data/tiny/raw.zip"] * (3 if whole else 1)):
        if not whole and number:
            continue
        room = {"data/tiny/dataset.zip": "balance", "data/tiny/raw.zip": "prepare"}[name]
        with tally.trial(f"{name} {number}"):
            value = sound[name]
            path = cached.folder / ".dvc/cache/files/md5" / value[:2] / value[2:]
            content = flipped(path.read_bytes(), generator)
            (cached.folder / name).unlink()
            write(path, content)
            path.chmod(0o444)
            cached.run("dvc", "checkout", f"{name}")
            code, output = cached.attempt("dvc", "repro", "--single-item", "--force", "--no-run-cache", room)
            if md5(cached.folder / name) != value:  # DVC took the object as it is
                assert code != 0, output
                assert f"sizewise {room}: {name} is damaged" in output
                assert "Traceback" not in output
                code, said = cached.attempt("python", "-m", "stages.track.verify")
                assert code == 1
                assert str(path) in said
            path.unlink(missing_ok=True)
            (cached.folder / name).unlink(missing_ok=True)
            cached.run("dvc", "repro", "balance")
            assert cached.md5s() == sound
            assert md5(cached.folder / name) == value


@pytest.fixture
def voc(tmp_path) -> Path:
    """A VOC folder of three images."""
    root = tmp_path / "VOC2012"
    for image_id in IDS:
        save(root / f"JPEGImages/{image_id}.jpg", photograph(image_id))
        save(root / f"SegmentationClass/{image_id}.png", mask_of(image_id), palette=True)
    (root / "ImageSets/Segmentation").mkdir(parents=True)
    (root / "ImageSets/Segmentation/train.txt").write_text("a\nb\n")
    (root / "ImageSets/Segmentation/val.txt").write_text("c\n")
    return root


def pack(voc: Path, path: Path) -> Path:
    """The folder as an archive."""
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w") as archive:
            for file in sorted(voc.rglob("*")):
                method = zipfile.ZIP_STORED if file.suffix == ".jpg" else zipfile.ZIP_DEFLATED
                archive.write(file, file.relative_to(voc.parent), method)
        return path
    with tarfile.open(path, "w:gz" if path.suffix == ".tgz" else "w") as archive:
        archive.add(voc, "VOC2012")
    return path


@pytest.mark.parametrize("suffix", ["tar", "zip", "tgz"])
def test_a_damaged_archive_of_a_data_set(suffix, voc, tmp_path, count, whole, monkeypatch):
    """Before `download` its checksum is wrong; after it, what is read in place is not what was indexed."""
    monkeypatch.setenv("SIZEWISE_DOWNLOADS", str(tmp_path / "downloads"))
    (tmp_path / "source").mkdir()
    path = pack(voc, tmp_path / "source" / f"voc.{suffix}")
    content = path.read_bytes()
    section = voc_section(path)
    raw, out = tmp_path / "raw.zip", tmp_path / "dataset.zip"
    write_index(raw, "mine", path.parent, section)
    prepare(raw, out, "mine", section, tmp_path / "parts")
    images = {image_id: Dataset(out).image(image_id) for image_id in IDS}
    [read] = {Path(record.location[record.location.index("/") :]) for record in Dataset(out).records.values()}
    generator = np.random.default_rng(10)

    tally = count(f"an archive (.{suffix}) of a data set damaged before it is indexed")
    for number, damage in enumerate(WAYS * (3 if whole else 1)):
        with tally.trial(f"{damage.__name__} {number}"):
            path.write_bytes(damage(content, generator))
            raw.unlink(missing_ok=True)
            with pytest.raises(Fault, match=rf"voc\.{suffix} has \d+ bytes with md5:"):
                write_index(raw, "mine", path.parent, section)
            assert not raw.exists()
    path.write_bytes(content)
    write_index(raw, "mine", path.parent, section)

    tally = count(f"an archive (.{suffix}) of a data set damaged after it was indexed")
    content, sound = read.read_bytes(), md5(out)
    for number, damage in enumerate((flipped, cut_off, end_lost, garbage) * (10 if whole else 3)):
        with tally.trial(f"{damage.__name__} {number}"):
            read.write_bytes(damage(content, generator))
            for image_id in IDS:
                try:
                    image = Dataset(out).image(image_id)
                except Fault as fault:
                    assert read.name in str(fault), fault
                    assert "dvc repro -f download" in str(fault), fault
                else:
                    assert np.array_equal(image, images[image_id])
            again = tmp_path / f"again-{number}.zip"
            try:
                prepare(raw, again, "mine", section, tmp_path / "others" / str(number))
            except Fault as fault:
                assert "changed since" in str(fault), fault
                assert not again.exists()
            else:
                assert md5(again) == sound


def voc_section(path: Path) -> Params:
    """The data set's section of params.yaml."""
    archive = {
        "file": path.name,
        "url": f"http://127.0.0.1:9/{path.name}",
        "mirrors": [],
        "size": path.stat().st_size,
        "checksum": f"md5:{md5(path)}",
        "confirmed": True,
        "strip": "VOC2012/",
        "under": "none",
    }
    lists = {"format": "voc", "lists": {"train": "train", "val": "val"}, "masks": ["SegmentationClass"]}
    rest = {"instances": "none", "tags": "masks", "tags_file": "none", "size_bins": [16, 64], "headline": "val"}
    return Params({**lists, **rest, "untrained": list(CLASSES[3:]), "archives": [archive]})
