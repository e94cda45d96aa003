"""Measured sizes against hand-computed shares."""

from __future__ import annotations

import numpy as np
import pytest

from stages.core.faults import Fault
from stages.size_targets.measure import class_pixels, shares

MASK = np.array([[0, 0, 1, 1], [2, 1, 255, 255]], np.uint8)


def test_pixels_by_hand() -> None:
    np.testing.assert_array_equal(class_pixels(MASK, 4), [2, 3, 1, 0, 2])


def test_a_label_that_is_no_class_is_refused() -> None:
    with pytest.raises(ValueError, match="label 2 is not a class"):
        class_pixels(MASK, 2)


def test_void_excluded_and_included_by_hand() -> None:
    pixels = class_pixels(MASK, 4)[None]
    np.testing.assert_allclose(shares(pixels, "excluded", True, ["a"]), [[2 / 6, 3 / 6, 1 / 6, 0]])
    np.testing.assert_allclose(shares(pixels, "included", True, ["a"]), [[4 / 8, 3 / 8, 1 / 8, 0]])
    np.testing.assert_allclose(shares(pixels, "excluded", False, ["a"]), [[2 / 6, 3 / 6, 1 / 6, 0]])


def test_void_cannot_be_background_without_one() -> None:
    with pytest.raises(Fault, match="use excluded"):
        shares(class_pixels(MASK, 4)[None], "included", False, ["a"])


def test_images_that_are_all_void_are_named_together() -> None:
    pixels = np.stack([class_pixels(mask, 3) for mask in (MASK, np.full_like(MASK, 255), np.full_like(MASK, 255))])
    with pytest.raises(Fault, match=r"2 faults(.|\n)*b: every pixel is void\n.*c: every pixel is void"):
        shares(pixels, "excluded", True, ["a", "b", "c"])
    np.testing.assert_array_equal(shares(pixels, "included", True, ["a", "b", "c"])[1:], [[1, 0, 0]] * 2)
