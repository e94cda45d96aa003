"""All scores of a set of images, against loops over pixels and instances, and by hand."""

from __future__ import annotations

import numpy as np
import pytest

from stages.core.metrics.confusion import confusion_matrix
from stages.core.metrics.image_counts import ImageCounts, count_image
from stages.core.metrics.summary import SCORES, Summands
from tests.core.metrics import reference

V, N = 255, 65535
BOUNDS = (12, 30)
CLASSES = 5  # the last one is never true


def case(number: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Three blocks, with void and an instance map, and a prediction a pixel off with some speckle."""
    generator = np.random.default_rng(number)
    mask, ids = np.zeros((18, 20), np.uint8), np.zeros((18, 20), np.uint16)
    for identity, (top, left) in enumerate(generator.integers(0, 14, (3, 2)), start=1):
        side = generator.integers(2, 8)
        window = np.s_[top : top + side, left : left + side]
        mask[window], ids[window] = generator.integers(1, 4), identity
    prediction = np.roll(mask, tuple(generator.integers(-1, 2, 2)), (0, 1))
    speckle = generator.random(mask.shape) < 0.05
    prediction[speckle] = generator.choice([0, 1, 4, V], speckle.sum())
    mask[:, -2:], ids[:, -2:] = V, N
    return mask, ids, prediction


def counts(number: int, background: bool = True) -> ImageCounts:
    mask, ids, prediction = case(number)
    matrix = confusion_matrix(mask, prediction, CLASSES)
    return count_image(str(number), matrix, mask, ids, prediction, background)


def nanmean(values: list[float]) -> float:
    defined = [value for value in values if not np.isnan(value)]
    return float(np.mean(defined)) if defined else float("nan")


def iou(true: np.ndarray, predicted: np.ndarray) -> float:
    """NaN without true pixels."""
    return (true & predicted).sum() / (true | predicted).sum() if true.any() else float("nan")


def scores_by_loops(numbers: list[int]) -> dict[str, float]:
    """Every score but the Boundary IoU, from the definitions; a number that comes twice is two images."""
    maps = [case(number) for number in numbers]
    valid = [mask != V for mask, _, _ in maps]
    truth = np.concatenate([mask[v] for (mask, _, _), v in zip(maps, valid, strict=True)])
    predicted = np.concatenate([p[v] for (_, _, p), v in zip(maps, valid, strict=True)])
    by_class = [iou(truth == c, predicted == c) for c in range(CLASSES)]
    dice = [
        2 * ((truth == c) & (predicted == c)).sum() / ((truth == c).sum() + (predicted == c).sum())
        if (truth == c).any() else float("nan")
        for c in range(CLASSES)
    ]  # fmt: skip
    own = [[iou((m == c)[v], (p == c)[v]) for c in range(CLASSES)] for (m, _, p), v in zip(maps, valid, strict=True)]
    instances, backgrounds = [], []
    for mask, ids, prediction in maps:
        found = reference.instance_ious(mask, ids, prediction, paper=False)
        instances += [(int(mask[ids == i].max()), int((ids == i).sum()), value) for i, value in found.items()]
        counted = ids != N
        backgrounds.append(iou((mask == 0)[counted], (prediction == 0)[counted]))
    ia = [nanmean([value for label, _, value in instances if label == c]) for c in range(CLASSES)]
    bins = {"ia_s": (0, 12), "ia_m": (12, 30), "ia_l": (30, 10**9)}
    return {
        "miou": nanmean(by_class),
        "miou_fg": nanmean(by_class[1:]),
        "ia_miou": nanmean([nanmean(backgrounds), *ia[1:]]),
        "ia_miou_fg": nanmean(ia[1:]),
        **{
            name: nanmean([nanmean([v for c, a, v in instances if c == k and low <= a < high]) for k in range(CLASSES)])
            for name, (low, high) in bins.items()
        },
        "pixel_accuracy": (truth == predicted).mean(),
        "fw_iou": sum(by_class[c] * (truth == c).mean() for c in range(CLASSES) if (truth == c).any()),
        "dice": nanmean(dice[1:]),
        "miou_i": nanmean([nanmean(row) for row in own]),
        "miou_c": nanmean([nanmean([row[c] for row in own]) for c in range(CLASSES)]),
    }


def found(images: list[ImageCounts], weights: np.ndarray | None = None, background: bool = True) -> dict[str, float]:
    sums = Summands(images, BOUNDS, CLASSES, background).sums(weights)
    return {name: float(values[0]) for name, values in sums.scores().items()}


def test_every_score_equals_loops() -> None:
    numbers = list(range(25))
    expected, result = scores_by_loops(numbers), found([counts(number) for number in numbers])
    assert set(result) == set(SCORES) == {*expected, "boundary_iou"}
    for name, value in expected.items():
        assert result[name] == pytest.approx(value, abs=1e-12), name
    assert 0 < result["boundary_iou"] < result["miou"]


def test_weights_are_images_that_come_several_times() -> None:
    images = [counts(number) for number in range(6)]
    weights = np.array([[1, 1, 1, 1, 1, 1], [2, 0, 1, 3, 0, 0], [0, 0, 0, 0, 6, 0]], float)
    sums = Summands(images, BOUNDS, CLASSES, True).sums(weights).scores()
    for row, drawn in enumerate(([0, 1, 2, 3, 4, 5], [0, 0, 2, 3, 3, 3], [4] * 6)):
        for name, value in scores_by_loops(drawn).items():
            assert sums[name][row] == pytest.approx(value, abs=1e-12, nan_ok=True), name


def test_by_hand() -> None:
    """One image of 4 x 4: an instance of 4 pixels, of which 2 are found, and one pixel beside it is wrong."""
    mask, prediction = np.zeros((4, 4), np.uint8), np.zeros((4, 4), np.uint8)
    mask[0] = 1
    prediction[0, :2], prediction[1, 0] = 1, 1
    image = count_image("a", confusion_matrix(mask, prediction, 2), mask, None, prediction, True)
    result = found([image])
    assert result["miou"] == pytest.approx((11 / 14 + 2 / 5) / 2)
    assert (result["miou_fg"], result["ia_miou_fg"]) == pytest.approx((2 / 5, 2 / 5))
    assert (result["pixel_accuracy"], result["dice"]) == pytest.approx((13 / 16, 4 / 7))
    assert result["fw_iou"] == pytest.approx(12 / 16 * 11 / 14 + 4 / 16 * 2 / 5)
    assert result["ia_s"] == pytest.approx(2 / 5)
    assert np.isnan([result["ia_m"], result["ia_l"]]).all()


def test_without_a_background_label_0_is_a_class_like_others() -> None:
    mask = np.array([[0, 0, 1, 1]], np.uint8)
    prediction = np.array([[0, 1, 1, V]], np.uint8)
    image = count_image("a", confusion_matrix(mask, prediction, CLASSES), mask, None, prediction, False)
    result = found([image], background=False)
    assert result["miou"] == result["miou_fg"] == pytest.approx((1 / 2 + 1 / 3) / 2)
    assert result["ia_miou"] == result["ia_miou_fg"] == pytest.approx((1 / 2 + 1 / 3) / 2)


def test_an_image_of_void_adds_nothing() -> None:
    void = np.full((18, 20), V, np.uint8)
    nothing = count_image("v", confusion_matrix(void, void * 0, CLASSES), void, None, void * 0, True)
    images = [counts(number) for number in range(5)]
    assert found([*images, nothing]) == pytest.approx(found(images))
    assert np.isnan(list(found([nothing]).values())).all()
