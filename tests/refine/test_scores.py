"""Scores of pseudo masks, counted by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from stages.core.dataset import DatasetInfo
from stages.refine.scores import ScoreSum, score_labels, score_rows

TRUTH = np.array([[0, 0, 0, 0, 0, 1, 1, 1, 255]], np.uint8)
PSEUDO = np.array([[0, 0, 0, 255, 1, 1, 255, 0, 255]], np.uint8)


class One:
    """A data set of one image, TRUTH; class 2 is nowhere."""

    def __init__(self, background: bool) -> None:
        self.info = DatasetInfo("few", ("a", "b", "c"), background, (), (2, 5), "masks", True, False)

    def has_mask(self, image_id: str) -> bool:
        return self.info.masks

    def mask(self, image_id: str) -> np.ndarray:
        return TRUTH

    def instances(self, image_id: str) -> None:
        return None


def summed(dataset: One) -> ScoreSum:
    """What PSEUDO, its one label map, adds up to."""
    total = ScoreSum()
    total.add(score_labels(dataset, "x", PSEUDO))
    return total


def rows(background: bool) -> dict[str, dict]:
    """The rows of TRUTH against PSEUDO by class."""
    dataset = One(background)
    found = score_rows("train", summed(dataset), dataset.info)
    return {row["class"]: row for row in found}


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
    dataset = One(background=True)
    dataset.info = replace(dataset.info, masks=False)
    (row,) = score_rows("val", summed(dataset), dataset.info)
    assert (row["split"], row["class"], row["void"]) == ("val", "mean", 3 / 9)
    assert np.isnan([row[key] for key in ("iou", "iou_labelled", "precision", "recall")]).all()


def test_instances_by_size() -> None:
    """b has one instance of 3 pixels, medium, of which one is found beside one wrong pixel of the same component."""
    found = rows(background=True)
    assert found["b"]["ia_iou"] == found["b"]["ia_m"] == pytest.approx(1 / 4)
    assert np.isnan([found["b"]["ia_s"], found["b"]["ia_l"], found["c"]["ia_iou"]]).all()
    assert found["a"]["ia_iou"] == pytest.approx(4 / 7)  # the background of one image
    assert found["mean"]["ia_iou"] == pytest.approx((1 / 4 + 4 / 7) / 2)
