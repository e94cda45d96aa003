"""full: which images have masks."""

from collections import Counter

import numpy as np
import pytest

from stages.core.params import Params
from stages.segment.methods.full import images
from stages.segment.setting import Setting

IDS = [f"{number:04}" for number in range(1338)]


def chosen(count: int | str) -> list[str]:
    return images(IDS, Setting(Params({}), Params({"images": count}), 0, 1, True))


@pytest.mark.parametrize("count", ["all", len(IDS), len(IDS) + 1])
def test_all_images_in_their_order(count):
    assert chosen(count) == IDS


@pytest.mark.parametrize("count", [1, 2, 10, 100, 1000, len(IDS) - 1])
def test_some_images_spread_evenly_and_each_as_often(count):
    found = Counter(chosen(count))
    assert found.total() == len(IDS)
    assert len(found) == count
    assert max(found.values()) - min(found.values()) <= 1
    gaps = np.diff(sorted(int(name) for name in found))
    assert count == 1 or gaps.max() - gaps.min() <= 1
