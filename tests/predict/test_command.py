"""Which weights of segmenter.pt are used."""

import pytest

from stages.core.faults import Fault
from stages.predict.network import weights

MODEL = {"state": {"w": 1}, "best": {"epoch": 2, "score": 0.5, "state": {"w": 2}}}


def test_the_last_or_the_best_weights():
    assert weights(MODEL, "last") == ("last", {"w": 1})
    assert weights(MODEL, "best") == ("best on val, epoch 2", {"w": 2})


def test_without_masks_there_is_no_best():
    with pytest.raises(Fault, match="predict.model is best, but the data set has no masks"):
        weights(MODEL | {"best": None}, "best")
