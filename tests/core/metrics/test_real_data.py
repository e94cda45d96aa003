"""IA-mIoU on instance maps of PASCAL VOC, with their void seams."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from stages.core.files import decode_image
from stages.core.metrics.ia_miou import EXACT, PAPER, instance_ious
from tests.core.metrics.reference import N, V, contour_ious


@pytest.fixture(scope="module")
def maps(real_data: Path) -> list[tuple[np.ndarray, np.ndarray]]:
    """Masks and instance maps of three photographs; void is 255 in both files."""
    folder = real_data / "labelme_voc_sample"
    found = []
    for path in sorted((folder / "SegmentationObject").glob("*.png")):
        ids = decode_image(path.read_bytes()).astype(np.uint16)
        ids[ids == V] = N
        found.append((decode_image((folder / "SegmentationClass" / path.name).read_bytes()), ids))
    assert len(found) == 3
    return found


def test_the_truth_is_perfect_in_both_modes(maps: list) -> None:
    for mask, ids in maps:
        prediction = np.where(mask == V, 0, mask).astype(np.uint8)
        for identity in np.unique(ids[(ids > 0) & (ids < N)]):  # the two maps differ in where void begins
            inside = ids == identity
            prediction[inside] = mask[inside & (mask != V)].max()
        for mode in (EXACT, PAPER):
            result = instance_ious(mask, ids, prediction, True, mode)
            assert result.ious.size > 0
            assert (result.ious == 1).all()


def test_mode_paper_equals_filled_outlines(maps: list) -> None:
    generator = np.random.default_rng(0)
    for mask, ids in maps:
        for shift in ((0, 9), (12, -7), (30, 40)):
            prediction = np.roll(np.where(mask == V, 0, mask), shift, (0, 1)).astype(np.uint8)
            speckle = generator.random(mask.shape) < 0.01
            prediction[speckle] = generator.choice(np.unique(mask[mask < V]), speckle.sum())
            result = instance_ious(mask, ids, prediction, True, PAPER)
            found = dict(zip(result.ids.tolist(), result.ious, strict=True))
            assert found == pytest.approx(contour_ious(mask, ids, prediction), abs=1e-12)
