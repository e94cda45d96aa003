"""The training loop: schedules by hand, resume to the bit, and data parallelism equal to one process."""

import io
import os
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import nn

from stages.core import distributed
from stages.core.faults import Fault
from stages.core.optimisation import build_optimiser, learning_rate_factor
from stages.core.params import Params
from stages.core.samples import EpochBatches, Samples
from stages.core.training import train
from stages.core.transforms import normalise

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
        "biases": "as_weights",
        "accumulate": 1,
        "ema": 0.0,
        "compile": False,
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


def loss(network, batch, progress):
    logits = network(normalise(batch.images))
    return {"loss": nn.functional.binary_cross_entropy_with_logits(logits, batch.targets)}


def run(path, recipe=RECIPE, log=lambda epoch, row: None, norm=True, scores=lambda: {"score": 0.5}):
    torch.manual_seed(1)
    network = Net(norm)
    return network, train(network, samples(), loss, recipe, path, log, scores)


def test_learns_and_logs_each_epoch(tmp_path):
    rows = []
    recipe = Params(RECIPE.plain() | {"epochs": 12})
    history = run(tmp_path / "c.pt", recipe, lambda epoch, row: rows.append(epoch))[1].history
    assert rows == list(range(1, 13))
    assert history[-1]["loss"] < 0.5 < history[0]["loss"]
    assert ["score" in row for row in history[:4]] == [False, True, False, True]


@pytest.mark.parametrize("changes", [{}, {"ema": 0.9}, {"accumulate": 2, "biases": "caffe"}])
def test_an_interrupted_run_ends_with_the_same_bytes(tmp_path, changes):
    recipe = Params(RECIPE.plain() | changes)
    whole, trained = run(tmp_path / "a.pt", recipe)

    def stop(epoch, row):
        if epoch == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "b.pt", recipe, log=stop)
    resumed_rows = []
    resumed, trained_again = run(tmp_path / "b.pt", recipe, log=lambda epoch, row: resumed_rows.append(epoch))
    assert resumed_rows == [2, 3, 4]  # epoch 2 was logged, and not yet saved
    assert trained_again.history == trained.history
    assert trained_again.best["epoch"] == trained.best["epoch"]
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name
        assert torch.equal(trained.best["state"][name], trained_again.best["state"][name]), name
    finished = run(tmp_path / "b.pt", recipe)[
        1
    ]  # nothing is left to train: stopped between the last epoch and the files
    assert as_bytes(trained) == as_bytes(trained_again) == as_bytes(finished)


def as_bytes(trained):
    """A model's file, in which the best epoch lies beside entries of the same names."""
    buffer = io.BytesIO()
    torch.save({"state": {}, "epoch": 1, "score": 0.5, "best": trained.best}, buffer)
    return buffer.getvalue()


def test_the_best_epoch_is_the_first_of_the_highest_score(tmp_path):
    scores = iter([0.1, 0.7, 0.7, 0.2])
    seen = []
    recipe = Params(RECIPE.plain() | {"validate_every": 1})

    def validate():
        seen.append(None)
        return {"score": next(scores)}

    network, trained = run(tmp_path / "c.pt", recipe, scores=validate)
    assert len(seen) == 4
    assert (trained.best["epoch"], trained.best["score"]) == (2, 0.7)
    two_epochs = torch.load(tmp_path / "c.pt", weights_only=True)["best"]["state"]
    assert all(torch.equal(two_epochs[name], value) for name, value in trained.best["state"].items())
    assert not torch.equal(trained.best["state"]["head.weight"], network.state_dict()["head.weight"])


def test_parts_of_a_batch_add_up_to_it(tmp_path):
    sgd = RECIPE.plain() | {"optimizer": "sgd"}
    whole, _ = run(tmp_path / "a.pt", Params(sgd), norm=False)
    parts, _ = run(tmp_path / "b.pt", Params(sgd | {"accumulate": 4}), norm=False)
    for name, value in whole.state_dict().items():
        assert torch.allclose(value, parts.state_dict()[name], atol=1e-6), name


def test_a_compiled_network_learns_the_same(tmp_path):
    plain, _ = run(tmp_path / "a.pt", norm=False)
    compiled, _ = run(tmp_path / "b.pt", Params(RECIPE.plain() | {"compile": True}), norm=False)
    for name, value in plain.state_dict().items():
        assert torch.allclose(value, compiled.state_dict()[name], atol=1e-5), name


def test_the_average_of_the_weights(tmp_path):
    """Against the recursion by hand, over the weights after each step."""
    seen = []
    average = None

    def watch(network, batch, progress):
        seen.append(network.head.weight.detach().clone())  # before each step
        return loss(network, batch, progress)

    torch.manual_seed(1)
    network = Net()
    recipe = Params(RECIPE.plain() | {"ema": 0.8})
    train(network, samples(), watch, recipe, tmp_path / "c.pt", lambda epoch, row: None)
    last = torch.load(tmp_path / "c.pt", weights_only=True)["network"]["head.weight"]
    average = seen[0]
    for steps, weight in enumerate([*seen[1:], last], 1):
        decay = min(0.8, (1 + steps) / (10 + steps))
        average = decay * average + (1 - decay) * weight
    assert torch.allclose(network.head.weight, average, atol=1e-6)
    assert network.encoder[1].num_batches_tracked == len(seen)


def test_validation_sees_the_average_and_training_goes_on_from_the_weights(tmp_path):
    def final(validate):
        torch.manual_seed(1)
        network = Net()
        recipe = Params(RECIPE.plain() | {"ema": 0.9, "validate_every": 1})
        train(network, samples(), loss, recipe, tmp_path / "d.pt", lambda epoch, row: None, validate)
        state = torch.load(tmp_path / "d.pt", weights_only=True)
        (tmp_path / "d.pt").unlink()
        return state

    without, watched = final(None), final(lambda: {"score": 0.0})
    for name, value in without["network"].items():
        assert torch.equal(value, watched["network"][name]), name
    assert not torch.equal(watched["best"]["state"]["head.weight"], watched["network"]["head.weight"])


def test_caffe_biases_learn_twice_as_fast_and_do_not_decay():
    torch.manual_seed(0)
    network = Net()
    network.encoder[1].weight.requires_grad_(False)
    groups = build_optimiser(network, Params(RECIPE.plain() | {"biases": "caffe"})).param_groups
    found = {id(p): (group["lr"], group["weight_decay"]) for group in groups for p in group["params"]}
    rates = {name: found.get(id(p)) for name, p in network.named_parameters()}
    assert rates == {
        "encoder.0.weight": (0.01, 0.01),
        "encoder.0.bias": (0.02, 0),
        "encoder.1.weight": None,
        "encoder.1.bias": (0.02, 0),
        "head.weight": (0.1, 0.01),
        "head.bias": (0.2, 0),
    }
    assert len(build_optimiser(network, RECIPE).param_groups) == 2


def test_a_loss_that_is_not_finite_is_a_fault(tmp_path):
    with pytest.raises(Fault, match=r"in epoch 1, batch 2, images (\d+, ){3}\d+; lower lr"):
        run(tmp_path / "c.pt", Params(RECIPE.plain() | {"lr": 1e30, "optimizer": "sgd", "warmup": 0.0}))


def test_the_batch_of_a_loss_that_is_not_finite_is_named(tmp_path):
    def poisoned(network, batch, progress):
        terms = loss(network, batch, progress)
        hit = progress.epoch == 2 and bool((batch.images.float().mean((1, 2, 3)) == brightest).any())
        return {"loss": terms["loss"] * torch.tensor(float("nan") if hit else 1.0)}

    views = samples()
    brightest = torch.from_numpy(views[(2, 5)].image).float().permute(2, 0, 1).contiguous().mean()
    recipe = Params(RECIPE.plain() | {"epochs": 8})
    where = next(
        (number, members) for number in range(4) if 5 in (members := EpochBatches(18, 4, 8, 0).members(2, number))
    )
    with pytest.raises(Fault) as caught:
        train(Net(), views, poisoned, recipe, tmp_path / "c.pt", lambda epoch, row: None)
    names = ", ".join(map(str, where[1]))
    assert f"in epoch 3, batch {where[0] + 1}, images {names};" in str(caught.value)
    assert str(caught.value).endswith(f"the state after epoch 2 is in {tmp_path / 'c.pt'}")
    assert len(torch.load(tmp_path / "c.pt", weights_only=True)["history"]) == 2


def test_a_batch_that_cannot_be_shared_equally_is_refused():
    with pytest.raises(Fault, match="a batch of 6 images .* 2 processes .NPROC. and 2 parts .accumulate."):
        EpochBatches(10, 6, 1, 0, world=2, parts=2)


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
    parts = list(EpochBatches(10, 4, 3, 5, parts=2))
    assert [a + b for a, b in zip(parts[::2], parts[1::2], strict=True)] == whole
    assert EpochBatches(10, 4, 3, 5).members(1, 1).tolist() == [index for _, index in whole[3]]


def test_a_view_depends_on_seed_epoch_and_index_alone():
    one, other = samples(), samples()
    other[(3, 7)]
    assert np.array_equal(one[(1, 2)].image, other[(1, 2)].image)
    assert any(not np.array_equal(one[(1, index)].image, one[(2, index)].image) for index in range(6))


def parallel_work(path):
    network, trained = run(path / "c.pt", Params(RECIPE.plain() | {"epochs": 5}), norm=False)  # of 4 steps
    if distributed.rank() == 0:
        torch.save({"state": network.state_dict(), "loss": trained.history[-1]["loss"]}, path / "result.pt")


def test_two_processes_equal_one(tmp_path, monkeypatch):
    results = []
    for count in ("1", "2"):
        folder = tmp_path / count
        folder.mkdir()
        monkeypatch.setitem(os.environ, "NPROC", count)
        distributed.launch(parallel_work, folder)
        results.append(torch.load(folder / "result.pt", weights_only=True))
    assert results[0]["loss"] == pytest.approx(results[1]["loss"], rel=1e-5)
    for name, value in results[0]["state"].items():
        assert torch.allclose(value, results[1]["state"][name], atol=1e-5), name


def refuse():
    raise Fault("no")


def test_a_fault_of_a_process_is_a_fault_of_the_run(monkeypatch):
    monkeypatch.setitem(os.environ, "NPROC", "2")
    with pytest.raises(Fault, match="^no$"):
        distributed.launch(refuse)
    monkeypatch.setitem(os.environ, "NPROC", "two")
    with pytest.raises(Fault, match="NPROC is 'two'"):
        distributed.launch(refuse)
