"""Scores of pseudo masks, counted by hand."""

from __future__ import annotations

import numpy as np
import pytest

from stages.core.dataset import DatasetInfo
from stages.core.metrics.confusion import confusion_matrix
from stages.refine.scores import score_rows

TRUTH = np.array([[0, 0, 0, 0, 0, 1, 1, 1, 255]], np.uint8)
PSEUDO = np.array([[0, 0, 0, 255, 1, 1, 255, 0, 255]], np.uint8)


def rows(background: bool, masks: bool = True) -> dict[str, dict]:
    """The rows of TRUTH against PSEUDO by class; class 2 is nowhere."""
    info = DatasetInfo("few", ("a", "b", "c"), background, (), (2, 5), "masks", masks, False)
    matrix = confusion_matrix(TRUTH, PSEUDO, 3)
    return {row["class"]: row for row in score_rows("train", matrix, 3 / 9, info)}


def test_void_is_background() -> None:
    """As background the void pixels make the pseudo mask 0 0 0 0 1 1 0 0 on the 8 pixels that count."""
    found = rows(background=True)
    assert list(found) == ["a", "b", "c", "mean"]
    expected = {"a": (4 / 7, 3 / 5, 4 / 6, 4 / 5), "b": (1 / 4, 1 / 3, 1 / 2, 1 / 3)}
    expected["mean"] = tuple(np.mean([expected["a"], expected["b"]], axis=0))
    expected["c"] = (np.nan,) * 4
    for name, values in expected.items():
        result = [found[name][key] for key in ("iou", "iou_labelled", "precision", "recall")]
        np.testing.assert_allclose(result, values, err_msg=name)


def test_without_background_void_is_missed() -> None:
    found = rows(background=False)
    for name, values in {"a": (3 / 6, 3 / 5, 3 / 4, 3 / 5), "b": (1 / 4, 1 / 3, 1 / 2, 1 / 3)}.items():
        result = [found[name][key] for key in ("iou", "iou_labelled", "precision", "recall")]
        np.testing.assert_allclose(result, values, err_msg=name)


def test_void_share_is_in_the_mean_row_alone() -> None:
    found = rows(background=True)
    assert found["mean"]["void"] == pytest.approx(1 / 3)
    assert all("void" not in row for name, row in found.items() if name != "mean")


def test_without_masks_only_the_void_share_is_known() -> None:
    info = DatasetInfo("few", ("a", "b"), True, (), (2, 5), "file", False, False)
    (row,) = score_rows("val", np.zeros((2, 3), np.int64), 0.25, info)
    assert (row["split"], row["class"], row["void"]) == ("val", "mean", 0.25)
    assert np.isnan([row[key] for key in ("iou", "iou_labelled", "precision", "recall")]).all()
