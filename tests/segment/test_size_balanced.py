"""size_balanced: which loss when, and a Fisher information that equals loops over the images."""

import os
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from stages.core import distributed
from stages.core.dataset import Dataset
from stages.core.faults import Fault
from stages.core.params import Params
from stages.core.samples import Samples, collate
from stages.core.transforms import normalise
from stages.segment.losses.size_weights import size_weights
from stages.segment.methods import size_balanced
from stages.segment.setting import Setting

RECIPE = {"ewc_weight": 5.0, "task_a": 0.5, "fisher_images": "all", "fisher_batch": 2}
METHOD = {"tau": 5.0, "reading": "image", "normalise_ce": "weights", "fisher": "per_sample", "fisher_normalise": "none"}


class Toy(nn.Module):
    """A small segmenter whose prediction in training mode would differ from run to run."""

    def __init__(self):
        super().__init__()
        self.encoder = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.5))
        self.head = nn.Conv2d(4, 3, 1)

    def forward(self, images):
        return self.head(self.encoder(images))


def setting(epoch=0, epochs=4, recipe=None, method=None, background=True):
    return Setting(Params(RECIPE | (recipe or {})), Params(METHOD | (method or {})), epoch, epochs, background)


def training_samples(tiny_dataset):
    dataset = Dataset(tiny_dataset, tiny_dataset.with_name("raw.zip"))
    ids = dataset.ids("train")
    augment = Params({"resize": [20, 32], "crop": "none", "flip": True, "rotate90": False, "jitter": 0.0})
    return Samples(dataset, ids, dataset.mask, np.zeros((len(ids), 0), np.float32), augment, 0)


def trained_network(where):
    torch.manual_seed(0)
    network = size_balanced.network(Toy(), {}, where)
    with torch.no_grad():
        network(torch.randn(4, 3, 16, 16))  # statistics of its own
    return network


def by_images(network, samples, epoch, order, size):
    """Squared gradients of batches of `size` of the mean -ln p over labelled pixels, (T, P) float64."""
    network.eval()
    rows = []
    for start in range(0, len(order) - size + 1, size):
        batch = collate([samples[epoch, int(index)] for index in order[start : start + size]])
        log_p = network.segmenter(normalise(batch.images)).log_softmax(1).permute(0, 2, 3, 1)
        known = batch.labels != 255
        network.zero_grad()
        (-log_p[known].gather(1, batch.labels[known][:, None]).mean()).backward()
        rows.append(torch.cat([p.grad.flatten() for p in network.parameters()]).double().numpy() ** 2)
    network.zero_grad()
    network.train()
    return np.array(rows)


@pytest.mark.parametrize("kind", ["per_sample", "batch", "running"])
@pytest.mark.parametrize("images", ["all", 5, 100])
def test_the_fisher_equals_loops_over_the_epochs_last_images(tiny_dataset, kind, images):
    samples = training_samples(tiny_dataset)
    now = setting(1, recipe={"fisher_images": images}, method={"fisher": kind})
    network = trained_network(now)
    size_balanced.after_epoch(network, samples, now)
    order = np.random.default_rng([0, 1]).permutation(6)[-(5 if images == 5 else 6) :]
    squares = by_images(network, samples, 1, order, 1 if kind == "per_sample" else 2)
    expected = squares.mean(0)
    if kind == "running":
        expected = np.ones_like(expected)
        for square in squares:
            expected = 0.9 * square + 0.1 * expected
    np.testing.assert_allclose(network.fisher, expected, rtol=1e-3, atol=1e-9)
    parameters = torch.cat([p.detach().flatten() for p in network.segmenter.parameters()])
    assert torch.equal(network.anchor, parameters)


def test_the_pass_leaves_no_trace_but_the_anchor_and_is_deterministic(tiny_dataset):
    samples, now = training_samples(tiny_dataset), setting(1)
    network = trained_network(now)
    network.segmenter.encoder[1].eval()  # frozen statistics
    before = {name: value.clone() for name, value in network.segmenter.state_dict().items()}
    size_balanced.after_epoch(network, samples, now)
    assert all(torch.equal(value, before[name]) for name, value in network.segmenter.state_dict().items())
    assert all(parameter.grad is None for parameter in network.parameters())
    assert network.training
    assert network.segmenter.head.training
    assert not network.segmenter.encoder[1].training
    first = network.fisher.clone()
    size_balanced.after_epoch(network, samples, now)
    assert torch.equal(first, network.fisher)


@pytest.mark.parametrize(
    ("task_a", "epochs", "length"), [(0.5, 4, 2), (0.5, 3, 2), (0.5, 1, 1), (0.3, 10, 3), (0.0, 4, 0), (1.0, 4, 4)]
)
def test_task_a_has_its_share_of_the_epochs_and_only_its_end_has_a_fisher(tiny_dataset, task_a, epochs, length):
    samples = training_samples(tiny_dataset)
    start = setting(epochs=epochs, recipe={"task_a": task_a})
    assert size_balanced.task_a_epochs(start) == length
    network = trained_network(start)
    both = 0 < length < epochs
    assert hasattr(network, "fisher") is both
    for epoch in range(epochs):
        size_balanced.after_epoch(network, samples, replace(start, epoch=epoch))
        if both:
            assert network.fisher.any() == (epoch + 1 >= length)


@pytest.mark.parametrize("how", ["none", "tensor", "all"])
def test_normalisation_reaches_the_network(tiny_dataset, how):
    samples, now = training_samples(tiny_dataset), setting(1, method={"fisher_normalise": how})
    network = trained_network(now)
    size_balanced.after_epoch(network, samples, now)
    sizes = [p.numel() for p in network.segmenter.parameters()]
    tops = [part.max().item() for part in network.fisher.split(sizes)]
    assert (max(tops) == 1) is (how != "none")
    assert (min(tops) == 1) is (how == "tensor")


def test_no_information_is_refused(tiny_dataset):
    samples, now = training_samples(tiny_dataset), setting(1)
    samples.labels = lambda image_id: np.full((32, 32), 255, np.uint8)
    with pytest.raises(Fault, match="0 everywhere"):
        size_balanced.after_epoch(trained_network(now), samples, now)


def random_batch(rng):
    labels = rng.choice([0, 1, 2, 255], (2, 5, 6))
    weights = np.stack([size_weights(label_map.astype(np.uint8), 5) for label_map in labels])
    logits = torch.tensor(rng.normal(size=(2, 3, 5, 6)), dtype=torch.float32, requires_grad=True)
    return logits, SimpleNamespace(labels=torch.tensor(labels), weights=torch.tensor(weights))


@pytest.mark.parametrize("divisor", ["weights", "pixels"])
def test_task_a_is_plain_and_task_b_weighted_with_the_penalty(divisor):
    rng = np.random.default_rng(0)
    for _ in range(50):
        logits, batch = random_batch(rng)
        penalty = torch.tensor(rng.random(), dtype=torch.float32)
        log_p = logits.detach().double().log_softmax(1).permute(0, 2, 3, 1).numpy()
        labels, weights = batch.labels.numpy(), batch.weights.double().numpy()
        known = labels != 255
        costs = -np.take_along_axis(log_p, np.where(known, labels, 0)[..., None], 3)[..., 0] * known
        weighted = (weights * costs).sum() / (weights.sum() if divisor == "weights" else known.sum())
        first = setting(1, method={"normalise_ce": divisor})
        got = size_balanced.loss((logits, 0 * penalty), batch, first)
        assert got["loss"].item() == pytest.approx(costs.sum() / known.sum(), rel=1e-5)
        got = size_balanced.loss((logits, penalty), batch, replace(first, epoch=2))
        assert got["ce"].item() == pytest.approx(weighted, rel=1e-5)
        assert got["loss"].item() == pytest.approx(weighted + 5 * penalty.item(), rel=1e-5)
        assert set(got) == {"loss", "ce", "ewc"}
        for recipe in ({"ewc_weight": 0}, {"task_a": 0.0}):
            alone = size_balanced.loss(logits, batch, setting(2, method={"normalise_ce": divisor}, recipe=recipe))
            assert alone["loss"].item() == pytest.approx(weighted, rel=1e-5)
            assert set(alone) == {"loss"}


def test_weights_are_of_the_methods_parameters():
    labels = np.random.default_rng(0).integers(0, 3, (9, 9)).astype(np.uint8)
    now = setting(method={"tau": 3.0, "reading": "class"}, background=False)
    np.testing.assert_array_equal(size_balanced.pixel_weights(labels, now), size_weights(labels, 3, "class", False))


def test_a_short_training_learns_and_the_penalty_holds_it(tiny_dataset):
    method = size_balanced
    assert method.TARGETS is None
    for kind in ("masks", "pseudo_masks"):
        assert method.labels(setting(method={"labels": kind})) == kind
    samples = training_samples(tiny_dataset)
    moved = []
    for weight in (1e-9, 1e4):
        start = setting(epochs=20, recipe={"ewc_weight": weight}, method={"fisher_normalise": "all"})
        torch.manual_seed(0)
        network = method.network(Toy(), {}, start)
        optimiser = torch.optim.Adam(network.parameters(), 0.02)
        losses = []
        for epoch in range(20):
            now = replace(start, epoch=epoch)
            batch = collate([samples[epoch, index] for index in range(6)])
            weights = torch.zeros(batch.labels.shape)
            for row, label_map in zip(weights, batch.labels.numpy().astype(np.uint8), strict=True):
                row[:] = torch.tensor(method.pixel_weights(label_map, now))
            batch.weights = weights
            terms = method.loss(network(normalise(batch.images), batch.valid), batch, now)
            optimiser.zero_grad()
            terms["loss"].backward()
            optimiser.step()
            method.after_epoch(network, samples, now)
            losses.append(terms["ce"].item())
        assert losses[9] < 0.8 * losses[0]
        assert (terms["ewc"] > 0).item()
        moved.append(network.penalty().item())
    assert moved[1] < 0.1 * moved[0]


def each_process(folder, path):
    """Of one of several processes: the buffers after task A, and the penalty after a step under DDP."""
    samples = training_samples(path)
    result = {}
    for kind in ("per_sample", "batch", "running"):
        now = setting(1, recipe={"fisher_images": 5}, method={"fisher": kind})  # an uneven share
        network = trained_network(now)
        size_balanced.after_epoch(network, samples, now)
        result[kind] = network.fisher
    wrapped = distributed.parallel(network.eval())
    logits, penalty = wrapped(torch.ones(1, 3, 8, 8), None)
    (logits.square().mean() + penalty).backward()
    torch.optim.SGD(wrapped.parameters(), 0.1).step()
    result["penalty"] = wrapped(torch.ones(1, 3, 8, 8), None)[1].detach()
    torch.save(result, folder / f"{distributed.rank()}.pt")


def test_two_processes_find_the_fisher_and_the_penalty_of_one(tiny_dataset, tmp_path, monkeypatch):
    results = []
    for count in (1, 2):
        folder = tmp_path / str(count)
        folder.mkdir()
        monkeypatch.setitem(os.environ, "NPROC", str(count))
        distributed.launch(each_process, folder, tiny_dataset)
        results += [torch.load(path) for path in sorted(folder.iterdir())]
    alone, first, second = results
    assert alone["penalty"] > 1e-6
    for name, value in alone.items():
        assert value.any()
        torch.testing.assert_close(first[name], value, rtol=1e-4, atol=1e-9)
        assert torch.equal(first[name], second[name])
