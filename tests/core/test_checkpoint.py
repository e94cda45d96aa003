"""Checkpoints of interrupted trainings, and of two processes with the same one."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from stages.core.checkpoint import checkpoint
from stages.core.stage import Declared, Stage


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stage:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    (tmp_path / "in.csv").write_text("id\n")
    (tmp_path / "code.py").write_text("")
    return make(1)


def make(epochs: int) -> Stage:
    def declared(kind: str, values: dict) -> Declared:
        return Declared("segment", kind, values)

    return Stage(
        "segment",
        declared("key", {"epochs": epochs}),
        declared("dep", {"in": Path("in.csv")}),
        declared("out", {}),
        (Path("code.py"),),
    )


def test_the_path_depends_on_params_inputs_and_code(stage: Stage) -> None:
    def path(stage: Stage) -> Path:
        with checkpoint(stage) as found:
            return found

    first = path(stage)
    assert path(make(1)) == first
    assert path(make(2)) != first
    for name in ("in.csv", "code.py"):
        content = Path(name).read_text()
        Path(name).write_text(content + "x")
        assert path(stage) != first
        Path(name).write_text(content)


def test_it_outlives_an_error_and_not_the_end(stage: Stage) -> None:
    with pytest.raises(RuntimeError), checkpoint(stage) as path:
        path.write_text("epoch 1")
        raise RuntimeError
    with checkpoint(stage) as again:
        assert again == path and again.read_text() == "epoch 1"
    assert not path.parent.exists()


def test_the_second_of_two_equal_trainings_waits_for_the_result_of_the_first(
    stage: Stage, capsys: pytest.CaptureFixture[str]
) -> None:
    seen = []

    def second() -> None:
        with checkpoint(stage) as path:
            seen.append(path.read_text())

    with checkpoint(stage) as path:
        thread = threading.Thread(target=second)
        thread.start()
        deadline = time.monotonic() + 20
        while not any(path.parent.glob("waits-*")) and time.monotonic() < deadline:
            time.sleep(0.01)
        assert not seen
        path.write_text("last epoch")
    thread.join(20)
    assert seen == ["last epoch"]
    assert not path.parent.exists()
    assert "another process does the same work of this stage; waiting" in capsys.readouterr().err
