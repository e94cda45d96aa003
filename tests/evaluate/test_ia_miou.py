"""IA-mIoU: cases worked out by hand, invariants, and an independent reference that loops over pixels and instances."""

from __future__ import annotations

import numpy as np
import pytest

from stages.core.metrics.instances import true_instances
from stages.evaluate.ia_miou import background_iou, instance_ious, scores

V, N = 255, 65535


def blank(height: int = 20, width: int = 20) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return (
        np.zeros((height, width), np.uint8),
        np.zeros((height, width), np.uint16),
        np.zeros((height, width), np.uint8),
    )


def ious(mask: np.ndarray, ids: np.ndarray | None, prediction: np.ndarray, background: bool = True) -> np.ndarray:
    return instance_ious(true_instances(mask, ids, background), prediction, background)


def reference_components(marked: set[tuple[int, int]]) -> list[set[tuple[int, int]]]:
    """8-connected components of a set of pixels."""
    left, found = set(marked), []
    while left:
        stack = [left.pop()]
        part = set(stack)
        while stack:
            y, x = stack.pop()
            near = {(y + dy, x + dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)} & left
            left -= near
            part |= near
            stack.extend(near)
        found.append(part)
    return found


def reference_ious(mask: np.ndarray, ids: np.ndarray, prediction: np.ndarray) -> dict[int, float]:
    """IoU by instance id, straight from the definition, for maps whose void agree."""
    pixels = list(np.ndindex(mask.shape))
    valid = {p for p in pixels if ids[p] != N}
    truth = {int(i): {p for p in pixels if ids[p] == i} for i in np.unique(ids) if i not in (0, N)}
    label = {i: max(int(mask[p]) for p in members) for i, members in truth.items()}
    result = {}
    for i, members in truth.items():
        of_class = set().union(*(truth[j] for j in truth if label[j] == label[i]))
        hits, union = 0, float(len(members))
        for part in reference_components({p for p in pixels if prediction[p] == label[i]}):
            own = len(part & members)
            if own:
                hits += own
                union += own / len(part & of_class) * len((part & valid) - of_class)
        result[i] = hits / union
    return result


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


@pytest.fixture(scope="module")
def cases() -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    generator = np.random.default_rng(0)
    return [random_case(generator) for _ in range(400)]


def test_equals_the_reference_on_random_maps(cases: list) -> None:
    seen, shared = 0, 0
    for mask, ids, prediction in cases:
        instances = true_instances(mask, ids, background=True)
        expected = reference_ious(mask, ids, prediction)
        found = dict(zip(instances.ids.tolist(), instance_ious(instances, prediction, True), strict=True))
        assert found == pytest.approx(expected, abs=1e-12)
        seen += len(found)
        shared += sum(0 < value < 1 for value in found.values())
    assert seen > 1000
    assert shared > 400  # the cases exercise more than hits and misses


def test_assigned_pixels_are_all_pixels_of_the_touching_components(cases: list) -> None:
    # sum over j of (I + share) = |P| over the components that touch an instance of their class
    for mask, ids, prediction in cases:
        instances = true_instances(mask, ids, background=True)
        found = instance_ious(instances, prediction, True)
        for label in range(1, 4):
            touching = 0
            of_class = {
                tuple(p)
                for p in np.argwhere(instances.index)
                if instances.labels[instances.index[tuple(p)] - 1] == label
            }
            for part in reference_components({tuple(p) for p in np.argwhere(prediction == label)}):
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
        instances = true_instances(*padded[:2], True)
        with_blob = padded[2].copy()
        with_blob[-3:, -3:] = 1
        np.testing.assert_array_equal(
            instance_ious(instances, padded[2], True), instance_ious(instances, with_blob, True)
        )
        before, after = (background_iou(padded[0], p, instances.void) for p in (padded[2], with_blob))
        assert after < before


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


def test_an_image_of_void() -> None:
    mask, ids, prediction = np.full((5, 5), V, np.uint8), np.full((5, 5), N, np.uint16), np.ones((5, 5), np.uint8)
    assert ious(mask, ids, prediction).size == 0
    assert np.isnan(background_iou(mask, prediction, ids == N))


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
    assert background_iou(mask, prediction, mask == V) == pytest.approx(2 / 4)
    assert background_iou(mask, np.ones_like(mask), mask == V) == 0
    assert np.isnan(background_iou(np.ones_like(mask), prediction, mask == V))


def test_growing_a_prediction_scores_the_same_for_small_and_large() -> None:
    # the paper's corner cases: IoU is the covered share, whatever the size
    for side in (4, 16):
        mask, ids, prediction = blank(40, 40)
        mask[:side, :side], ids[:side, :side] = 1, 1
        for quarter in range(5):
            prediction[: quarter * side // 4, :side] = 1
            assert ious(mask, ids, prediction) == pytest.approx([quarter / 4])


def test_means_over_instances_then_classes() -> None:
    nan = float("nan")
    result = scores(
        np.array([1, 1, 1, 2]), np.array([3, 3, 50, 10]), np.array([0.2, 0.4, 0.9, 0.6]), np.array([0.8, nan, 0.6]),
        bounds=(10, 20), num_classes=4,
    )  # fmt: skip
    np.testing.assert_allclose(result.per_class, [0.7, 0.5, 0.6, nan])
    np.testing.assert_allclose(result.per_class_size, [[nan] * 3, [0.3, nan, 0.9], [nan, 0.6, nan], [nan] * 3])
    np.testing.assert_array_equal(result.instances, [2, 3, 1, 0])
    assert result.mean() == pytest.approx((0.7 + 0.5 + 0.6) / 3)
    np.testing.assert_allclose(result.by_size(), [0.3, 0.6, 0.9])


def test_means_without_background_or_instances() -> None:
    none = np.array([])
    result = scores(np.array([0]), np.array([5]), np.array([0.5]), np.full(1, np.nan), bounds=(1, 9), num_classes=2)
    np.testing.assert_allclose(result.per_class, [0.5, np.nan])
    empty = scores(none.astype(int), none, none, none, bounds=(1, 9), num_classes=2)
    assert np.isnan([empty.mean(), *empty.by_size()]).all()
