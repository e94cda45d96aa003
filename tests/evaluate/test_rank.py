"""Rank correlation of scores over prediction sets."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from stages.core.faults import Fault
from stages.evaluate.rank import main, rank_correlations


def by_hand(one: list[float], other: list[float]) -> float:
    """1 - 6 sum d^2 / (n (n^2 - 1)), for values without ties."""
    ranks = [np.argsort(np.argsort(values)) for values in (one, other)]
    n = len(one)
    return 1 - 6 * int(((ranks[0] - ranks[1]) ** 2).sum()) / (n * (n**2 - 1))


def test_equals_the_formula() -> None:
    generator = np.random.default_rng(0)
    for n in (3, 5, 9):
        miou, ia, small = (generator.permutation(n) / n for _ in range(3))
        sets = [{"miou": a, "ia_miou": b, "ia_s": c} for a, b, c in zip(miou, ia, small, strict=True)]
        found = rank_correlations(sets, ("miou", "ia_miou", "ia_s"))
        assert found["miou", "ia_miou"] == pytest.approx(by_hand(miou, ia))
        assert found["ia_miou", "ia_s"] == pytest.approx(by_hand(ia, small))


def test_a_score_without_an_order_has_no_correlation() -> None:
    assert np.isnan(rank_correlations([{"a": 1, "b": k} for k in range(3)], ("a", "b"))["a", "b"])


def test_too_few_sets_and_missing_scores_are_faults() -> None:
    with pytest.raises(Fault, match="at least 3"):
        rank_correlations([{"a": 1, "b": 2}] * 2, ("a", "b"))
    with pytest.raises(Fault, match="set 2 has no b"):
        rank_correlations([{"a": 1, "b": 2}, {"a": 1, "b": None}, {"a": 1, "b": 2}], ("a", "b"))


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    paths = []
    for number in range(3):
        paths.append(tmp_path / f"{number}.json")
        paths[-1].write_text(json.dumps({"miou": number, "ia_s": -number}))
    main([*map(str, paths), "--metrics", "miou", "ia_s"])
    assert capsys.readouterr().out.split() == [
        "Spearman's", "rank", "correlation", "over", "3", "prediction", "sets", "miou", "ia_s", "-1.000"
    ]  # fmt: skip
    with pytest.raises(SystemExit) as stop:
        main([str(tmp_path / "none.json")])
    assert stop.value.code == 2
    assert "none.json" in capsys.readouterr().err
