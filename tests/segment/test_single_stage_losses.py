"""The losses of the single-stage method against the paper's equations in double precision, and their limits."""

from functools import partial

import numpy as np
import pytest
import torch

from stages.segment.losses.single_stage import (
    focal_penalty,
    labelled_share,
    normalised_pooling,
    pseudo_labels,
    self_supervised_cross_entropy,
    tag_loss,
)


def softmax(logits):
    exponent = np.exp(logits - logits.max(0))
    return exponent / exponent.sum(0)


def pooling_by_hand(logits, valid):
    masks = softmax(logits)
    rows = []
    for label in range(len(logits)):
        top = sum(masks[label, y, x] * logits[label, y, x] for y, x in np.argwhere(valid))
        rows.append(top / (1 + sum(masks[label, y, x] for y, x in np.argwhere(valid))))
    return np.array(rows)


def penalty_by_hand(logits, valid, power, floor):
    mean = softmax(logits)[:, valid].mean(1) if valid.any() else np.zeros(len(logits))
    return (1 - mean) ** power * np.log(floor + mean)


def tag_loss_by_hand(logits, valid, tags, power, floor):
    images = []
    for image, where, tag in zip(logits, valid, tags, strict=True):
        score = (pooling_by_hand(image, where) + penalty_by_hand(image, where, power, floor))[1:]
        chance = 1 / (1 + np.exp(-score))
        images.append(-np.mean(np.where(tag[1:] == 1, np.log(chance), np.log(1 - chance))))
    return np.mean(images)


def labels_by_hand(masks, tags, foreground=0.6, background=0.7, lowest=0.2):
    labels = np.full(masks.shape[1:], 255)
    for y, x in np.ndindex(*labels.shape):
        claims = []
        for label in np.flatnonzero(tags):
            share = foreground if label else background
            if masks[label, y, x] > max(share * masks[label].max(), lowest):
                claims.append(label)
        if len(claims) == 1:
            labels[y, x] = claims[0]
    return labels


def entropy_by_hand(logits, labels, valid, tags):
    images = []
    for image, label_map, where, tag in zip(logits, labels, valid, tags, strict=True):
        seen = [(y, x) for y, x in np.argwhere(where) if label_map[y, x] != 255]
        counts = {label: sum(label_map[place] == label for place in seen) for label in range(len(image))}
        total = sum(counts.values())
        if any(tag[label] and not counts[label] for label in counts):
            images.append(0.0)
            continue
        chance = softmax(image)
        terms = [-(total - counts[label_map[p]]) / (1 + total) * np.log(chance[(label_map[p], *p)]) for p in seen]
        images.append(sum(terms) / where.sum())
    return np.mean(images)


def random_case(rng):
    batch, classes, height, width = rng.integers(1, 4), rng.integers(2, 6), *rng.integers(1, 7, 2)
    logits = rng.normal(scale=3, size=(batch, classes, height, width))
    logits[:, 0] = 1
    valid = rng.random((batch, height, width)) < 0.7
    valid[:, 0, 0] = True
    tags = (rng.random((batch, classes)) < 0.5).astype(float)
    tags[:, 0] = 1
    return logits, valid, tags


def random_labels(rng, tags, height, width):
    """Labels of the tagged classes and void; small maps often miss one."""
    return np.stack([rng.choice([*np.flatnonzero(tag), 255], (height, width)) for tag in tags])


def test_pooling_and_penalty_equal_the_equations():
    rng = np.random.default_rng(0)
    for _ in range(100):
        logits, valid, tags = random_case(rng)
        power, floor = rng.uniform(1, 4), rng.uniform(0.001, 0.2)
        arguments = torch.tensor(logits), torch.tensor(valid)
        for image, where, pooled, penalty in zip(
            logits, valid, normalised_pooling(*arguments), focal_penalty(*arguments, power, floor), strict=True
        ):
            np.testing.assert_allclose(pooled.numpy(), pooling_by_hand(image, where), atol=1e-5)
            np.testing.assert_allclose(penalty.numpy(), penalty_by_hand(image, where, power, floor), atol=1e-5)
        got = tag_loss(*arguments, torch.tensor(tags), power, floor).item()
        assert got == pytest.approx(tag_loss_by_hand(logits, valid, tags, power, floor), abs=1e-5)


def test_pseudo_labels_equal_the_rule():
    rng = np.random.default_rng(1)
    seen = set()
    for _ in range(100):
        logits, _, tags = random_case(rng)
        masks = np.stack([softmax(image) for image in logits]).astype(np.float32)
        shares = rng.uniform(0.2, 0.9, 2)
        lowest = rng.uniform(0, 0.4)
        got = pseudo_labels(torch.tensor(masks), torch.tensor(tags), *shares, lowest).numpy()
        for labels, mask, tag in zip(got, masks, tags, strict=True):
            np.testing.assert_array_equal(labels, labels_by_hand(mask, tag, *shares, lowest))
        seen |= set(got.ravel())
    assert seen >= {0, 1, 2, 255}


def test_cross_entropy_equals_its_definition():
    rng = np.random.default_rng(2)
    zero = 0
    for _ in range(150):
        logits, valid, tags = random_case(rng)
        labels = random_labels(rng, tags, *valid.shape[1:])
        expected = entropy_by_hand(logits, labels, valid, tags)
        got = self_supervised_cross_entropy(*(torch.tensor(value) for value in (logits, labels, valid, tags)))
        assert got.item() == pytest.approx(expected, abs=1e-5)
        zero += expected == 0
    assert 10 < zero < 140  # both kinds of images were among them


def central_differences(function, x, step=1e-5):
    """The gradient of a function of a float64 array."""
    gradient = np.zeros_like(x)
    for place in np.ndindex(*x.shape):
        ends = []
        for sign in (1, -1):
            moved = x.copy()
            moved[place] += sign * step
            ends.append(function(moved))
        gradient[place] = (ends[0] - ends[1]) / (2 * step)
    return gradient


def test_gradients_equal_finite_differences_of_the_equations():
    rng = np.random.default_rng(3)
    for _ in range(5):
        logits = rng.normal(size=(2, 3, 3, 4))
        valid = rng.random((2, 3, 4)) < 0.7
        tags = np.array([[1.0, 1, 0], [1.0, 0, 1]])
        labels = np.stack([np.resize([0, 1, 255], (3, 4)), np.resize([0, 255, 2, 0], (3, 4))])
        valid[:, 0, :3] = True
        arguments = [torch.tensor(value) for value in (valid, tags)]
        x = torch.tensor(logits, requires_grad=True)
        tag_loss(x, *arguments).backward()
        expected = central_differences(partial(tag_loss_by_hand, valid=valid, tags=tags, power=3, floor=0.01), logits)
        np.testing.assert_allclose(x.grad.numpy(), expected, atol=2e-6)
        assert abs(expected).max() > 1e-3
        x.grad = None
        self_supervised_cross_entropy(x, torch.tensor(labels), *arguments).backward()
        expected = central_differences(partial(entropy_by_hand, labels=labels, valid=valid, tags=tags), logits)
        np.testing.assert_allclose(x.grad.numpy(), expected, atol=2e-6)
        assert abs(expected).max() > 1e-3


def test_padding_counts_nowhere():
    rng = np.random.default_rng(4)
    logits = torch.tensor(rng.normal(size=(1, 3, 4, 4)), dtype=torch.float32)
    tags = torch.tensor([[1.0, 1.0, 0.0]])
    labels = torch.tensor(random_labels(rng, tags.numpy(), 4, 4))
    whole = torch.ones(1, 4, 4, dtype=torch.bool)
    padding = (0, 3, 0, 2)
    padded = torch.nn.functional.pad(logits, padding, value=50.0).requires_grad_()
    valid = torch.nn.functional.pad(whole, padding)
    marked = torch.nn.functional.pad(labels, padding, value=1)  # even where it is labelled
    small = tag_loss(logits, whole, tags) + self_supervised_cross_entropy(logits, labels, whole, tags)
    large = tag_loss(padded, valid, tags) + self_supervised_cross_entropy(padded, marked, valid, tags)
    assert large.item() == pytest.approx(small.item(), abs=1e-6)
    assert labelled_share(marked, valid) == labelled_share(labels, whole)
    large.backward()
    assert padded.grad[:, :, 4:].abs().max() == 0
    assert padded.grad[:, :, :, 4:].abs().max() == 0
    assert padded.grad.abs().max() > 0


def test_limits_of_the_score():
    """A mask of the whole image scores its logit, an empty mask ln(0.01) below 0."""
    ones = torch.ones(1, 20, 20, dtype=torch.bool)
    logits = torch.ones(1, 3, 20, 20)
    logits[:, 1], logits[:, 2] = 30, -30
    score = normalised_pooling(logits, ones) + focal_penalty(logits, ones)
    assert score[0, 1].item() == pytest.approx(30 * 400 / 401, abs=1e-3)
    assert score[0, 2].item() == pytest.approx(np.log(0.01), abs=1e-3)
    nothing = torch.zeros(1, 20, 20, dtype=torch.bool)
    assert normalised_pooling(logits, nothing).abs().max() == 0
    torch.testing.assert_close(focal_penalty(logits, nothing), torch.full((1, 3), 0.01).log())


def test_a_constant_mask_an_ambiguous_pixel_and_a_mask_below_the_lowest():
    masks = torch.tensor([[0.5, 0.5, 0.5], [0.45, 0.1, 0.1], [0.15, 0.0, 0.19]])[None, :, None]
    tags = torch.ones(1, 3)
    assert pseudo_labels(masks, tags)[0, 0].tolist() == [255, 0, 0]  # both claim the first, label 2 nothing
    assert pseudo_labels(masks, torch.tensor([[1.0, 0.0, 1.0]]))[0, 0].tolist() == [0, 0, 0]
    assert pseudo_labels(torch.zeros(1, 3, 2, 2), tags).unique().tolist() == [255]


@pytest.mark.parametrize("labels", [[255, 255], [0, 255], [0, 0]])
def test_labels_that_miss_a_class_cost_nothing(labels):
    logits = torch.randn(1, 3, 1, 2, requires_grad=True)
    loss = self_supervised_cross_entropy(
        logits, torch.tensor([[labels]]), torch.ones(1, 1, 2, dtype=torch.bool), torch.tensor([[1.0, 1.0, 0.0]])
    )
    loss.backward()
    assert loss == 0
    assert logits.grad.abs().max() == 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_extreme_logits_of_any_precision_are_finite(dtype):
    logits = torch.ones(2, 3, 4, 4, dtype=dtype)
    logits[:, 1, :2], logits[:, 2] = 5000, -5000
    logits.requires_grad_()
    valid = torch.ones(2, 4, 4, dtype=torch.bool)
    valid[1] = False
    tags = torch.tensor([[1.0, 0.0, 1.0], [1.0, 1.0, 1.0]])
    labels = torch.zeros(2, 4, 4, dtype=torch.int64)
    labels[:, 0] = 2
    loss = tag_loss(logits, valid, tags) + self_supervised_cross_entropy(logits, labels, valid, tags)
    loss.backward()
    assert loss.dtype == torch.float32
    assert torch.isfinite(loss)
    assert torch.isfinite(logits.grad).all()
