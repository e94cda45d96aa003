"""Matched label maps: exact counts, and the best sum of scores, against an assignment problem solved in full."""

import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment

from stages.core.dataset import Dataset
from stages.core.files import write_zip
from stages.segment.matched_masks import MatchedMasks, beyond_zero, match_sizes


def best_sum(scores, counts):
    """The largest sum of scores with these counts: one column for each place of each class."""
    columns = np.repeat(np.arange(len(counts)), counts)
    rows, chosen = linear_sum_assignment(-scores[columns].T)
    return scores[columns].T[rows, chosen].sum()


@pytest.mark.parametrize("classes", [2, 3, 5])
def test_shares_are_met_and_the_sum_is_the_largest(classes):
    rng = np.random.default_rng(classes)
    for _ in range(40):
        pixels = int(rng.integers(200, 400))
        scores = rng.random((classes, pixels)) ** 3
        scores[0] = 0
        labels = match_sizes(scores, rng.dirichlet(np.ones(classes)))
        counts = np.bincount(labels, minlength=classes)
        assert scores[labels, np.arange(pixels)].sum() == pytest.approx(best_sum(scores, counts), abs=1e-6)
    smooth = np.stack([np.linspace(0, 1, 20000) ** power for power in range(classes)])
    smooth = rng.permuted(smooth, axis=1)
    smooth[0] = 0
    for _ in range(20):
        shares = rng.dirichlet(np.full(classes, 2.0))
        found = np.bincount(match_sizes(smooth, shares), minlength=classes) / 20000
        assert found == pytest.approx(shares, abs=0.01)


def test_one_object_is_its_highest_pixels():
    scores = np.array([[0, 0, 0, 0, 0], [0.1, 0.9, 0.5, 0.0, 0.6]])
    assert match_sizes(scores, np.array([0.6, 0.4])).tolist() == [0, 1, 0, 0, 1]
    assert match_sizes(scores, np.array([1.0, 0.0])).tolist() == [0] * 5
    assert match_sizes(scores, np.array([0.0, 1.0])).tolist() == [1] * 5


def test_equal_scores_of_one_object_still_meet_the_share():
    assert match_sizes(np.zeros((2, 40)), np.array([0.25, 0.75])).sum() == 30


def test_the_masks_of_a_data_set(tiny_dataset, tmp_path):
    dataset = Dataset(tiny_dataset, tiny_dataset.with_name("raw.zip"))
    targets = {}
    with write_zip(tmp_path / "cam.zip") as archive:
        for image_id in dataset.ids("train"):
            tags, mask = dataset.tags(image_id), dataset.mask(image_id)
            archive.array(f"{image_id}.npy", np.stack([(mask == tag) * np.uint8(255) for tag in tags]))
            targets[image_id] = np.bincount(mask[mask != 255], minlength=3) / (mask != 255).sum()
    masks = MatchedMasks(dataset, tmp_path / "cam.zip", targets)
    for image_id in dataset.ids("train"):
        truth, found = dataset.mask(image_id), masks(image_id)
        shares = np.bincount(found.ravel(), minlength=3) / found.size
        assert shares == pytest.approx(targets[image_id], abs=0.02)
        assert (found == truth)[truth != 255].mean() > 0.97


def test_an_object_larger_than_its_active_part_grows_around_it():
    """A 5 x 5 peak, and one of another class in a corner, on 40 x 40 pixels that are 0 elsewhere."""
    maps = np.zeros((2, 40, 40), np.float32)
    maps[0, 18:23, 18:23] = 1
    maps[1, :3, :3] = 1
    scores = beyond_zero(maps)
    for shares, scored in (((0.8, 0.2), scores[:1]), ((0.7, 0.2, 0.1), scores)):
        rows = np.concatenate([np.zeros((1, 1600)), scored.reshape(len(scored), -1)])
        labels = match_sizes(rows, np.array(shares)).reshape(40, 40)
        found = np.bincount(labels.ravel(), minlength=len(shares)) / 1600
        assert found == pytest.approx(shares, abs=0.02)
        place = np.argwhere(labels == 1)
        assert abs(place.mean(0) - 20).max() < 1.5
        assert np.hypot(*(place - 20).T).max() < 13  # a disk of 0.2 * 1600 pixels has a radius of 10
    assert not beyond_zero(np.zeros((1, 4, 4), np.float32)).any()
