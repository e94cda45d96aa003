"""size_target: which images are labelled, and how often an epoch has them."""

from collections import Counter

import pytest

from stages.core.params import Params
from stages.segment.methods.size_target import images, labelled
from stages.segment.setting import Setting

IDS = [f"{number:04}" for number in range(1338)]


def setting(count: int) -> Setting:
    return Setting(Params({}), Params({"labelled": count}), 0, 1, True)


def test_without_masks_an_epoch_has_each_image_once():
    assert labelled(IDS, setting(0)) == []
    assert images(IDS, setting(0)) == IDS


@pytest.mark.parametrize("count", [1, 10, 1338, 5000])
def test_half_of_an_epoch_has_masks(count):
    known, found = labelled(IDS, setting(count)), Counter(images(IDS, setting(count)))
    assert len(known) == min(count, len(IDS)) == len(set(known))
    assert found.total() == 2 * len(IDS)
    assert set(found) == set(IDS)
    times = [found[image_id] - 1 for image_id in known]
    assert sum(times) == len(IDS)
    assert max(times) - min(times) <= 1
