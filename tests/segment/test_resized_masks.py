"""Resized masks: exact counts, the nearest pixels by brute force, and nothing changed by exact sizes."""

import numpy as np
import pytest

from stages.core.dataset import VOID, Dataset
from stages.core.files import write_csv
from stages.core.params import Params
from stages.segment.matched_masks import highest
from stages.segment.methods import full
from stages.segment.resized_masks import depth, resize_regions
from stages.segment.setting import Setting
from stages.segment.supervision import Sources, label_maps


def random_mask(rng, side=16, classes=4):
    """Blocks of random labels with some void."""
    blocks = rng.choice([*range(classes), VOID], size=(side // 4, side // 4), p=[0.5, *[0.4 / (classes - 1)] * 3, 0.1])
    return np.kron(blocks, np.ones((4, 4))).astype(np.uint8)


def brute_depth(region):
    """Each pixel's distance to the nearest one of the other kind, by all pairs."""
    places = np.argwhere(np.ones_like(region))
    far = np.hypot(*(places[:, None] - places[None]).transpose(2, 0, 1))
    kind = region.ravel()
    nearest = np.where(kind[:, None] != kind[None], far, np.inf).min(1)
    return np.where(kind, nearest, -nearest).reshape(region.shape)


@pytest.mark.parametrize("background", [True, False])
def test_factors_of_one_change_nothing(background):
    rng = np.random.default_rng(0)
    for _ in range(100):
        mask = random_mask(rng)
        np.testing.assert_array_equal(resize_regions(mask, np.ones(4), background), mask)


def test_depth_is_the_signed_distance_to_the_other_side():
    rng = np.random.default_rng(1)
    for _ in range(100):
        region = random_mask(rng, 12) == 0
        if region.any() and not region.all():
            np.testing.assert_allclose(depth(region), brute_depth(region), rtol=1e-5)


def test_a_single_region_is_cut_at_the_level_that_gives_its_size():
    rng = np.random.default_rng(2)
    for _ in range(100):
        mask = random_mask(rng)
        mask[(mask != VOID) & (mask != 1)] = 0
        mask[:4, :4] = 1
        wanted, free = int(rng.integers(1, 150)), mask != VOID
        found = resize_regions(mask, np.array([1, wanted / (mask == 1).sum(), 1, 1]), background=True)
        assert (found == 1).sum() == min(wanted, free.sum())
        level = brute_depth(mask == 1)
        if (found == 0).any():
            assert level[found == 1].min() >= level[found == 0].max() - 1e-4
        np.testing.assert_array_equal(found == VOID, mask == VOID)


@pytest.mark.parametrize("background", [True, False])
def test_every_region_has_its_size_where_there_is_room(background):
    rng = np.random.default_rng(3)
    for _ in range(100):
        mask, factors = random_mask(rng), rng.uniform(0, 1.5, 4)
        found = resize_regions(mask, factors, background)
        counts, left = np.bincount(mask.ravel(), minlength=256), (mask != VOID).sum()
        for label in range(int(background), 4):
            wanted = min(left, max(round(factors[label] * counts[label]), int(counts[label] > 0)))
            assert (found == label).sum() == wanted
            left -= wanted
        assert (found == (0 if background else VOID)).sum() == left + (0 if background else counts[VOID])


def test_the_lower_label_takes_what_both_want():
    mask = np.array([[0, 1, 1, 2, 2, 0, 0]], np.uint8)
    found = resize_regions(mask, np.array([1, 2.0, 1.0]), background=True)
    assert found.tolist() == [[1, 1, 1, 1, 2, 2, 0]]


def test_a_region_that_is_the_whole_image_shrinks_from_the_frame():
    found = resize_regions(np.ones((7, 7), np.uint8), np.array([1, 9 / 49]), background=True)
    assert np.argwhere(found == 1).min(0).tolist() == [2, 2]
    assert np.argwhere(found == 1).max(0).tolist() == [4, 4]


def test_limits():
    one = np.array([[0, 1], [0, VOID]], np.uint8)
    assert resize_regions(one, np.array([1, 0.01]), background=True).tolist() == one.tolist()
    assert resize_regions(one, np.array([1, 0.0]), background=True).tolist() == [[0, 0], [0, VOID]]
    assert resize_regions(one, np.array([1, 99.0]), background=True).tolist() == [[1, 1], [1, VOID]]
    void = np.full((3, 3), VOID, np.uint8)
    assert (resize_regions(void, np.ones(2), background=True) == VOID).all()


def test_the_highest_values_are_those_of_a_stable_sort():
    rng = np.random.default_rng(4)
    for _ in range(200):
        values, count = rng.integers(0, 6, 30).astype(float), int(rng.integers(-1, 33))
        expected = np.zeros(30, bool)
        expected[np.argsort(-values, kind="stable")[: max(count, 0)]] = True
        np.testing.assert_array_equal(highest(values, count), expected)


def table(path, dataset, factor, void=False):
    """size_targets.csv with every object's true size times `factor`, void in or out of the whole."""
    rows = []
    for image_id in dataset.ids("train"):
        mask = dataset.mask(image_id)
        whole = mask.size if void else (mask != VOID).sum()
        true = {label: (mask == label).sum() / whole for label in (1, 2) if (mask == label).any()}
        rest = 1 - sum(true.values()), 1 - factor * sum(true.values())
        rows.append({"id": image_id, "class": 0, "true": f"{rest[0]:.9g}", "target": f"{rest[1]:.9g}"})
        for label, share in true.items():
            rows.append({"id": image_id, "class": label, "true": f"{share:.9g}", "target": f"{factor * share:.9g}"})
    write_csv(path, rows, ("id", "class", "true", "target"))
    return Sources(path.with_name("none"), path.with_name("none"), path)


@pytest.mark.parametrize(("match_sizes", "kind"), [(False, "masks"), (True, "resized_masks")])
def test_full_reads_them_when_told_to(match_sizes, kind):
    assert full.labels(Setting(Params({}), Params({"match_sizes": match_sizes}), 0, 1, True)) == kind


@pytest.mark.parametrize("void", [False, True])
@pytest.mark.parametrize("factor", [1.0, 0.6, 1.25])
def test_the_masks_of_a_data_set(tiny_dataset, tmp_path, factor, void):
    dataset = Dataset(tiny_dataset, tiny_dataset.with_name("raw.zip"))
    ids = dataset.ids("train")
    masks = label_maps("resized_masks", dataset, ids, table(tmp_path / "sizes.csv", dataset, factor, void))
    for image_id in ids:
        truth, found = dataset.mask(image_id), masks(image_id)
        counts = np.bincount(truth.ravel(), minlength=256)
        wanted = [round(factor * count) for count in counts[1:3]]
        assert np.bincount(found.ravel(), minlength=256)[1:3] == pytest.approx(wanted, abs=1 if factor != 1 else 0)
        np.testing.assert_array_equal(found == VOID, truth == VOID)
        if factor == 1:
            np.testing.assert_array_equal(found, truth)
