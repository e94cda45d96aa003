"""IA-mIoU: cases worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from stages.core.metrics.ia_miou import PAPER, instance_ious
from tests.core.metrics.reference import N, V, blank


def ious(mask: np.ndarray, ids: np.ndarray | None, prediction: np.ndarray, background: bool = True) -> np.ndarray:
    return instance_ious(mask, ids, prediction, background).ious


def test_one_instance_and_one_component_is_ordinary_iou() -> None:
    mask, ids, prediction = blank()
    mask[2:9, 3:10] = 4
    ids[2:9, 3:10] = 9
    prediction[5:15, 6:12] = 4
    assert ious(mask, ids, prediction) == pytest.approx([4 * 4 / (49 + 60 - 16)])


# The cases of facts that are worked out by hand.


def test_whole_image_predicted() -> None:
    mask, ids, prediction = blank()
    mask[3:9, 3:9], ids[3:9, 3:9], prediction[:] = 1, 1, 1
    assert ious(mask, ids, prediction) == pytest.approx([36 / 400])


@pytest.mark.parametrize(("extra", "expected"), [(12, 36 / 42), (2, 36 / 37)])
def test_two_instances_joined_by_one_component_share_its_rest(extra: int, expected: float) -> None:
    mask, ids, prediction = blank()
    mask[2:8, 2:8], ids[2:8, 2:8] = 1, 1
    mask[2:8, 10:16], ids[2:8, 10:16] = 1, 2
    prediction[mask == 1] = 1
    rows, columns = np.divmod(np.arange(extra), 2)
    prediction[2 + rows, 8 + columns] = 1  # the bridge, at most 6 x 2
    assert ious(mask, ids, prediction) == pytest.approx([expected, expected])


def test_shares_follow_the_overlap() -> None:
    mask, ids, prediction = blank()
    mask[2, 2:8], ids[2, 2:8] = 1, 1  # 6 pixels
    mask[2, 10:12], ids[2, 10:12] = 1, 2  # 2 pixels
    prediction[2, 2:14] = 1  # both and 4 more
    assert ious(mask, ids, prediction) == pytest.approx([6 / (6 + 3), 2 / (2 + 1)])


def test_a_component_over_another_class() -> None:
    mask, ids, prediction = blank()
    mask[2:8, 2:8], ids[2:8, 2:8] = 1, 1
    mask[2:8, 8:14], ids[2:8, 8:14] = 2, 2
    prediction[2:8, 2:16] = 1
    assert ious(mask, ids, prediction) == pytest.approx([36 / 84, 0])


def test_pixels_on_another_instance_of_the_class_count_neither_way() -> None:
    mask, ids, prediction = blank()
    mask[2:8, 2:14] = 1
    ids[2:8, 2:8], ids[2:8, 8:14] = 1, 2
    prediction[2:8, 2:11] = 1
    assert ious(mask, ids, prediction) == pytest.approx([1, 18 / 36])


def test_void_is_free_and_joins() -> None:
    mask, ids, prediction = blank()
    mask[2:8, 2:8], ids[2:8, 2:8] = 1, 1
    mask[2:8, 8:12], ids[2:8, 8:12] = V, N
    prediction[2:8, 2:12] = 1
    assert ious(mask, ids, prediction) == pytest.approx([1])
    prediction[2:8, 12:14] = 1  # joined to the instance through void alone
    assert ious(mask, ids, prediction) == pytest.approx([36 / (36 + 12)])
    prediction[2:8, 8:12] = V
    assert ious(mask, ids, prediction) == pytest.approx([1])


def test_an_instance_in_two_parts() -> None:
    mask, ids, prediction = blank()
    mask[2:8, 2:8], ids[2:8, 2:8] = 1, 1
    mask[2:8, 12:14], ids[2:8, 12:14] = 1, 1
    prediction[2:8, 2:8] = 1
    assert ious(mask, ids, prediction) == pytest.approx([36 / 48])
    assert ious(mask, None, prediction) == pytest.approx([1, 0])  # without a map these are two instances


def test_diagonal_neighbours_are_connected() -> None:
    mask, ids, prediction = blank(4, 4)
    mask[0, 0], ids[0, 0] = 1, 1
    prediction[0, 0] = prediction[1, 1] = 1
    assert ious(mask, ids, prediction) == pytest.approx([1 / 2])


def test_an_island_in_a_hole_is_its_own_component() -> None:
    # the authors' code would merge it with the ring
    mask, ids, prediction = blank()
    prediction[2:13, 2:13] = 1
    prediction[4:11, 4:11] = 0
    prediction[6:9, 6:9] = 1
    mask[6:9, 6:9], ids[6:9, 6:9] = 1, 1
    assert ious(mask, ids, prediction) == pytest.approx([1])


def test_a_class_that_is_not_predicted_and_undecided_pixels() -> None:
    mask, ids, prediction = blank()
    mask[2:4, 2:4], ids[2:4, 2:4], prediction[:] = 1, 1, V
    assert ious(mask, ids, prediction).tolist() == [0]


def test_mode_paper_merges_an_island_in_a_hole_and_cuts_shares() -> None:
    mask, ids, prediction = blank()
    mask[0:2, 0:3], ids[0:2, 0:3] = 1, 1  # 6 pixels, on the ring's corner
    mask[6:8, 6:8], ids[6:8, 6:8] = 1, 9  # 4 pixels, on the island
    prediction[0:13, 0:13] = 1
    prediction[2:11, 2:11] = 0
    prediction[6:8, 6:9] = 1
    ring, island = 13 * 13 - 9 * 9, 6
    # exact: the ring belongs to the first instance, the island to the second
    assert ious(mask, ids, prediction) == pytest.approx([6 / ring, 4 / island])
    # paper: one component with 10 pixels on instances, whose other 84 are shared 6 : 4 and cut to integers
    rest = ring + island - 10
    expected = [6 / (6 + int(6 / 10 * rest)), 4 / (4 + int(4 / 10 * rest))]
    assert instance_ious(mask, ids, prediction, True, PAPER).ious == pytest.approx(expected)
    assert rest * 6 % 10 != 0  # so the cut is seen


def test_mode_paper_takes_void_from_the_instance_map() -> None:
    mask, ids, prediction = blank()
    mask[4:8, 4:8], ids[4:8, 4:8] = 1, 1
    mask[8, 4:8] = V  # void in the mask alone
    prediction[4:9, 4:8] = 1
    assert ious(mask, ids, prediction) == pytest.approx([1])
    assert instance_ious(mask, ids, prediction, True, PAPER).ious == pytest.approx([16 / 20])
    ids[8, 4:8] = N
    assert instance_ious(mask, ids, prediction, True, PAPER).ious == pytest.approx([1])


def test_an_image_of_void() -> None:
    mask, ids, prediction = np.full((5, 5), V, np.uint8), np.full((5, 5), N, np.uint16), np.ones((5, 5), np.uint8)
    result = instance_ious(mask, ids, prediction, True)
    assert result.ious.size == 0
    assert np.isnan(result.background)


def test_more_instances_than_8_bits_hold() -> None:
    ids = np.arange(1, 901, dtype=np.uint16).reshape(30, 30)
    prediction = np.ones((30, 30), np.uint8)
    prediction[:, 20:] = 0
    np.testing.assert_array_equal(ious(np.ones((30, 30), np.uint8), ids, prediction).reshape(30, 30), prediction)


def test_without_background_label_0_is_a_class() -> None:
    mask = np.array([[0, 0, 0, 1, 1, 1]], np.uint8)
    prediction = np.array([[0, 0, 0, 0, 1, 1]], np.uint8)
    np.testing.assert_allclose(ious(mask, None, prediction, background=False), [3 / 4, 2 / 3])


def test_background_by_hand() -> None:
    mask = np.array([[0, 0, 0, 1, V]], np.uint8)
    prediction = np.array([[0, 0, 1, 0, 0]], np.uint8)
    cases = ((mask, prediction, 2 / 4), (mask, np.ones_like(mask), 0), (np.ones_like(mask), prediction, float("nan")))
    for truth, predicted, expected in cases:
        assert instance_ious(truth, None, predicted, True).background == pytest.approx(expected, nan_ok=True)
    assert np.isnan(instance_ious(mask, None, prediction, False).background)


def test_growing_a_prediction_scores_the_same_for_small_and_large() -> None:
    # the paper's corner cases: IoU is the covered share, whatever the size
    for side in (4, 16):
        mask, ids, prediction = blank(40, 40)
        mask[:side, :side], ids[:side, :side] = 1, 1
        for quarter in range(5):
            prediction[: quarter * side // 4, :side] = 1
            assert ious(mask, ids, prediction) == pytest.approx([quarter / 4])
