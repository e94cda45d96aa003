"""The histogram against labelling by each threshold, and what is computed from it against counting pixels."""

from __future__ import annotations

import numpy as np
import pytest

from stages.core.metrics.confusion import confusion_matrix, mean_iou
from stages.refine.calibration import BINS, calibration_rows, expected_calibration_error, reliability
from stages.refine.histogram import (
    LEVELS,
    add_counts,
    count_scores,
    empty_histogram,
    level_scores,
    score_levels,
    tagged_levels,
    threshold_curve,
    threshold_matrices,
)
from stages.refine.one_image import best_labels

Case = tuple[np.ndarray, np.ndarray, np.ndarray | None]  # scores (K, H, W), classes (K,), truth (H, W)


def random_case(random: np.random.Generator, num_classes: int, background: bool) -> Case:
    """An image: no tags to all of them, scores on the levels or between them, some truth void or all of it."""
    labels = np.arange(int(background), num_classes)
    classes = np.sort(random.permutation(labels)[: random.integers(0, labels.size + 1)])
    size = tuple(random.integers(1, 7, 2))
    scores = random.random((classes.size, *size))
    if random.random() < 0.5:
        scores = np.round(scores * 255) / 255
    truth = random.integers(0, num_classes, size)
    truth[random.random(size) < random.choice([0, 0.2, 1])] = 255
    return scores.astype(np.float32), classes, truth.astype(np.uint8)


def summed(cases: list[Case], num_classes: int) -> np.ndarray:
    """The histogram of some images."""
    histogram = empty_histogram(num_classes)
    for case in cases:
        add_counts(histogram, count_scores(*case, num_classes))
    return histogram


def exact(scores: np.ndarray) -> np.ndarray:
    """float32 scores in float64, with those that are meant to be k / 255 put right on it."""
    scores = scores.astype(np.float64)
    level = np.round(scores * 255)
    return np.where(np.abs(scores * 255 - level) < 1e-4, level / 255, scores)


def labelled(case: Case, threshold: float, background: bool) -> np.ndarray:
    """The label map of one threshold, by its definition."""
    scores, classes, truth = case
    low = 0 if background else 255
    labels = np.full(truth.shape, low)
    for place in np.ndindex(truth.shape):
        here = exact(scores[(slice(None), *place)])
        if len(classes) and here.max() > threshold:
            labels[place] = classes[here.argmax()]
    return labels


@pytest.mark.parametrize("background", [True, False])
def test_all_thresholds_at_once_equal_one_after_the_other(background: bool) -> None:
    """120 cases of one to three images; each threshold's label maps are made, and their confusion matrices added."""
    random = np.random.default_rng(int(background))
    for number in range(120):
        num_classes = int(random.integers(1 + background, 5))
        cases = [random_case(random, num_classes, background) for _ in range(random.integers(1, 4))]
        histogram = summed(cases, num_classes)
        matrices, curve = threshold_matrices(histogram, background), threshold_curve(histogram, background)
        for level in random.permutation(LEVELS)[:6].tolist() + [0, 254, 255]:
            maps = [labelled(case, level / 255, background) for case in cases]
            expected = sum(
                confusion_matrix(case[2], labels, num_classes) for case, labels in zip(cases, maps, strict=True)
            )
            np.testing.assert_array_equal(matrices[level], expected, err_msg=f"case {number} level {level}")
            np.testing.assert_equal(curve.miou[level], mean_iou(expected))
            found = np.concatenate([labels.ravel() for labels in maps])
            truth = np.concatenate([case[2].ravel() for case in cases])
            found, truth = found[truth != 255], truth[truth != 255]
            first = int(background)
            chosen, there = (found >= first) & (found != 255), truth >= first
            right = (chosen & (found == truth)).sum()
            np.testing.assert_allclose(curve.precision[level], right / chosen.sum() if chosen.any() else np.nan)
            np.testing.assert_allclose(curve.recall[level], right / there.sum() if there.any() else np.nan)


def test_a_threshold_labels_as_the_steps_are_labelled() -> None:
    """`best_labels` at k / 255 is the labelling of threshold k."""
    random = np.random.default_rng(5)
    for _ in range(100):
        scores, classes, truth = random_case(random, 4, True)
        level = int(random.integers(0, 256))
        labels = best_labels(exact(scores), classes, True, level / 255)
        expected = confusion_matrix(truth, labels, 4)
        np.testing.assert_array_equal(threshold_matrices(summed([(scores, classes, truth)], 4), True)[level], expected)


def test_levels_of_scores_on_and_between_them() -> None:
    on = np.arange(256, dtype=np.float32) / np.float32(255)
    np.testing.assert_array_equal(score_levels(on), np.arange(256))
    for aside in (-1, 2):  # rounding, as after bilinear interpolation
        np.testing.assert_array_equal(score_levels(np.nextafter(on, np.float32(aside))), np.arange(256))
    np.testing.assert_array_equal(score_levels((on[:-1] + on[1:]) / 2), np.arange(1, 256))
    np.testing.assert_array_equal(score_levels(np.float32([-1e-6, 1 + 1e-6])), [0, 255])
    assert np.abs(level_scores() - on)[1:].max() == pytest.approx(0.5 / 255, rel=1e-4)


def test_the_unsupervised_part_knows_no_truth() -> None:
    """The pixels of tagged images are counted by level, alike with masks, void or none, and images without tags not."""
    random = np.random.default_rng(2)
    cases = [random_case(random, 3, True) for _ in range(30)]
    found = tagged_levels(summed(cases, 3))
    np.testing.assert_array_equal(found, tagged_levels(summed([(*case[:2], None) for case in cases], 3)))
    best = np.concatenate([case[0].max(axis=0).ravel() for case in cases if len(case[1])])
    np.testing.assert_array_equal(found, np.bincount(score_levels(best), minlength=256))


def test_without_truth_nothing_is_defined() -> None:
    scores, classes = np.full((1, 2, 3), 0.5, np.float32), np.array([1])
    for truth in (None, np.full((2, 3), 255, np.uint8)):
        histogram = summed([(scores, classes, truth)], 2)
        curve = threshold_curve(histogram, True)
        assert np.isnan([curve.miou, curve.precision, curve.recall]).all()
        assert np.isnan(expected_calibration_error(histogram))
        assert calibration_rows("val", histogram) == []


def test_calibration_by_counting_pixels() -> None:
    """120 cases: bins, accuracy, share and the error against a loop over pixels."""
    random = np.random.default_rng(3)
    for _ in range(120):
        cases = [random_case(random, 4, True) for _ in range(3)]
        bins: list[list[tuple[float, bool]]] = [[] for _ in range(BINS)]
        for scores, classes, truth in cases:
            for place in np.ndindex(truth.shape):
                if len(classes) and truth[place] != 255:
                    here = exact(scores[(slice(None), *place)])
                    number = max(int(np.ceil(round(here.max() * BINS, 9))) - 1, 0)  # ((m - 1) / M, m / M]
                    bins[number].append((here.max(), classes[here.argmax()] == truth[place]))
        total = sum(map(len, bins))
        histogram = summed(cases, 4)
        score, accuracy, share = reliability(histogram)
        ece = 0.0
        for number, content in enumerate(bins):
            np.testing.assert_allclose(share[number], len(content) / total if total else np.nan)
            if content:
                values, right = np.mean(content, axis=0)
                np.testing.assert_allclose(score[number], values, atol=0.5 / 255 + 1e-6)
                np.testing.assert_allclose(accuracy[number], right)
                ece += len(content) / total * abs(values - right)
            else:
                assert np.isnan([score[number], accuracy[number]]).all()
        if total:
            assert expected_calibration_error(histogram) == pytest.approx(ece, abs=0.5 / 255 + 1e-6)
            parts = sum(row["ece_part"] for row in calibration_rows("val", histogram))
            assert parts == pytest.approx(expected_calibration_error(histogram))


def test_scores_that_are_probabilities_have_no_calibration_error() -> None:
    """Of 1000 pixels at each of five scores, the score's share is right."""
    scores = np.repeat(np.array([0.1, 0.3, 0.5, 0.7, 0.9], np.float32), 1000).reshape(1, 5, 1000)
    truth = (np.arange(1000)[None] < 1000 * scores[0]).astype(np.uint8)
    calibrated = summed([(scores, np.array([1]), truth)], 2)
    assert expected_calibration_error(calibrated) < 0.5 / 255 + 1e-6
    wrong = summed([(scores, np.array([1]), 1 - truth)], 2)
    assert expected_calibration_error(wrong) == pytest.approx(np.mean([0.8, 0.4, 0, 0.4, 0.8]), abs=0.5 / 255)
