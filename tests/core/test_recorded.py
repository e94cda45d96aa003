"""What a stage reads must be what dvc.lock says that it is, when DVC runs the stage."""

from pathlib import Path

import pytest
from ruamel.yaml import YAML

from stages.core.faults import Fault
from stages.core.files import md5
from stages.core.recorded import refuse_damaged

ONE, TWO, FOLDER = Path("data/one.csv"), Path("data/two.csv"), Path("metrics/pictures")


@pytest.fixture(autouse=True)
def project(tmp_path, monkeypatch):
    """Two outs of stage `make`, a folder, and dvc.lock; DVC runs the stage that reads them."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DVC_STAGE", "use")
    FOLDER.mkdir(parents=True)
    ONE.parent.mkdir()
    for path in (ONE, TWO):
        path.write_text(f"{path}\n")
    outs = [{"path": str(path), "hash": "md5", "md5": md5(path)} for path in (ONE, TWO)]
    outs.append({"path": str(FOLDER), "hash": "md5", "md5": "0" * 32 + ".dir"})
    YAML().dump({"schema": "2.0", "stages": {"make": {"cmd": "x", "outs": outs}}}, Path("dvc.lock"))


def test_what_is_as_it_was_written_is_read():
    refuse_damaged([ONE, TWO, FOLDER, Path("params.yaml")])


def test_every_file_that_is_not_is_named():
    TWO.write_text("other\n")
    with pytest.raises(
        Fault, match=r"^data/two\.csv is damaged: .* stage make wrote [0-9a-f]{32} \(dvc\.lock\); remove"
    ):
        refuse_damaged([ONE, TWO])
    ONE.write_text("other\n")
    with pytest.raises(Fault, match=r"(?s)\(2 faults\).*data/one\.csv is damaged.*data/two\.csv is damaged"):
        refuse_damaged([ONE, TWO])


def test_by_hand_a_file_may_be_newer_than_the_lock(monkeypatch):
    TWO.write_text("other\n")
    monkeypatch.delenv("DVC_STAGE")
    refuse_damaged([ONE, TWO])


def test_without_a_lock_nothing_is_known():
    Path("dvc.lock").unlink()
    refuse_damaged([ONE, TWO])
