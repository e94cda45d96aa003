"""IA-mIoU: invariants, and independent references that loop over pixels, instances and outlines."""

from __future__ import annotations

import numpy as np
import pytest

from stages.core.metrics.ia_miou import EXACT, PAPER, instance_ious
from stages.core.metrics.instances import true_instances
from tests.core.metrics import reference
from tests.core.metrics.reference import N, V, blank, components


def ious(mask: np.ndarray, ids: np.ndarray | None, prediction: np.ndarray, background: bool = True) -> np.ndarray:
    return instance_ious(mask, ids, prediction, background).ious


def random_case(generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Overlapping blocks with ids that have gaps, void seams and patches, and a shifted and speckled prediction."""
    height, width = generator.integers(4, 15, 2)
    mask, ids, prediction = blank(height, width)
    for number in generator.choice(np.arange(1, 400), generator.integers(1, 7), replace=False):
        top, left = generator.integers(height), generator.integers(width)
        window = np.s_[top : top + generator.integers(1, 7), left : left + generator.integers(1, 7)]
        mask[window], ids[window] = generator.integers(1, 4), number
    for identity in np.unique(ids)[1:]:
        mask[ids == identity] = generator.integers(1, 4)
    for shift in generator.integers(-2, 3, (2, 2)):
        moved = np.roll(mask, tuple(shift), (0, 1))
        prediction = np.where(moved > 0, moved, prediction)
    speckle = generator.random(mask.shape) < generator.choice([0, 0.1, 0.9])
    prediction = np.where(speckle, generator.choice([0, 1, 2, 3, V], mask.shape), prediction).astype(np.uint8)
    void = generator.random(mask.shape) < generator.choice([0, 0.15])
    mask[void], ids[void] = V, N
    return mask, ids, prediction


def rings(generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Nested rings of few classes, so that predictions have islands in holes of their own class, two levels deep."""
    mask, ids, prediction = blank(16, 18)
    top, left = generator.integers(0, 3, 2)
    for number, inset in enumerate((0, 2, 4, 6)):
        window = np.s_[top + inset : 15 - inset, left + inset : 17 - inset]
        mask[window], ids[window] = generator.integers(0, 3), number + 1
        prediction[window] = generator.choice([0, 1, 2], p=[0.3, 0.5, 0.2])
    ids[mask == 0] = 0
    for number in np.unique(ids[ids > 0]):
        ids[ids == number] = number * generator.integers(1, 90)
    speckle = generator.random(mask.shape) < generator.choice([0, 0.05])
    prediction = np.where(speckle, generator.choice([0, 1, V], mask.shape), prediction).astype(np.uint8)
    void = generator.random(mask.shape) < generator.choice([0, 0.1])
    mask[void], ids[void] = V, N
    return mask, ids, prediction


def one_class_per_id(mask: np.ndarray, ids: np.ndarray) -> bool:
    inside = (ids > 0) & (ids < N)
    return all(len(np.unique(mask[ids == identity])) == 1 for identity in np.unique(ids[inside]))


@pytest.fixture(scope="module")
def cases() -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    generator = np.random.default_rng(0)
    made = [random_case(generator) for _ in range(1200)] + [rings(generator) for _ in range(800)]
    return [case for case in made if one_class_per_id(*case[:2])]


@pytest.mark.parametrize("mode", [EXACT, PAPER])
def test_equals_the_reference_on_random_maps(cases: list, mode: str) -> None:
    seen, shared, different = 0, 0, 0
    for mask, ids, prediction in cases:
        result = instance_ious(mask, ids, prediction, True, mode)
        expected = reference.instance_ious(mask, ids, prediction, mode == PAPER)
        found = dict(zip(result.ids.tolist(), result.ious, strict=True))
        assert found == pytest.approx(expected, abs=1e-12)
        seen += len(found)
        shared += sum(0 < value < 1 for value in found.values())
        other = instance_ious(mask, ids, prediction, True, PAPER if mode == EXACT else EXACT)
        different += (other.ious != result.ious).sum()
    assert seen > 5000
    assert shared > 2000  # the cases exercise more than hits and misses
    assert different > 100  # and tell the modes apart


def test_mode_paper_equals_filled_outlines(cases: list) -> None:
    for mask, ids, prediction in cases:
        result = instance_ious(mask, ids, prediction, True, PAPER)
        found = dict(zip(result.ids.tolist(), result.ious, strict=True))
        assert found == pytest.approx(reference.contour_ious(mask, ids, prediction), abs=1e-12)


def test_assigned_pixels_are_all_pixels_of_the_touching_components(cases: list) -> None:
    # sum over j of (I + share) = |P| over the components that touch an instance of their class
    for mask, ids, prediction in cases:
        instances = true_instances(mask, ids, background=True)
        found = instance_ious(mask, ids, prediction, True).ious
        for label in range(1, 4):
            touching = 0
            of_class = {
                tuple(p)
                for p in np.argwhere(instances.index > 0)
                if instances.labels[instances.index[tuple(p)] - 1] == label
            }
            for part in components({tuple(p) for p in np.argwhere(prediction == label)}):
                if part & of_class:
                    touching += sum(not instances.void[p] for p in part)
            rows = instances.labels == label
            hits = np.array([((instances.index == j) & (prediction == label)).sum() for j in np.flatnonzero(rows) + 1])
            some = hits > 0
            union = hits[some] / found[rows][some]
            assert (union - instances.areas[rows][some] + hits[some]).sum() == pytest.approx(touching)


@pytest.mark.parametrize("change", [np.fliplr, np.flipud, np.rot90, np.transpose])
def test_flips_and_turns_change_nothing(cases: list, change: object) -> None:
    for mask, ids, prediction in cases[:100]:
        turned = ious(*(np.ascontiguousarray(change(array)) for array in (mask, ids, prediction)))
        np.testing.assert_allclose(turned, ious(mask, ids, prediction), atol=1e-12)


def test_names_of_ids_and_classes_change_nothing(cases: list) -> None:
    names = np.arange(256, dtype=np.uint8)
    names[1:4] = 3, 1, 2
    for mask, ids, prediction in cases[:100]:
        reversed_ids = np.where((ids > 0) & (ids < N), 60_000 - ids, ids).astype(np.uint16)
        expected = ious(mask, ids, prediction)
        np.testing.assert_allclose(ious(names[mask], ids, names[prediction]), expected, atol=1e-12)
        np.testing.assert_allclose(ious(mask, reversed_ids, prediction)[::-1], expected, atol=1e-12)


def test_scaling_by_two_changes_no_iou(cases: list) -> None:
    for mask, ids, prediction in cases[:100]:
        larger = [array.repeat(2, 0).repeat(2, 1) for array in (mask, ids, prediction)]
        np.testing.assert_allclose(ious(*larger), ious(mask, ids, prediction), atol=1e-12)


def test_the_truth_as_prediction_is_perfect(cases: list) -> None:
    for mask, ids, _ in cases:
        assert (ious(mask, ids, mask) == 1).all()
        assert (ious(mask, None, mask) == 1).all()


def test_all_values_are_shares(cases: list) -> None:
    found = np.concatenate([ious(*case) for case in cases])
    assert found.min() == 0
    assert found.max() <= 1


def test_blobs_that_touch_no_instance_cost_the_background_alone(cases: list) -> None:
    for mask, ids, prediction in cases[:50]:
        padded = [np.pad(array, (0, 6)) for array in (mask, ids, prediction)]
        with_blob = padded[2].copy()
        with_blob[-3:, -3:] = 1
        before, after = (instance_ious(*padded[:2], p, True) for p in (padded[2], with_blob))
        np.testing.assert_array_equal(before.ious, after.ious)
        assert after.background < before.background
