"""Each method on a data set of twelve images: it learns, and it reads what it says it reads."""

from importlib import import_module
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from stages.core.dataset import Dataset
from stages.core.files import write_csv, write_zip
from stages.core.networks.classification import ClassificationNet
from stages.core.networks.segmentation import Segmenter
from stages.core.params import Params
from stages.core.samples import Batch
from stages.segment.losses.dense_energy import dense_energy
from stages.segment.losses.grid_potts import RELAXATIONS
from stages.segment.losses.size_losses import SIZE_LOSSES, forward_kl, log_barrier
from stages.segment.setting import Setting
from stages.segment.supervision import Sources
from stages.segment.train import train_segmenter, validation_miou

RECIPE = {
    "architecture": "fcn_skip",
    "output_stride": 8,
    "epochs": 25,
    "batch_size": 3,
    "optimizer": "adamw",
    "lr": 0.005,
    "head_lr_factor": 1,
    "momentum": 0.9,
    "weight_decay": 0.01,
    "schedule": "one_cycle",
    "warmup": 0.1,
    "precision": "float32",
    "biases": "as_weights",
    "accumulate": 1,
    "ema": 0.0,
    "compile": False,
    "batch_norm": "train",
    "validate_every": 25,
    "validate_scale": 1.0,
    "augment": {"resize": "keep", "crop": "none", "flip": True, "rotate90": False, "jitter": 0.0},
}
CE = {"ce": "plain", "keep_share": 0.25, "threshold": 0.7}
POTTS = {"crf": "grid_potts", "neighbours": 8, "relaxation": "bilinear"}
SIZES = {"size_loss": "forward_kl", "margin": 0.1, "t": 100.0, "growth": 1.1, "seeds": "none", "labelled": 0}
GRID = {"crf_weight": 0.1, "rloss_weight": 1e-6, "loss_stride": 2, "xy": 10, "rgb": 15}
EWC = {"ewc_weight": 1.0, "task_a": 0.5, "fisher_images": "all", "fisher_batch": 3}
BALANCED = {
    "labels": "pseudo_masks",
    "tau": 5.0,
    "reading": "image",
    "normalise_ce": "weights",
    "fisher": "per_sample",
    "fisher_normalise": "tensor",
}
METHODS = {
    "full": ({"label_smoothing": 0.0}, CE | {"match_sizes": False, "images": "all"}),
    "pseudo_mask": ({"label_smoothing": 0.0} | GRID, CE | POTTS | {"match_sizes": False}),
    "size_balanced": (EWC, BALANCED),
    "size_target": (GRID | {"size_weight": 1.0, "seed_weight": 1.0}, SIZES | POTTS),
    "tags": (GRID, POTTS),
}


def fit(tiny_dataset, tmp_path, name, recipe=RECIPE, module=None):
    dataset = Dataset(tiny_dataset, tiny_dataset.with_name("raw.zip"))
    torch.manual_seed(0)
    classifier = ClassificationNet("slim_resnet10", 8, 2)
    with write_zip(tmp_path / "pseudo_masks.zip") as archive:
        for image_id in dataset.ids("train"):
            archive.png(f"masks/{image_id}.png", dataset.mask(image_id))
    rows = []
    for image_id in dataset.ids("train"):
        mask = dataset.mask(image_id)
        shares = np.bincount(mask[mask != 255], minlength=3) / (mask != 255).sum()
        rows += [{"id": image_id, "class": k, "target": share} for k, share in enumerate(shares)]
    write_csv(tmp_path / "size_targets.csv", rows, ("id", "class", "target"))
    method_recipe, method = METHODS[name]
    if module is None:
        module = import_module(f"stages.segment.methods.{name}")
    return dataset, *train_segmenter(
        dataset,
        {"encoder": "slim_resnet10", "state": classifier.state_dict()},
        Sources(tmp_path / "pseudo_masks.zip", tmp_path / "cam.zip", tmp_path / "size_targets.csv"),
        module,
        Params(recipe),
        Params(method_recipe),
        Params(method),
        0,
        tmp_path / "checkpoint.pt",
        lambda epoch, row: None,
    )


@pytest.mark.parametrize("name", ["full", "pseudo_mask", "size_balanced"])
def test_label_maps_are_learnt(tiny_dataset, tmp_path, name):
    dataset, model, history = fit(tiny_dataset, tmp_path, name)
    assert history[-1]["loss"] < 0.5 * history[0]["loss"]
    assert history[-1]["miou"] == pytest.approx(miou(model, model["state"], dataset))
    assert history[-1]["miou"] > 0.75  # all background has 0.3


def miou(model, state, dataset):
    """The score of a saved model on val."""
    network = Segmenter(model["architecture"], model["encoder"], model["output_stride"], model["num_classes"])
    network.load_state_dict(state)
    return validation_miou(network, dataset, Params(RECIPE))


def wrapping(calls):
    """A method whose network wraps the segmenter, whose pixels weigh their labels, and which counts its epochs."""

    class Wrapped(nn.Module):
        def __init__(self, segmenter):
            super().__init__()
            self.segmenter, self.encoder = segmenter, segmenter.encoder
            self.register_buffer("epochs_seen", torch.zeros(()))

        def forward(self, images, valid):
            assert valid.dtype == torch.bool
            return {"logits": self.segmenter(images)}

    def loss(outputs, batch, setting):
        assert torch.equal(batch.weights, batch.labels.float())
        calls.append(("loss", setting.epoch, setting.epochs, setting.background))
        return {"loss": outputs["logits"].square().mean()}

    def after_epoch(network, samples, setting):
        network.epochs_seen += 1
        calls.append(("epoch", setting.epoch, int(network.epochs_seen), len(samples)))

    return SimpleNamespace(
        LABELS="masks",
        TARGETS=None,
        ARCHITECTURE="fcn",
        network=lambda segmenter, classifier, setting: Wrapped(segmenter),
        pixel_weights=lambda labels, setting: labels.astype(np.float32) * setting.method.factor,
        loss=loss,
        after_epoch=after_epoch,
    )


def test_a_method_with_a_network_of_its_own(tiny_dataset, tmp_path, monkeypatch):
    monkeypatch.setitem(METHODS, "own", ({}, {"factor": 1.0}))
    calls = []
    recipe = RECIPE | {"epochs": 3, "validate_every": 1}
    dataset, model, history = fit(tiny_dataset, tmp_path, "own", recipe, wrapping(calls))
    assert [call for call in calls if call[0] == "epoch"] == [("epoch", n, n + 1, 6) for n in range(3)]
    assert calls[0] == ("loss", 0, 3, True)
    assert model["architecture"] == "fcn"
    assert history[-1]["miou"] == pytest.approx(miou(model, model["state"], dataset))
    best = max(history, key=lambda row: row["miou"])
    assert (model["best"]["epoch"], model["best"]["score"]) == (best["epoch"], best["miou"])
    assert best["miou"] == pytest.approx(miou(model, model["best"]["state"], dataset))


@pytest.mark.parametrize(("name", "term", "share"), [("size_target", "size", 0.3), ("tags", "tag", 0.9)])
def test_what_is_known_of_the_average_prediction_is_learnt(tiny_dataset, tmp_path, name, term, share):
    """Six images are too few to learn from sizes where an object is, and enough to learn how large it is."""
    _, _, history = fit(tiny_dataset, tmp_path, name)
    assert history[-1][term] < share * history[0][term]
    assert history[-1]["crf"] < history[0]["crf"]


@pytest.mark.parametrize("size_weight", [0.0, 1.0])
def test_nested_masks_are_learnt(tiny_dataset, tmp_path, monkeypatch, size_weight):
    """The segmenter learns what the masks say, a disk in a ring of the square's size, be it true or not."""
    nested = {"inner": "disk", "outer": "square", "beside": "none", "series": "none"}
    recipe, method = METHODS["size_target"]
    recipe = recipe | {"size_weight": size_weight, "nested": nested | {"long_side": 32, "reach": 2.0, "trust": 1.0}}
    monkeypatch.setitem(METHODS, "size_target", (recipe, method | {"seeds": "nested_masks"}))
    history = fit(tiny_dataset, tmp_path, "size_target", RECIPE | {"epochs": 8, "validate_every": 8})[2]
    assert history[-1]["seeds"] < 0.7 * history[0]["seeds"]


def test_few_masks_beside_sizes_are_learnt(tiny_dataset, tmp_path, monkeypatch):
    recipe, method = METHODS["size_target"]
    monkeypatch.setitem(METHODS, "size_target", (recipe, method | {"labelled": 2}))
    history = fit(tiny_dataset, tmp_path, "size_target", RECIPE | {"epochs": 8, "validate_every": 8})[2]
    assert history[-1]["seeds"] < 0.7 * history[0]["seeds"]
    assert history[-1]["size"] < 0.5 * history[0]["size"]


def test_two_runs_give_the_same_bytes(tiny_dataset, tmp_path):
    short = RECIPE | {"epochs": 2}
    states = []
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        states.append(fit(tiny_dataset, tmp_path / folder, "size_target", short)[1]["state"])
    for name, value in states[0].items():
        assert torch.equal(value, states[1][name]), name


OPTIONS = [
    ("full", {}),
    ("full", {"ce": "balanced"}),
    ("full", {"ce": "ohem"}),
    ("pseudo_mask", {"crf": "none"}),
    *(("pseudo_mask", {"crf": crf}) for crf in ("grid_potts", "dense_energy", "rloss")),
    *(("size_target", {"size_loss": size_loss}) for size_loss in SIZE_LOSSES),
    *(("size_target", {"relaxation": relaxation}) for relaxation in RELAXATIONS),
    ("size_target", {"crf": "dense_energy"}),
    ("size_target", {"seeds": "pseudo_masks"}),
    ("size_target", {"seeds": "nested_masks"}),
    ("size_target", {"labelled": 2}),
    ("tags", {}),
    ("tags", {"crf": "none"}),
]


@pytest.mark.parametrize(("name", "change"), OPTIONS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_losses_at_their_limits(name, change, dtype):
    """A batch of one, all void, and extreme logits in half precision: finite, with finite gradients."""
    logits = torch.zeros(1, 3, 4, 5, dtype=dtype)
    logits[:, 0] = 60
    logits.requires_grad_()
    targets = {"size_target": [[0.5, 0.5, 0.0]], "tags": [[1.0, 1.0, 0.0]]}.get(name, [[]])
    batch = Batch(
        torch.zeros(1, 3, 4, 5, dtype=torch.uint8),
        torch.ones(1, 4, 5, dtype=torch.bool),
        torch.full((1, 4, 5), 255),
        torch.tensor(targets),
    )
    recipe, method = METHODS[name]
    setting = Setting(Params(recipe), Params(method | change), 0, 1, True)
    terms = import_module(f"stages.segment.methods.{name}").loss(logits, batch, setting)
    terms["loss"].backward()
    assert all(torch.isfinite(value) for value in terms.values())
    assert torch.isfinite(logits.grad).all()
    if name == "full" or (name == "pseudo_mask" and change["crf"] == "none"):
        assert terms["loss"] == 0


def test_what_a_loss_is_made_of():
    """The weights of the recipe, and what each name adds."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 3, 8, 8, generator=generator)
    images = torch.randint(0, 256, (2, 3, 8, 8), generator=generator, dtype=torch.uint8)
    labels = torch.randint(0, 3, (2, 8, 8), generator=generator)
    valid = torch.ones(2, 8, 8, dtype=torch.bool)
    batch = Batch(images, valid, labels, torch.tensor([[0.5, 0.25, 0.25], [0.75, 0.25, 0]]))

    def terms(name, recipe, method):
        base, base_method = METHODS[name]
        setting = Setting(Params(base | recipe), Params(base_method | method), 3, 9, True)
        return import_module(f"stages.segment.methods.{name}").loss(logits, batch, setting)

    found = terms("size_target", {"size_weight": 2.0, "seed_weight": 0.5}, {"seeds": "pseudo_masks"})
    sizes = logits.softmax(1).mean((2, 3))
    assert found["size"] == pytest.approx(forward_kl(sizes.log(), batch.targets).item(), abs=1e-5)
    whole = 2 * found["size"] + 0.1 * found["crf"] + 0.5 * found["seeds"]
    assert found["loss"] == pytest.approx(whole.item(), abs=1e-5)
    assert found["seeds"] == pytest.approx(torch.nn.functional.cross_entropy(logits, labels).item(), abs=1e-5)
    # log_barrier's t has grown three times
    barrier = terms("size_target", {}, {"size_loss": "log_barrier", "t": 50.0, "growth": 2.0, "crf": "none"})
    assert barrier["size"] == pytest.approx(log_barrier(sizes.log(), batch.targets, 0.1, 400.0).item(), abs=1e-4)
    assert "crf" not in barrier
    scribbles = terms("pseudo_mask", {}, {"crf": "dense_energy"})
    energy = dense_energy(logits.softmax(1), images, valid, 10, 15, 0.5, normalisation="per_pixel")
    assert scribbles["loss"] == pytest.approx((scribbles["ce"] + 0.1 * energy).item(), abs=1e-5)
    unnormalised = terms("pseudo_mask", {}, {"crf": "rloss"})
    assert unnormalised["loss"] == pytest.approx((scribbles["ce"] + 1e-6 * unnormalised["crf"]).item(), abs=1e-5)
