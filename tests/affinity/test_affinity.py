"""The empty affinity model."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from stages.affinity.__main__ import write_model
from stages.core.faults import Fault
from stages.core.params import Params


def test_none_writes_an_empty_model_of_the_same_bytes(tmp_path: Path) -> None:
    first, second = tmp_path / "one" / "affinity.pt", tmp_path / "another.pt"
    for path in (first, second):
        write_model(path, Params({"kind": "none"}))
    assert torch.load(first, weights_only=True) == {}
    assert first.read_bytes() == second.read_bytes()


def test_unknown_kind(tmp_path: Path) -> None:
    with pytest.raises(Fault, match="no affinity kind 'irn'"):
        write_model(tmp_path / "affinity.pt", Params({"kind": "irn"}))
    assert not list(tmp_path.iterdir())
