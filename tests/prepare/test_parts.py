"""An interrupted run goes on where it was, and gives the same bytes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from stages.core.faults import Fault
from stages.prepare import parts
from stages.prepare.build import prepare
from stages.prepare.verify import verify
from tests.prepare.conftest import save

ROOT = Path(__file__).parents[2]


@pytest.fixture
def many(voc) -> Path:
    """The VOC folder with 12 training images."""
    for number in range(10):
        generator = np.random.default_rng(number)
        save(voc / f"JPEGImages/n{number}.jpg", generator.integers(0, 256, (12, 16, 3), dtype=np.uint8))
        save(voc / f"SegmentationClass/n{number}.png", generator.integers(0, 3, (12, 16), dtype=np.uint8))
        save(voc / f"SegmentationObject/n{number}.png", generator.integers(0, 9, (12, 16), dtype=np.uint8))
    ids = ["a", "b", *(f"n{number}" for number in range(10))]
    (voc / "ImageSets/Segmentation/train.txt").write_text("\n".join(ids))
    return voc


@pytest.fixture
def stop_after(monkeypatch):
    """A function that makes the check of the n-th image (from 0) end the run, and counts the checks."""
    seen = []

    def limit(number: float) -> list[str]:
        def check(raw, labels, entry):
            if len(seen) == number:
                raise KeyboardInterrupt
            seen.append(entry.id)
            return verify(raw, labels, entry)

        seen.clear()
        monkeypatch.setattr("stages.prepare.build.verify", check)
        return seen

    return limit


def test_goes_on_where_it_was(many, voc_params, prepared, stop_after, monkeypatch, tmp_path):
    monkeypatch.setattr(parts, "PART", 4)
    data = voc_params(instances="SegmentationObject")
    prepared(many, data)
    whole = prepared.out.read_bytes()
    prepared.out.unlink()
    for path in (tmp_path / "parts").glob("*"):
        path.unlink()

    stop_after(10)
    with pytest.raises(KeyboardInterrupt):
        prepared.prepare(data)
    assert not prepared.out.exists()
    assert len(list((tmp_path / "parts").glob("*.zip"))) == 2
    seen = stop_after(np.inf)
    prepared.prepare(data)
    assert len(seen) == 13 - 8
    assert prepared.out.read_bytes() == whole


def test_images_without_masks_have_parts_too(folder, folder_params, prepared, stop_after, monkeypatch, tmp_path):
    monkeypatch.setattr(parts, "PART", 1)
    (folder / "tags.csv").write_text("a,box\nb,round thing\nc,box\n")
    data = folder_params(masks="evaluated", tags="file")
    prepared.index(folder, data)
    stop_after(2)
    with pytest.raises(KeyboardInterrupt):
        prepared.prepare(data)
    assert list((tmp_path / "parts").glob("*.zip"))
    stop_after(np.inf)
    dataset = prepared.prepare(data)
    assert [dataset.masked([name]) for name in "abc"] == [False, False, True]


def test_faults_leave_no_parts(many, voc_params, prepared, monkeypatch, tmp_path):
    monkeypatch.setattr(parts, "PART", 2)
    Image.fromarray(np.full((12, 16), 77, np.uint8)).save(many / "SegmentationClass/n5.png")
    prepared.index(many, voc_params())
    with pytest.raises(Fault, match="label value 77"):
        prepare(prepared.raw, prepared.out, "mine", voc_params(), tmp_path / "parts")
    assert not list((tmp_path / "parts").glob("*"))


def test_a_small_data_set_writes_no_parts(voc, voc_params, prepared, tmp_path):
    prepared(voc, voc_params())
    assert not (tmp_path / "parts").exists()


COMMAND = """
import time, sys
from pathlib import Path
from stages.core.stage import Stage, Declared
from stages.core.params import Params
from stages.prepare import parts, build, __main__ as room
from stages.prepare.verify import verify
parts.PART = 4
wait = float(sys.argv[1])
def slow(raw, labels, entry):
    time.sleep(wait)
    with open("seen.txt", "a") as file:
        file.write(entry.id + chr(10))
    return verify(raw, labels, entry)
build.verify = slow
data = Params(eval(sys.argv[2], {}))
params = Declared("prepare", "the key", {"dataset": "mine", "datasets.${dataset}": data})
deps = Declared("prepare", "the dependency", {"raw": Path("raw.zip")})
room.main(Stage("prepare", params, deps, Declared("prepare", "the out", {"dataset": Path("out/dataset.zip")})))
"""


def test_a_killed_command_goes_on_and_leaves_nothing(many, voc_params, prepared, tmp_path):
    data = voc_params()
    prepared(many, data)
    whole = prepared.out.read_bytes()
    prepared.out.unlink()
    scratch = tmp_path / ".scratch/checkpoints"
    environment = os.environ | {"PYTHONPATH": str(ROOT), "SIZEWISE_JOBS": "1"}

    def start(wait: float) -> subprocess.Popen:
        command = [sys.executable, "-c", COMMAND, str(wait), repr(data.plain())]
        return subprocess.Popen(command, cwd=tmp_path, env=environment)

    process = start(0.2)
    deadline = time.monotonic() + 60
    while not list(scratch.glob("*/000000.zip")):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not prepared.out.exists()
    done = 4 * len(list(scratch.glob("*/*.zip")))
    (tmp_path / "seen.txt").unlink()
    assert start(0).wait() == 0
    assert len((tmp_path / "seen.txt").read_text().split()) == 13 - done
    assert prepared.out.read_bytes() == whole
    assert not list(scratch.iterdir())
