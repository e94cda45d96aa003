"""The single-stage method: padded images, its schedule, and learning on six images."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from stages.core.dataset import Dataset
from stages.core.filters.pamr import refine_masks
from stages.core.networks.segmentation import Segmenter
from stages.core.params import Params
from stages.core.samples import Batch, EpochBatches, Samples, load
from stages.core.transforms import normalise
from stages.segment.losses.coarse import coarsen
from stages.segment.methods import single_stage
from stages.segment.methods.single_stage import loss, refined_masks
from stages.segment.setting import Setting
from stages.segment.supervision import target_rows

METHOD = {
    "focal_power": 3.0,
    "focal_floor": 0.01,
    "foreground": 0.6,
    "background": 0.7,
    "lowest": 0.2,
    "iterations": 3,
}
AUGMENT = {"resize": "keep", "crop": "none", "flip": True, "rotate90": False, "jitter": 0.0}


def setting(epoch=9, epochs=10, **recipe):
    return Setting(
        Params({"pretrain": 0.2, "loss_stride": 2, "dilations": [1, 2, 4]} | recipe),
        Params(METHOD),
        epoch,
        epochs,
        True,
    )


def batch_of(rng, sizes, classes=3):
    """A padded batch of random images and logits, whose padding is as misleading as can be."""
    height, width = np.max(sizes, 0)
    images = np.full((len(sizes), 3, height, width), 255, np.uint8)
    logits = np.full((len(sizes), classes, height, width), 40.0, np.float32)
    valid = np.zeros((len(sizes), height, width), bool)
    for number, (h, w) in enumerate(sizes):
        images[number, :, :h, :w] = rng.integers(0, 255, (3, h, w))
        logits[number, :, :h, :w] = rng.normal(size=(classes, h, w))
        valid[number, :h, :w] = True
    tags = torch.ones(len(sizes), classes)
    return torch.tensor(logits), Batch(torch.tensor(images), torch.tensor(valid), None, tags)


@pytest.mark.parametrize("stride", [1, 2, 4])
def test_refined_masks_of_a_padded_batch_are_those_of_each_image_alone(stride):
    sizes = [(12, 8), (9, 15), (12, 8), (16, 16), (4, 5), (3, 3)]
    logits, batch = batch_of(np.random.default_rng(0), sizes)
    got = refined_masks(logits, batch.images, batch.valid, stride, (1, 2, 4), 3)
    for number, (height, width) in enumerate(sizes):
        rows, columns = height // stride * stride, width // stride * stride
        alone = logits[None, number, :, :height, :width], batch.images[None, number, :, :height, :width]
        if rows and columns:
            expected = refined_masks(*alone, torch.ones(1, height, width, dtype=torch.bool), stride, (1, 2, 4), 3)
            torch.testing.assert_close(got[number, :, :height, :width], expected[0])
            torch.testing.assert_close(got[number, :, :rows, :columns].sum(0), torch.ones(rows, columns))
        assert got[number, :, rows:].abs().sum() == 0
        assert got[number, :, :, columns:].abs().sum() == 0


def test_cells_of_the_decoders_stride_are_its_grid_smoothed():
    """Upsampled four times and averaged again, each axis by (1/8, 3/4, 1/8)."""
    grid = torch.rand(1, 2, 6, 7)
    logits = F.interpolate(grid, scale_factor=4, mode="bilinear", align_corners=False)
    got, _, _ = coarsen(logits, torch.zeros(1, 3, 24, 28), torch.ones(1, 24, 28, dtype=torch.bool), 4)
    kernel = torch.tensor([1 / 8, 3 / 4, 1 / 8])
    kernel = (kernel[:, None] * kernel)[None, None].expand(2, 1, 3, 3)
    expected = F.conv2d(F.pad(grid, (1, 1, 1, 1), mode="replicate"), kernel, groups=2)
    torch.testing.assert_close(got, expected)


def test_refined_masks_on_whole_pixels_are_pamrs():
    logits, batch = batch_of(np.random.default_rng(1), [(7, 9), (7, 9)])
    got = refined_masks(logits, batch.images, batch.valid, 1, (1, 3), 2)
    torch.testing.assert_close(got, refine_masks(batch.images, logits.softmax(1), 2, (1, 3)))


def test_terms_of_a_padded_batch_are_the_mean_of_each_image_alone():
    """Sizes are whole cells, so that no pixel is left out."""
    sizes = [(12, 8), (8, 16), (16, 12)]
    logits, batch = batch_of(np.random.default_rng(2), sizes)
    logits.requires_grad_()
    terms = loss(logits, batch, setting())
    single = []
    for number, (height, width) in enumerate(sizes):
        window = np.s_[number : number + 1, ..., :height, :width]
        alone = Batch(batch.images[window], batch.valid[window], None, batch.targets[number : number + 1])
        single.append(loss(logits[window].detach(), alone, setting()))
    for name, value in terms.items():
        assert value.item() == pytest.approx(np.mean([float(one[name]) for one in single]), abs=1e-5), name
    assert terms["loss"].item() == pytest.approx((terms["classification"] + terms["self_supervised"]).item())
    assert 0 < terms["labelled"] < 1
    terms["loss"].backward()
    assert logits.grad[~batch.valid[:, None].expand_as(logits)].abs().max() == 0


@pytest.mark.parametrize(
    ("pretrain", "epochs", "first"), [(0.2, 25, 5), (0.2, 24, 5), (0.0, 4, 0), (0.1, 30, 3), (0.5, 2, 1)]
)
def test_pseudo_labels_come_after_the_share_of_epochs(pretrain, epochs, first):
    logits, batch = batch_of(np.random.default_rng(3), [(16, 16), (16, 16)])
    for epoch in range(epochs):
        terms = loss(logits, batch, setting(epoch, epochs, pretrain=pretrain))
        assert (terms["labelled"] > 0) == (epoch >= first)
        assert (terms["self_supervised"] > 0) == (epoch >= first)
        assert terms.keys() == {"loss", "classification", "self_supervised", "labelled"}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize(("sizes", "stride"), [([(1, 1)], 1), ([(8, 8)], 4), ([(3, 3), (8, 5)], 4)])
def test_limits_are_finite(dtype, sizes, stride):
    """One pixel, one image, an image of less than a cell, and extreme logits."""
    logits, batch = batch_of(np.random.default_rng(4), sizes)
    logits = (logits.to(dtype) * 100).requires_grad_()
    terms = loss(logits, batch, setting(loss_stride=stride))
    terms["loss"].backward()
    assert all(torch.isfinite(value) for value in terms.values())
    assert torch.isfinite(logits.grad).all()


def fit(tiny_dataset, epochs):
    """A plain loop over the loader: the rows of mean terms, and the network."""
    dataset = Dataset(tiny_dataset, tiny_dataset.with_name("raw.zip"))
    ids = dataset.ids("train")
    tags = target_rows(single_stage.TARGETS, dataset, ids, tiny_dataset)
    torch.manual_seed(0)
    torch.use_deterministic_algorithms(True)
    network = Segmenter(single_stage.ARCHITECTURE, "slim_resnet10", 8, dataset.num_classes)
    optimiser = torch.optim.AdamW(network.parameters(), lr=0.002)
    samples = Samples(dataset, ids, None, tags, Params(AUGMENT), 0)
    batches = EpochBatches(len(ids), 6, epochs, 0)
    rows = []
    for epoch, batch in enumerate(load(samples, batches, pin=False)):
        terms = loss(network(normalise(batch.images)), batch, setting(epoch, epochs))
        optimiser.zero_grad()
        terms["loss"].backward()
        optimiser.step()
        rows.append({name: value.item() for name, value in terms.items()})
    return rows, network


def test_tags_are_learnt_and_then_the_networks_own_labels(tiny_dataset):
    rows, _ = fit(tiny_dataset, 20)
    assert rows[3]["self_supervised"] == 0 < rows[4]["labelled"]
    assert np.mean([row["classification"] for row in rows[-5:]]) < 0.3 * rows[0]["classification"]
    assert max(row["self_supervised"] for row in rows[-5:]) > 0
    assert all(np.isfinite(list(row.values())).all() for row in rows)


def test_two_runs_with_one_seed_are_equal(tiny_dataset):
    (first, one), (second, other) = fit(tiny_dataset, 3), fit(tiny_dataset, 3)
    assert first == second
    for name, value in one.state_dict().items():
        assert torch.equal(value, other.state_dict()[name]), name
