"""Each method on a data set of twelve images: it learns, and it reads what it says it reads."""

from importlib import import_module

import numpy as np
import pytest
import torch

from stages.core.dataset import Dataset
from stages.core.files import write_csv, write_zip
from stages.core.networks.classification import ClassificationNet
from stages.core.params import Params
from stages.core.samples import Batch
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
    "batch_norm": "train",
    "validate_every": 25,
    "validate_scale": 1.0,
    "augment": {"resize": "keep", "crop": "none", "flip": True, "rotate90": False, "jitter": 0.0},
}
SMOOTHING = {"label_smoothing": 0.0}
GRID = {"crf_weight": 0.1, "loss_stride": 2}
POTTS = {"neighbours": 8, "relaxation": "bilinear"}
METHODS = {
    "full": (SMOOTHING, {}),
    "pseudo_mask": (SMOOTHING, {}),
    "size_target": (GRID, POTTS),
    "tags": (GRID, POTTS),
}


def fit(tiny_dataset, tmp_path, name, recipe=RECIPE):
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
    return dataset, *train_segmenter(
        dataset,
        {"encoder": "slim_resnet10", "state": classifier.state_dict()},
        tmp_path / "pseudo_masks.zip",
        tmp_path / "size_targets.csv",
        import_module(f"stages.segment.methods.{name}"),
        Params(recipe),
        Params(method_recipe),
        Params(method),
        0,
        tmp_path / "checkpoint.pt",
        lambda epoch, row: None,
    )


@pytest.mark.parametrize("name", ["full", "pseudo_mask"])
def test_label_maps_are_learnt(tiny_dataset, tmp_path, name):
    dataset, network, history = fit(tiny_dataset, tmp_path, name)
    assert history[-1]["loss"] < 0.5 * history[0]["loss"]
    assert history[-1]["miou"] == pytest.approx(validation_miou(network, dataset, Params(RECIPE)))
    assert history[-1]["miou"] > 0.75  # all background has 0.3


@pytest.mark.parametrize(("name", "term", "share"), [("size_target", "size", 0.3), ("tags", "tag", 0.9)])
def test_what_is_known_of_the_average_prediction_is_learnt(tiny_dataset, tmp_path, name, term, share):
    """Six images are too few to learn from sizes where an object is, and enough to learn how large it is."""
    _, _, history = fit(tiny_dataset, tmp_path, name)
    assert history[-1][term] < share * history[0][term]
    assert history[-1]["crf"] < history[0]["crf"]


def test_two_runs_give_the_same_bytes(tiny_dataset, tmp_path):
    short = RECIPE | {"epochs": 2}
    states = []
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        states.append(fit(tiny_dataset, tmp_path / folder, "size_target", short)[1].state_dict())
    for name, value in states[0].items():
        assert torch.equal(value, states[1][name]), name


@pytest.mark.parametrize("name", list(METHODS))
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_losses_at_their_limits(name, dtype):
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
    terms = import_module(f"stages.segment.methods.{name}").loss(logits, batch, Params(recipe), Params(method))
    terms["loss"].backward()
    assert all(torch.isfinite(value) for value in terms.values())
    assert torch.isfinite(logits.grad).all()
    if name in ("full", "pseudo_mask"):
        assert terms["loss"] == 0
