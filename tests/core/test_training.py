"""The training loop: schedules by hand, resume to the bit, and data parallelism equal to one process."""

import os
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import nn

from stages.core import distributed
from stages.core.faults import Fault
from stages.core.params import Params
from stages.core.samples import EpochBatches, Samples, collate
from stages.core.training import learning_rate_factor, train
from stages.core.transforms import augment, normalise, pad_batch, valid_pixels

AUGMENT = {"resize": "keep", "crop": "none", "flip": True, "rotate90": True, "jitter": 0.3}
RECIPE = Params(
    {
        "epochs": 4,
        "batch_size": 4,
        "optimizer": "adamw",
        "lr": 0.01,
        "head_lr_factor": 10,
        "momentum": 0.9,
        "weight_decay": 0.01,
        "schedule": "one_cycle",
        "warmup": 0.2,
        "precision": "float32",
        "batch_norm": "train",
        "validate_every": 2,
    }
)


class Net(nn.Module):
    def __init__(self, norm=True):
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Conv2d(3, 4, 3, padding=1),
            nn.BatchNorm2d(4) if norm else nn.Identity(),
            nn.ReLU(),
            nn.Dropout(0.2 * norm),
        )
        self.head = nn.Conv2d(4, 2, 1)

    def forward(self, images):
        return self.head(self.encoder(images)).mean((2, 3))


@dataclass
class Pictures:
    """A data set of random pictures, twice as bright where the target says so."""

    count: int = 18

    def image(self, image_id):
        rng = np.random.default_rng(int(image_id))
        return rng.integers(0, 120 * (1 + int(image_id) % 2), (12, 12, 3)).astype(np.uint8)

    @property
    def ids(self):
        return [str(index) for index in range(self.count)]


def samples(seed=0):
    pictures = Pictures()
    targets = np.eye(2, dtype=np.float32)[[int(i) % 2 for i in pictures.ids]]
    return Samples(pictures, pictures.ids, None, targets, Params(AUGMENT), seed)


def loss(network, batch):
    logits = network(normalise(batch.images))
    return {"loss": nn.functional.binary_cross_entropy_with_logits(logits, batch.targets)}


def run(path, recipe=RECIPE, log=lambda epoch, row: None, norm=True):
    torch.manual_seed(1)
    network = Net(norm)
    history = train(network, samples(), loss, recipe, path, log, lambda net: {"score": 0.5})
    return network, history


def test_learns_and_logs_each_epoch(tmp_path):
    rows = []
    _, history = run(tmp_path / "c.pt", Params(RECIPE.plain() | {"epochs": 12}), lambda epoch, row: rows.append(epoch))
    assert rows == list(range(1, 13))
    assert history[-1]["loss"] < 0.5 < history[0]["loss"]
    assert ["score" in row for row in history[:4]] == [False, True, False, True]


def test_an_interrupted_run_ends_with_the_same_bytes(tmp_path):
    whole, history = run(tmp_path / "a.pt")

    def stop(epoch, row):
        if epoch == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "b.pt", log=stop)
    resumed_rows = []
    resumed, resumed_history = run(tmp_path / "b.pt", log=lambda epoch, row: resumed_rows.append(epoch))
    assert resumed_rows == [2, 3, 4]  # epoch 2 was logged, and not yet saved
    assert resumed_history == history
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name


def test_a_loss_that_is_not_finite_is_a_fault(tmp_path):
    with pytest.raises(Fault, match="in epoch 1; lower lr"):
        run(tmp_path / "c.pt", Params(RECIPE.plain() | {"lr": 1e30, "optimizer": "sgd"}))


@pytest.mark.parametrize(
    ("schedule", "progress", "factor"),
    [
        ("one_cycle", 0.05, 0.25),
        ("one_cycle", 0.2, 1.0),
        ("one_cycle", 0.6, 0.5),
        ("one_cycle", 1.0, 0.0),
        ("poly", 0.6, 0.5**0.9),
        ("poly", 1.0, 0.0),
    ],
)
def test_schedules(schedule, progress, factor):
    assert learning_rate_factor(schedule, 0.2, progress) == pytest.approx(factor)


def test_epochs_are_permutations_and_processes_share_a_batch():
    whole = list(EpochBatches(10, 4, 3, seed=5))
    assert [len(batch) for batch in whole] == [4] * 6
    for epoch in range(3):
        seen = [index for batch in whole[2 * epoch : 2 * epoch + 2] for _, index in batch]
        assert len(set(seen)) == 8
    shares = [list(EpochBatches(10, 4, 3, 5, rank=rank, world=2)) for rank in range(2)]
    assert [sorted(a + b) for a, b in zip(*shares, strict=True)] == [sorted(batch) for batch in whole]
    assert list(EpochBatches(10, 4, 3, 5, first=2)) == whole[4:]


def test_a_view_depends_on_seed_epoch_and_index_alone():
    one, other = samples(), samples()
    other[(3, 7)]
    assert np.array_equal(one[(1, 2)][0], other[(1, 2)][0])
    assert any(not np.array_equal(one[(1, index)][0], one[(2, index)][0]) for index in range(6))


def parallel_work(path):
    network, history = run(path / "c.pt", norm=False)
    if distributed.rank() == 0:
        torch.save({"state": network.state_dict(), "loss": history[-1]["loss"]}, path / "result.pt")


def test_two_processes_equal_one(tmp_path, monkeypatch):
    results = []
    for count in ("1", "2"):
        folder = tmp_path / count
        folder.mkdir()
        monkeypatch.setitem(os.environ, "NPROC", count)
        distributed.launch(parallel_work, folder)
        results.append(torch.load(folder / "result.pt", weights_only=True))
    assert results[0]["loss"] == pytest.approx(results[1]["loss"], rel=1e-4)
    for name, value in results[0]["state"].items():
        assert torch.allclose(value, results[1]["state"][name], atol=1e-4), name


def refuse():
    raise Fault("no")


def test_a_fault_of_a_process_is_a_fault_of_the_run(monkeypatch):
    monkeypatch.setitem(os.environ, "NPROC", "2")
    with pytest.raises(Fault, match="^no$"):
        distributed.launch(refuse)
    monkeypatch.setitem(os.environ, "NPROC", "two")
    with pytest.raises(Fault, match="NPROC is 'two'"):
        distributed.launch(refuse)


def test_augmentation_without_a_crop_keeps_the_relative_sizes():
    rng = np.random.default_rng(0)
    labels = np.zeros((40, 60), np.uint8)
    labels[:20, :30] = 1
    image = np.stack([labels * 200] * 3, -1)
    for _ in range(20):
        view, view_labels = augment(image, labels, Params(AUGMENT | {"resize": [30, 120]}), rng)
        assert view.shape[:2] == view_labels.shape
        assert (view_labels == 1).mean() == pytest.approx(0.25, abs=0.03)
        assert abs(view[view_labels == 1].mean() - view[view_labels == 0].mean()) > 20


def test_crop_takes_the_same_window_of_both():
    image = np.arange(30 * 40, dtype=np.uint16).reshape(30, 40).astype(np.uint8)
    recipe = Params(AUGMENT | {"crop": 16, "jitter": 0.0})
    view, labels = augment(np.stack([image] * 3, -1), image, recipe, np.random.default_rng(3))
    assert view.shape == (16, 16, 3)
    assert np.array_equal(view[..., 0], labels)


def test_padding_is_marked():
    batch = collate(
        [
            (np.ones((2, 3, 3), np.uint8), np.ones((2, 3), np.uint8), np.zeros(1, np.float32)),
            (np.ones((4, 2, 3), np.uint8), np.ones((4, 2), np.uint8), np.zeros(1, np.float32)),
        ]
    )
    assert batch.images.shape == (2, 3, 4, 3)
    assert torch.equal(batch.labels == 1, batch.valid)
    assert torch.equal(batch.labels == 255, ~batch.valid)
    assert pad_batch([np.zeros((1, 2)), np.zeros((3, 1))]).shape == (2, 3, 2)
    assert valid_pixels([(1, 2)], 2, 2).tolist() == [[[True, True], [False, False]]]
