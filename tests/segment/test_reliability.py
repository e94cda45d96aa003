"""Reliable pixels against the rule written pixel by pixel, and at their limits."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from stages.core.dense_crf import dense_crf
from stages.core.params import Params
from stages.segment.losses.reliability import (
    activation_scores,
    energy_gate,
    reliable_labels,
    reliable_pixels,
    smooth_scores,
)

RULE = Params(
    {
        "foreground_alpha": 4,
        "background_alpha": 32,
        "probability": 0.8,
        "background_score": 0.8,
        "floor": 0.1,
        "quantile": 0.6,
    }
)
CRF = Params(
    {
        "kernels": {"gaussian": {"xy": 3, "weight": 3}, "bilateral": {"xy": 20, "rgb": 13, "weight": 10}},
        "iterations": 10,
        "backend": "pydensecrf",
    }
)


def naive_labels(scores, classes, smoothed):
    """The rule in double precision with loops, each sentence of the module's docstring a line."""
    count, height, width = scores.shape
    background = [[(1 - max([0.0, *map(float, scores[:, y, x])])) ** 32 for x in range(width)] for y in range(height)]
    best = {}
    for y in range(height):
        for x in range(width):
            values = [background[y][x], *(float(scores[c, y, x]) for c in range(count))]
            best[y, x] = values.index(max(values))
    thresholds = []
    for c in range(count):
        values = sorted(
            float(scores[c, y, x])
            for y in range(height)
            for x in range(width)
            if best[y, x] == c + 1 and scores[c, y, x] > 0.1
        )
        thresholds.append(values[math.floor(0.6 * len(values))] if values else math.inf)
    labels = np.full((height, width), 255)
    for y in range(height):
        for x in range(width):
            small, large = smoothed[0, :, y, x].tolist(), smoothed[1, :, y, x].tolist()
            if large.index(max(large)) == 0:
                if large[0] >= 0.8 and background[y][x] > 0.8:
                    labels[y, x] = 0
                continue
            c = small.index(max(small)) - 1
            if c < 0 or small[c + 1] < 0.8 or best[y, x] != c + 1:
                continue
            if scores[c, y, x] > 0.1 and scores[c, y, x] > thresholds[c]:
                labels[y, x] = classes[c]
    return labels


def random_case(generator):
    """Scores with areas of nothing, and CRF results that mostly agree with them."""
    count, height, width = generator.integers(0, 4), *generator.integers(1, 9, 2)
    scores = generator.random((count, height, width)).round(generator.integers(1, 6))  # some are equal
    scores *= generator.random((1, height, width)) < 0.6
    unaries = np.stack(
        [np.concatenate([(1 - scores.max(0, initial=0))[None] ** alpha, scores]) for alpha in (4, 32)]
    ) + 0.1 * generator.random((2, count + 1, height, width))
    powers = unaries ** generator.integers(1, 9)
    classes = np.sort(generator.choice(np.arange(1, 20), count, replace=False))
    return scores, classes, powers / powers.sum(1, keepdims=True)


def test_the_rule_is_the_papers_on_random_cases():
    generator = np.random.default_rng(0)
    kinds = {"background": 0, "class": 0, "void": 0}
    for _ in range(300):
        scores, classes, smoothed = random_case(generator)
        labels = reliable_labels(scores, classes, smoothed, RULE)
        expected = naive_labels(scores, classes, smoothed)
        np.testing.assert_array_equal(labels, expected)
        assert labels.dtype == np.uint8
        kinds["background"] += (expected == 0).sum()
        kinds["void"] += (expected == 255).sum()
        kinds["class"] += ((expected > 0) & (expected < 255)).sum()
    assert min(kinds.values()) > 300, kinds


def test_each_constant_of_the_rule_is_the_one_it_says():
    """A row of scores from 0 to 0.9 whose CRF is certain: what is left is the rule on the scores."""
    scores = np.array([[[0.0, 0.006, 0.05, 0.09, 0.2, 0.4, 0.5, 0.6, 0.9]]])
    certain = np.zeros((2, 2, 1, 9))
    certain[:, 0, 0, :3], certain[:, 1, 0, 3:] = 1, 1
    void = 255  # of five scores over the floor, the one above that at position 3 is sure
    assert reliable_labels(scores, np.array([7]), certain, RULE).tolist() == [[0, 0, *[void] * 6, 7]]
    lower = Params(RULE.plain() | {"quantile": 0.0})
    assert reliable_labels(scores, np.array([7]), certain, lower).tolist() == [[0, 0, void, void, void, 7, 7, 7, 7]]
    unsure = 0.75 * certain + 0.25 * certain[:, ::-1]
    assert (reliable_labels(scores, np.array([7]), unsure, RULE) == 255).all()


def test_scores_are_maps_of_present_classes_over_their_maximum_within_the_image():
    generator = torch.Generator().manual_seed(0)
    cams = torch.rand(2, 3, 4, 5, generator=generator) * 7
    cams[0, 0, :, 3:] = 100  # on padding
    valid = torch.ones(2, 4, 5, dtype=torch.bool)
    valid[0, :, 3:] = False
    tags = torch.tensor([[1.0, 0, 1], [0, 0, 0]])
    scores = activation_scores(cams, tags, valid)
    expected = np.zeros((2, 3, 4, 5))
    for c in (0, 2):
        inside = cams[0, c, :, :3].double().numpy()
        expected[0, c, :, :3] = inside / (inside.max() + 1e-5)
    np.testing.assert_allclose(scores.numpy(), expected, atol=1e-6)
    assert torch.equal(activation_scores(torch.zeros_like(cams), tags, valid), torch.zeros_like(cams))
    half = activation_scores(cams.half(), tags, valid)
    assert half.dtype == torch.float32
    assert torch.allclose(half, scores, atol=2e-3)


def test_the_two_fields_are_those_of_the_two_backgrounds():
    generator = np.random.default_rng(1)
    image = generator.integers(0, 255, (9, 12, 3), dtype=np.uint8)
    scores = generator.random((2, 9, 12)).astype(np.float32)
    both = smooth_scores(image, scores, (4, 32), CRF, 1)
    for result, alpha in zip(both, (4, 32), strict=True):
        background = (1 - scores.max(0)) ** alpha
        unary = np.concatenate([background[None], scores])
        np.testing.assert_allclose(result, dense_crf(image, unary, CRF), atol=1e-6)
        # dividing by the sum moves no more than the floor of the unary probabilities does
        normalised = dense_crf(image, unary / unary.sum(0), CRF)
        assert np.abs(result - normalised).max() < 1e-3


def test_a_coarse_field_is_near_the_fine_one():
    rows, columns = np.mgrid[:64, :64]
    disc = (columns - 30) ** 2 + (rows - 34) ** 2 < 300
    image = np.where(disc[..., None], [200, 60, 40], [60, 120, 180]).astype(np.uint8)
    scores = np.exp(-((columns - 30) ** 2 + (rows - 34) ** 2) / 300)[None].astype(np.float32)
    fine, coarse = (smooth_scores(image, scores, (4, 32), CRF, stride) for stride in (1, 2))
    assert coarse.shape == fine.shape
    np.testing.assert_allclose(coarse.sum(1), 1, atol=1e-5)
    assert (coarse.argmax(1) == fine.argmax(1)).mean() > 0.95  # all but some of the border, 3 % of the pixels
    assert ((fine[0, 1] > 0.5) == disc).mean() > 0.97
    odd = smooth_scores(image[:63, :1], scores[:, :63, :1], (4, 32), CRF, 2)
    assert odd.shape == (2, 2, 63, 1)


def scene(size=32):
    """An image of a square on a plain ground, its activation map, and where the square is."""
    rows, columns = np.mgrid[:size, :size]
    square = (abs(rows - 10) < 6) & (abs(columns - 12) < 6)
    image = torch.from_numpy(np.where(square, 200, 60).astype(np.uint8)).expand(3, size, size)
    cam = torch.from_numpy(np.exp(-((rows - 10) ** 2 + (columns - 12) ** 2) / 30)).float()
    return image, cam, torch.from_numpy(square)


@pytest.mark.parametrize("stride", [1, 2])
def test_reliable_pixels_are_right_and_void_lies_between(stride):
    image, cam, square = scene()
    cams = torch.stack([cam, torch.rand(32, 32)])[None]
    valid, tags = torch.ones(1, 32, 32, dtype=torch.bool), torch.tensor([[1.0, 0.0]])
    labels = reliable_pixels(image[None], activation_scores(cams, tags, valid), tags, valid, RULE, CRF, stride)
    assert labels.dtype == torch.int64
    assert set(labels.unique().tolist()) == {0, 1, 255}
    assert square[labels[0] == 1].all()
    assert not square[labels[0] == 0].any()
    assert (labels == 0).float().mean() > 0.2


def test_padding_changes_nothing_and_is_void():
    image, cam, _ = scene()
    tags = torch.tensor([[1.0], [1.0], [0.0]])
    images = torch.zeros(3, 3, 40, 45, dtype=torch.uint8)
    cams = torch.full((3, 1, 40, 45), 9.0)
    valid = torch.zeros(3, 40, 45, dtype=torch.bool)
    sizes = ((32, 32), (20, 32), (7, 1))
    for row, (height, width) in enumerate(sizes):
        images[row, :, :height, :width] = image[:, :height, :width]
        cams[row, 0, :height, :width] = cam[:height, :width]
        valid[row, :height, :width] = True
    labels = reliable_pixels(images, activation_scores(cams, tags, valid), tags, valid, RULE, CRF)
    assert (labels[~valid] == 255).all()
    for row, (height, width) in enumerate(sizes):
        here = np.s_[row : row + 1, :height, :width]
        whole = torch.ones(1, height, width, dtype=torch.bool)
        alone = cam[None, None, :height, :width]
        alone = activation_scores(alone, tags[row : row + 1], whole)
        picture = image[None, :, :height, :width]
        expected = reliable_pixels(picture, alone, tags[row : row + 1], whole, RULE, CRF)
        assert torch.equal(labels[here], expected)
    assert (labels[2][valid[2]] == 0).all()  # no tags: all background


@pytest.mark.parametrize("tag", [0.0, 1.0])
def test_one_pixel(tag):
    one = torch.ones(1, 1, 1, 1)
    valid, tags = one[0] > 0, torch.tensor([[tag]])
    scores = activation_scores(3 * one, tags, valid)
    labels = reliable_pixels((9 * one).expand(1, 3, 1, 1).byte(), scores, tags, valid, RULE, CRF)
    assert labels.item() == (255 if tag else 0)  # of one score none lies above its own quantile


def test_the_gate_is_the_doubt_of_reliable_pixels():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(100, 4, 3, 5, generator=generator, requires_grad=True)
    labels = torch.randint(0, 5, (100, 3, 5), generator=generator)
    labels[labels == 4] = 255
    valid = torch.rand(100, 3, 5, generator=generator) < 0.8
    gate = energy_gate(logits.softmax(1), labels, valid)
    assert not gate.requires_grad
    probabilities = np.exp(logits.detach().double().numpy())
    probabilities /= probabilities.sum(1, keepdims=True)
    expected = np.where(labels.numpy() == 255, 1, 1 - probabilities.max(1)) * valid.numpy()
    np.testing.assert_allclose(gate.numpy(), expected, atol=1e-6)
    certain = torch.tensor([1.001, 0.0], dtype=torch.float16).view(1, 2, 1, 1)
    assert energy_gate(certain, torch.zeros(1, 1, 1), torch.ones(1, 1, 1, dtype=torch.bool)).item() == 0
