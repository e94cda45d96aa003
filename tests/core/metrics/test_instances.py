"""True instances from instance maps with every oddity, and from masks alone."""

from __future__ import annotations

import numpy as np
import pytest

from stages.core.metrics.instances import components, true_instances

V = 255
N = 65535


def flood(labels: np.ndarray, ignored: set[int]) -> np.ndarray:
    """8-connected components of equal label by flood fill."""
    result = np.zeros(labels.shape, int)
    height, width = labels.shape
    count = 0
    for start in np.ndindex(labels.shape):
        if result[start] or labels[start] in ignored:
            continue
        count += 1
        stack = [start]
        result[start] = count
        while stack:
            y, x = stack.pop()
            for near in ((y + dy, x + dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)):
                inside = 0 <= near[0] < height and 0 <= near[1] < width
                if inside and not result[near] and labels[near] == labels[start]:
                    result[near] = count
                    stack.append(near)
    return result


@pytest.mark.parametrize("background", [True, False])
def test_components_equal_a_flood_fill(background: bool) -> None:
    generator = np.random.default_rng(0)
    for _ in range(60):
        labels = generator.choice([0, 1, 2, V], generator.integers(1, 9, 2), p=[0.4, 0.3, 0.2, 0.1]).astype(np.uint8)
        found = components(labels, background)
        np.testing.assert_array_equal(found, flood(labels, {0} if background else {V}))


def test_instances_of_a_mask_are_its_components() -> None:
    mask = np.array([[1, 0, 1, 2], [0, 1, 0, 2], [V, 0, 0, 0], [1, 0, 2, 2]], np.uint8)
    found = true_instances(mask, None, background=True)
    np.testing.assert_array_equal(found.index, [[1, 0, 1, 2], [0, 1, 0, 2], [-1, 0, 0, 0], [3, 0, 4, 4]])
    np.testing.assert_array_equal(found.labels, [1, 2, 1, 2])
    np.testing.assert_array_equal(found.areas, [3, 2, 1, 2])
    np.testing.assert_array_equal(found.void, mask == V)


def test_without_a_background_label_0_has_instances() -> None:
    mask = np.array([[0, 0, 1], [V, 1, 1]], np.uint8)
    found = true_instances(mask, None, background=False)
    np.testing.assert_array_equal(found.labels, [0, 1])
    np.testing.assert_array_equal(found.areas, [2, 3])


def test_ids_with_gaps_up_to_the_largest() -> None:
    mask = np.array([[1, 1, 2, 0]], np.uint8)
    ids = np.array([[7, 7, 65534, 0]], np.uint16)
    found = true_instances(mask, ids, background=True)
    np.testing.assert_array_equal(found.ids, [7, 65534])
    np.testing.assert_array_equal(found.index, [[1, 1, 2, 0]])
    np.testing.assert_array_equal(found.labels, [1, 2])
    np.testing.assert_array_equal(found.areas, [2, 1])


def test_more_instances_than_8_bits_hold() -> None:
    ids = np.arange(1, 1001, dtype=np.uint16).reshape(20, 50)
    found = true_instances(np.ones((20, 50), np.uint8), ids, background=True)
    np.testing.assert_array_equal(found.index, ids)
    assert found.areas.tolist() == [1] * 1000


def test_an_instance_on_void_keeps_its_pixels_and_takes_its_class_from_the_rest() -> None:
    found = true_instances(np.array([[2, V, V, 0]], np.uint8), np.array([[4, 4, 0, 0]], np.uint16), background=True)
    np.testing.assert_array_equal(found.labels, [2])
    np.testing.assert_array_equal(found.areas, [2])
    np.testing.assert_array_equal(found.void, [[False, False, True, False]])


def test_an_instance_on_void_alone_is_void_and_one_on_background_is_none() -> None:
    mask = np.array([[V, 0, 1, 1]], np.uint8)
    ids = np.array([[3, 5, 8, N]], np.uint16)
    found = true_instances(mask, ids, background=True)
    np.testing.assert_array_equal(found.ids, [8])
    np.testing.assert_array_equal(found.index, [[-1, 0, 1, -1]])
    np.testing.assert_array_equal(found.void, [[True, False, False, True]])
    np.testing.assert_array_equal(true_instances(mask, ids, background=False).ids, [5, 8])


@pytest.mark.parametrize("ids", [None, np.full((3, 4), N, np.uint16)])
def test_an_image_of_void_has_no_instances(ids: np.ndarray | None) -> None:
    found = true_instances(np.full((3, 4), V, np.uint8), ids, background=True)
    assert found.areas.size == found.labels.size == found.ids.size == 0
    assert found.void.all()
    assert (found.index == -1).all()
