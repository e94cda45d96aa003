"""The room's command: what it writes for either kind."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
import torch

from stages.affinity import irn
from stages.affinity.__main__ import main
from stages.core.faults import Fault
from stages.core.files import ZipReader, read_csv
from tests.affinity.conftest import HEIGHT, IRN, WIDTH

COLUMNS = "epoch,lr,loss,background,foreground,apart\n"


def test_none_writes_empty_files_of_the_same_bytes(stage, tmp_path: Path) -> None:
    for folder in ("one", "another"):
        main(stage({"kind": "none"}, folder))
    assert torch.load(tmp_path / "one" / "affinity.pt", weights_only=True) == {}
    assert ZipReader(tmp_path / "one" / "edges.zip").names() == ["edges.json"]
    assert (tmp_path / "one" / "affinity_log.csv").read_text() == COLUMNS
    for name in ("affinity.pt", "edges.zip", "affinity_log.csv"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "another" / name).read_bytes()


def test_unknown_kind(stage, tmp_path: Path) -> None:
    with pytest.raises(Fault, match="no affinity kind 'psa'; there are none and irn"):
        main(stage({"kind": "psa"}, "out"))
    assert not (tmp_path / "out").exists()


def test_irn_writes_the_branch_the_boundaries_and_a_log(stage, dataset, tmp_path: Path) -> None:
    main(stage(IRN, "out"))
    model = torch.load(tmp_path / "out" / "affinity.pt", weights_only=True)
    assert (model["encoder"], model["output_stride"]) == ("slim_resnet10", 8)
    assert {name.split(".")[0] for name in model["state"]} == {"levels", "head"}
    archive = ZipReader(tmp_path / "out" / "edges.zip")
    ids = [*dataset.ids("train"), *dataset.ids("val")]
    assert set(archive.names()) == {"edges.json", *(f"{image_id}.npy" for image_id in ids)}
    for image_id in ids:
        edges = archive.array(f"{image_id}.npy")
        assert (edges.dtype, edges.shape) == (np.uint8, (-(-HEIGHT // 4), -(-WIDTH // 4)))
    text = (tmp_path / "out" / "affinity_log.csv").read_text()
    assert text.startswith(COLUMNS)
    assert [row["epoch"] for row in read_csv(tmp_path / "out" / "affinity_log.csv")] == ["1", "2"]


def test_irn_gives_the_same_bytes_twice_and_leaves_no_checkpoint(stage, tmp_path: Path) -> None:
    for folder in ("one", "another"):
        main(stage(IRN, folder))
    for name in ("affinity.pt", "edges.zip", "affinity_log.csv"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "another" / name).read_bytes()
    assert not list((tmp_path / ".scratch" / "checkpoints").iterdir())


def test_an_interrupted_training_goes_on_without_labelling_again(
    stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    main(stage(IRN, "whole"))

    def stop(epoch: int, row: dict[str, float]) -> None:
        if epoch == 2:
            raise KeyboardInterrupt

    def refuse(*_: object) -> None:
        raise AssertionError("the labels were there")

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(irn, "child_run", lambda name: nullcontext(stop))
        main(stage(IRN, "parts"))
    monkeypatch.setattr(irn, "write_labels", refuse)
    main(stage(IRN, "parts"))
    for name in ("affinity.pt", "edges.zip", "affinity_log.csv"):
        assert (tmp_path / "parts" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
