"""Predictions with a network whose answer is known."""

import json

import numpy as np
import pytest
import torch
from torch import nn

from stages.core.dataset import Dataset
from stages.core.files import ZipReader
from stages.core.inference import average_softmax, group_by_size
from stages.core.params import Params
from stages.core.transforms import MEAN, STD
from stages.predict.label_maps import write_predictions

PLAIN = {"splits": ["val"], "scales": [1.0], "flip": False, "batch_size": 2, "crf": "none"}
CRF = {
    "kernels": {"gaussian": {"xy": 3, "weight": 3}, "bilateral": {"xy": 20, "rgb": 10, "weight": 5}},
    "iterations": 5,
    "backend": "pydensecrf",
}


class Brightest(nn.Module):
    """Labels a pixel by the colour of its neighbourhood: 1 red, 2 blue, 0 neither."""

    def forward(self, images):
        colours = images * torch.tensor(STD).view(3, 1, 1) + torch.tensor(MEAN).view(3, 1, 1)
        red, green, blue = nn.functional.avg_pool2d(colours, 3, 1, 1).unbind(1)
        return 40 * torch.stack([torch.full_like(red, 0.2), red - green, blue - green], 1)


@pytest.fixture
def dataset(tiny_dataset):
    return Dataset(tiny_dataset, tiny_dataset.with_name("raw.zip"))


@pytest.mark.parametrize("change", [{}, {"flip": True}, {"crf": CRF}], ids=["plain", "flip", "crf"])
def test_writes_each_image_once_at_its_own_size(dataset, tmp_path, change):
    splits = {"val": dataset.ids("val"), "test": dataset.ids("test"), "balanced": dataset.ids("test")[:1]}
    path = tmp_path / "predictions.zip"
    write_predictions(path, Brightest(), dataset, splits, Params(PLAIN | change), "last")
    archive = ZipReader(path)
    assert len(archive.names()) == 1 + len(splits["val"]) + len(splits["test"])
    assert json.loads(archive.text("predict.json")) == {"splits": splits, "model": "last"}
    right = total = 0
    for image_id in splits["val"] + splits["test"]:
        prediction, truth = archive.png(f"masks/{image_id}.png"), dataset.mask(image_id)
        assert prediction.shape == truth.shape
        assert prediction.dtype == np.uint8
        right, total = right + (prediction == truth)[1:].sum(), total + truth[1:].size
    assert right / total > 0.9


def test_flipping_cancels_a_bias_to_one_side():
    class Left(nn.Module):
        def forward(self, images):
            logits = torch.zeros(len(images), 2, *images.shape[2:])
            logits[:, 1, :, : images.shape[3] // 2] = 3
            return logits

    images = torch.zeros(1, 3, 4, 6, dtype=torch.uint8)
    once, both = average_softmax(Left(), images), average_softmax(Left(), images, flip=True)
    assert (once[0, 1, :, :3] > 0.9).all()
    assert torch.allclose(both[0, 1], both[0, 1].flip(1))
    assert torch.allclose(both.sum(1), torch.ones(1, 4, 6))


def test_scales_come_back_to_the_size_of_the_image():
    images = torch.randint(0, 255, (2, 3, 9, 13), dtype=torch.uint8)
    got = average_softmax(Brightest(), images, (0.5, 1.0, 1.7), flip=True)
    assert got.shape == (2, 3, 9, 13)
    assert torch.allclose(got.sum(1), torch.ones(2, 9, 13), atol=1e-5)


def test_groups_hold_one_size_each_and_all_ids(dataset):
    groups = group_by_size(dataset, dataset.ids("train"), 4)
    assert [len(group) for group in groups] == [4, 2]
    assert sorted(sum(groups, [])) == sorted(dataset.ids("train"))
