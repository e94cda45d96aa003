"""Pseudo masks of scores chosen by hand, and with CRF, PAMR and walk on pictures with known edges."""

from __future__ import annotations

import numpy as np
import pytest

from stages.core.params import Params
from stages.core.two_thresholds import label_scores
from stages.refine.one_image import last, score_steps, walk_scores

CRF = {
    "confidence": 0.7,
    "kernels": {"gaussian": {"xy": 3, "weight": 3}, "bilateral": {"xy": 50, "rgb": 5, "weight": 10}},
    "iterations": 10,
    "backend": "pydensecrf",
}
PLAIN = Params({"foreground": 0.5, "background": 0.2, "walk": "none", "pamr": "none", "crf": "none"})
SMOOTH = Params({"foreground": 0.5, "background": 0.2, "walk": "none", "pamr": "none", "crf": CRF})
IMAGE = np.zeros((1, 5, 3), np.uint8)
CAM = np.array([[[0, 100, 200, 255, 130]], [[40, 90, 210, 0, 130]]], np.uint8)  # thresholds at 127.5 and 51
CLASSES = np.array([3, 7])


def pseudo_mask(
    image: np.ndarray,
    cam: np.ndarray,
    classes: np.ndarray,
    background: bool,
    refine: Params,
    edges: np.ndarray | None = None,
) -> np.ndarray:
    """What `refine` makes of one image's maps."""
    return label_scores(image, last(score_steps(image, cam, edges, refine)), classes, background, refine)


def test_two_thresholds_by_hand() -> None:
    """Below both, between them, above both with either class ahead, and a tie, which the first class wins."""
    np.testing.assert_array_equal(pseudo_mask(IMAGE, CAM, CLASSES, True, PLAIN), [[0, 255, 7, 3, 3]])


def test_a_score_equal_to_the_threshold_is_background() -> None:
    """The constant background score comes first in the argmax, as in the published rule."""
    refine = Params({"foreground": 1.0, "background": 0.0, "walk": "none", "pamr": "none", "crf": "none"})
    cam = np.array([[[255, 128, 0]]], np.uint8)
    np.testing.assert_array_equal(pseudo_mask(IMAGE[:, :3], cam, CLASSES[:1], True, refine), [[255, 255, 0]])


def test_without_background_by_hand() -> None:
    np.testing.assert_array_equal(pseudo_mask(IMAGE, CAM, np.array([0, 7]), False, PLAIN), [[255, 255, 7, 0, 0]])


@pytest.mark.parametrize("refine", [PLAIN, SMOOTH], ids=["plain", "crf"])
def test_images_without_tags(refine: Params) -> None:
    cam, classes = np.zeros((0, 1, 2), np.uint8), np.zeros(0, np.int64)
    np.testing.assert_array_equal(pseudo_mask(IMAGE, cam, classes, True, refine), np.zeros((1, 5)))
    np.testing.assert_array_equal(pseudo_mask(IMAGE, cam, classes, False, refine), np.full((1, 5), 255))


def picture(seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Two discs of different colour, 40 x 60, their true labels and coarse activation maps that overrun the edges."""
    random = np.random.default_rng(seed)
    rows, columns = np.mgrid[:40, :60]
    truth = np.zeros((40, 60), np.uint8)
    truth[(rows - 20) ** 2 + (columns - 15) ** 2 < 81] = 3
    truth[(rows - 18) ** 2 + (columns - 44) ** 2 < 64] = 7
    colours = np.zeros((256, 3))
    colours[[0, 3, 7]] = [[50, 120, 60], [200, 60, 50], [60, 70, 210]]
    image = (colours[truth] + random.normal(0, 2, (40, 60, 3))).clip(0, 255).astype(np.uint8)
    rows, columns = np.mgrid[:10, :15] * 4 + 2
    bumps = [np.exp(-((rows - y) ** 2 + (columns - x) ** 2) / 150) for y, x in ((21, 17), (17, 42))]
    return image, truth, np.round(255 * np.stack(bumps) / np.max(bumps, axis=(1, 2), keepdims=True)).astype(np.uint8)


def test_crf_moves_labels_to_the_edges_of_the_picture() -> None:
    image, truth, cam = picture()
    plain, smooth = (pseudo_mask(image, cam, CLASSES, True, refine) for refine in (PLAIN, SMOOTH))
    assert (plain == truth).mean() < 0.9
    assert (smooth == truth).mean() > 0.99


def test_crf_without_background_smooths_only_sure_pixels() -> None:
    """Single wrong pixels inside a region change, and what was below the threshold stays void."""
    image, truth, _ = picture()
    left = np.arange(60)[None] < 30
    scores = np.stack([left, ~left]).astype(float) * np.ones((1, 40, 60))
    scores[:, 20, 10] = scores[::-1, 20, 10]
    scores[:, :5] *= 0.4
    cam = np.round(scores * 255).astype(np.uint8)
    expected = np.where(left, 0, 7) * np.ones((40, 1), int)
    expected[:5] = 255
    flat = np.where(left[..., None], 40, 200) * np.ones((40, 1, 3))
    result = pseudo_mask(flat.astype(np.uint8), cam, np.array([0, 7]), False, SMOOTH)
    np.testing.assert_array_equal(result, expected)


@pytest.mark.parametrize("kernel", ["pamr", "par"])
def test_pixel_adaptive_refinement_fills_a_region_of_one_colour(kernel: str) -> None:
    """The map covers a third of a square; refined, its pseudo mask covers the square and nothing else."""
    image = np.full((32, 32, 3), 40, np.uint8)
    image[8:24, 8:24] = 200
    cam = np.zeros((1, 32, 32), np.uint8)
    cam[0, 8:24, 8:14] = 255
    labels = np.array([1])
    plain = pseudo_mask(image, cam, labels, True, PLAIN)
    pamr = Params({"kernel": kernel, "dilations": [1, 2, 4], "iterations": 40})
    low = {"foreground": 0.2, "background": 0.1, "walk": "none", "crf": "none"}
    refined = pseudo_mask(image, cam, labels, True, Params(low | {"pamr": pamr}))
    square = np.zeros((32, 32), bool)
    square[8:24, 8:24] = True
    assert (plain[square] == 1).mean() < 0.5
    assert (refined[square] == 1).mean() > 0.95
    assert (refined[~square] == 0).mean() > 0.95


def square(top: int, left: int) -> tuple[np.ndarray, np.ndarray]:
    """A square of 24 x 24 in 48 x 64 pixels, bool, and its outline at stride 4, 12 x 16 uint8: 255 around it."""
    inside = np.zeros((48, 64), bool)
    inside[top : top + 24, left : left + 24] = True
    edges = np.zeros((12, 16), np.uint8)
    edges[top // 4 - 1 : top // 4 + 7, left // 4 - 1 : left // 4 + 7] = 255
    edges[top // 4 : top // 4 + 6, left // 4 : left // 4 + 6] = 0
    return inside, edges


WALK = Params({"radius": 5, "beta": 10, "steps": 256})


def test_a_walk_fills_what_a_boundary_encloses() -> None:
    """The map covers a corner of the square; after the walk the pseudo mask is the square and nothing else."""
    inside, edges = square(12, 20)
    cam = np.zeros((1, 12, 16), np.uint8)
    cam[0, 3:6, 5:8] = 255
    image = np.zeros((48, 64, 3), np.uint8)
    labels = np.array([1])
    plain = pseudo_mask(image, cam, labels, True, PLAIN, edges)
    walked = pseudo_mask(image, cam, labels, True, Params(PLAIN.plain() | {"walk": WALK}), edges)
    assert (plain[inside] == 1).mean() < 0.5
    assert (walked[inside] != 0).all()
    assert (walked[inside] == 1).mean() > 0.8  # the outermost pixels lie between the square and the boundary
    assert (walked[~inside] == 1).mean() < 0.05


@pytest.mark.parametrize(("stride", "size"), [(2, (47, 63)), (4, (48, 64)), (8, (46, 61))])
def test_walked_scores_are_divided_by_the_largest_of_all(stride: int, size: tuple[int, int]) -> None:
    """Whatever the stride of the maps; the class that was half as active stays so."""
    _, edges = square(12, 20)
    cam = np.zeros((2, *(-(-side // stride) for side in size)), np.uint8)
    rows, columns = (slice(start // stride, start // stride + 24 // stride) for start in (12, 20))
    cam[0, rows, columns], cam[1, rows, columns] = 254, 127
    scores = walk_scores(cam, edges, size, WALK)
    assert (scores.dtype, scores.shape) == (np.float32, (2, *size))
    assert scores.min() >= 0
    assert scores.max() == 1
    np.testing.assert_allclose(scores[1], scores[0] / 2, atol=1e-6)


def test_a_walk_where_nothing_is_active_gives_zeros() -> None:
    cam, edges = np.full((1, 12, 16), 255, np.uint8), np.full((12, 16), 255, np.uint8)
    assert (walk_scores(cam, edges, (48, 64), WALK) == 0).all()
