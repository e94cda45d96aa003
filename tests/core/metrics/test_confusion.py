"""The confusion matrix and its scores against loops over pixels and numbers worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from stages.core.metrics.confusion import (
    all_background,
    class_iou,
    class_precision,
    class_recall,
    confusion_matrix,
    mean_defined,
    mean_iou,
)


def counted(truth: np.ndarray, prediction: np.ndarray, classes: int) -> np.ndarray:
    matrix = np.zeros((classes, classes + 1), int)
    for actual, predicted in zip(truth.ravel().tolist(), prediction.ravel().tolist(), strict=True):
        if actual != 255:
            matrix[actual, classes if predicted == 255 else predicted] += 1
    return matrix


@pytest.mark.parametrize("dtype", [np.uint8, np.int64])
def test_matrix_equals_a_loop_over_pixels(dtype: type) -> None:
    generator = np.random.default_rng(0)
    for _ in range(50):
        classes = int(generator.integers(1, 22))
        values = np.array([*range(classes), 255])
        truth, prediction = (generator.choice(values, (9, 7)).astype(dtype) for _ in range(2))
        np.testing.assert_array_equal(confusion_matrix(truth, prediction, classes), counted(truth, prediction, classes))


def test_all_255_classes_fit() -> None:
    labels = np.arange(256, dtype=np.uint8).reshape(16, 16)
    matrix = confusion_matrix(labels, labels, 255)
    np.testing.assert_array_equal(matrix[:, :255], np.eye(255))
    assert matrix[:, 255].sum() == 0


@pytest.mark.parametrize(("truth", "prediction"), [([[0, 3]], [[0, 0]]), ([[0, 0]], [[0, 3]]), ([[255]], [[3]])])
def test_labels_beyond_the_classes_are_refused(truth: list, prediction: list) -> None:
    with pytest.raises(ValueError, match=r"\[3\]"):
        confusion_matrix(np.array(truth, np.uint8), np.array(prediction, np.uint8), 3)


def test_maps_of_different_shape_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\(2, 3\).*\(3, 2\)"):
        confusion_matrix(np.zeros((2, 3), np.uint8), np.zeros((3, 2), np.uint8), 2)


def test_scores_by_hand() -> None:
    # rows true, columns predicted, the last one undecided; class 2 is never true, class 3 never predicted
    matrix = np.array([[6, 1, 1, 0, 2], [2, 3, 0, 0, 0], [0, 0, 0, 0, 0], [4, 0, 0, 0, 0]])
    np.testing.assert_allclose(class_iou(matrix), [6 / 16, 3 / 6, np.nan, 0])
    np.testing.assert_allclose(class_precision(matrix), [6 / 12, 3 / 4, 0, np.nan])
    np.testing.assert_allclose(class_recall(matrix), [6 / 10, 3 / 5, np.nan, 0])
    assert mean_iou(matrix) == pytest.approx((6 / 16 + 3 / 6 + 0) / 3)


def test_an_undecided_pixel_costs_its_class_and_no_other() -> None:
    truth = np.array([[0, 0, 1, 1]], np.uint8)
    undecided = confusion_matrix(truth, np.array([[0, 0, 1, 255]], np.uint8), 2)
    wrong = confusion_matrix(truth, np.array([[0, 0, 1, 0]], np.uint8), 2)
    np.testing.assert_allclose(class_iou(undecided), [1, 1 / 2])
    np.testing.assert_allclose(class_iou(wrong), [2 / 3, 1 / 2])
    # without the last column the undecided pixels are left out altogether
    np.testing.assert_allclose(class_iou(undecided[:, :2]), [1, 1])


def test_all_background_is_what_predicting_zeros_gives() -> None:
    generator = np.random.default_rng(1)
    truth, prediction = (generator.choice([0, 0, 1, 2, 255], (20, 20)).astype(np.uint8) for _ in range(2))
    matrix = confusion_matrix(truth, prediction, 3)
    zeros = confusion_matrix(truth, np.zeros_like(truth), 3)
    np.testing.assert_array_equal(all_background(matrix), zeros)
    assert mean_iou(zeros) == pytest.approx((truth == 0).sum() / (truth != 255).sum() / 3)


def test_matrices_of_images_add_up_to_the_data_set() -> None:
    generator = np.random.default_rng(2)
    truth, prediction = generator.integers(0, 4, (2, 6, 10)).astype(np.uint8)
    halves = sum(confusion_matrix(truth[part], prediction[part], 4) for part in (np.s_[:3], np.s_[3:]))
    np.testing.assert_array_equal(halves, confusion_matrix(truth, prediction, 4))


def test_nothing_but_void_has_no_score() -> None:
    matrix = confusion_matrix(np.full((3, 3), 255, np.uint8), np.zeros((3, 3), np.uint8), 2)
    assert matrix.sum() == 0
    assert np.isnan([mean_iou(matrix), *class_precision(matrix)]).all()
    assert np.isnan(mean_defined(np.array([])))
