"""Scores of a classifier by hand."""

import numpy as np
import pytest

from stages.classify.train import tag_scores


def test_average_precision_and_f1_by_hand():
    truth = np.array([[1, 0, 0], [0, 1, 0], [1, 1, 0], [0, 0, 0]], np.float32)
    scores = np.array([[0.9, 0.1, 0.3], [0.8, 0.6, 0.9], [0.7, 0.4, 0.2], [0.1, 0.2, 0.4]])
    # class 0 ranks hit, miss, hit: (1 + 2/3) / 2; class 1 ranks both hits first: 1; class 2 has no positive: left out
    # class 0 at 0.5: 3 positives, 2 right, none missed: F1 0.8; class 1: 1 positive, right, one missed: F1 2/3
    precision, f1 = tag_scores(scores, truth)
    assert precision == pytest.approx((5 / 6 + 1) / 2)
    assert f1 == pytest.approx((0.8 + 2 / 3) / 2)


def test_a_constant_score_is_at_the_frequency_of_the_tags():
    truth = np.zeros((10, 2), np.float32)
    truth[:3, 0], truth[:6, 1] = 1, 1
    precision, f1 = tag_scores(np.broadcast_to([0.3, 0.6], truth.shape), truth)
    assert precision == pytest.approx(0.45)
    assert f1 == pytest.approx((0 + 0.75) / 2)
