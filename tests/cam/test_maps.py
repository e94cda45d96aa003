"""Activation maps with networks whose answer is known."""

import numpy as np
import pytest
import torch
from torch import nn

from stages.cam.maps import activation_maps, quantise
from stages.core.networks.classification import ClassificationNet
from stages.core.params import Params
from stages.core.transforms import normalise


class Colours(nn.Module):
    """Its maps are the image's own colour channels, two of them, at stride 2."""

    def cam(self, images):
        return nn.functional.avg_pool2d(images[:, :2], 2)


class LeftHalf(nn.Module):
    """Its map is 1 in the left half of whatever it sees, mirrored or not."""

    def cam(self, images):
        height, width = images.shape[2:]
        cam = torch.zeros(len(images), 1, height, width)
        cam[..., : width // 2] = 1
        return cam


def test_one_scale_is_the_network_resized_to_the_stride():
    images = torch.randint(0, 256, (2, 3, 8, 12), dtype=torch.uint8)
    got = activation_maps(Colours(), images, Params({"scales": [1.0], "flip": False, "stride": 2}))
    assert torch.allclose(got, nn.functional.avg_pool2d(normalise(images)[:, :2], 2), atol=1e-6)


def test_the_size_is_rounded_up():
    images = torch.zeros(1, 3, 9, 14, dtype=torch.uint8)
    got = activation_maps(Colours(), images, Params({"scales": [1.0, 0.5, 2.0], "flip": True, "stride": 4}))
    assert got.shape == (1, 2, 3, 4)


def test_a_flipped_view_is_flipped_back():
    images = torch.zeros(1, 3, 4, 8, dtype=torch.uint8)
    got = activation_maps(LeftHalf(), images, Params({"scales": [1.0], "flip": True, "stride": 1}))
    assert (got == 1).all()  # the left half from the view, the right half from its mirror image
    got = activation_maps(Colours(), images, Params({"scales": [1.0, 1.0], "flip": True, "stride": 2}))
    once = activation_maps(Colours(), images, Params({"scales": [1.0], "flip": False, "stride": 2}))
    assert torch.allclose(got, 4 * once, atol=1e-5)


def test_quantised_maps_reach_255_at_their_own_peak():
    maps = torch.tensor([[[0.0, 1.0], [2.0, 4.0]], [[0.0, 0.0], [0.0, 0.0]], [[0.1, 0.0], [0.05, 0.0]]])
    got = quantise(maps)
    assert got.dtype == np.uint8
    assert got[0].tolist() == [[0, 64], [127, 255]]
    assert got[1].max() == 0
    assert got[2].tolist() == [[255, 0], [127, 0]]


def test_the_classifier_scores_the_mean_of_its_map():
    """Pooling and the 1x1 convolution commute, which is what makes the map an explanation of the score."""
    torch.manual_seed(0)
    network = ClassificationNet("slim_resnet10", 8, 3).eval()
    images = torch.rand(2, 3, 64, 48)
    with torch.inference_mode():
        unclipped = network.head(network.encoder(images)[-1])
        assert torch.allclose(network(images), unclipped.mean((2, 3)), atol=1e-5)
        assert torch.equal(network.cam(images), unclipped.relu())
        assert unclipped.shape[2:] == (8, 6)


def test_padding_does_not_change_the_score_far_from_it():
    """A large padding, halved features: without the mask the pooled score would halve."""
    torch.manual_seed(0)
    network = ClassificationNet("slim_resnet10", 8, 2).eval()
    images = torch.rand(1, 3, 96, 96)
    valid = torch.zeros(1, 96, 192, dtype=torch.bool)
    valid[..., :96] = True
    with torch.inference_mode():
        features = network.encoder(nn.functional.pad(images, (0, 96)))[-1][..., :12]
        want = network.head(features.mean((2, 3), keepdim=True)).flatten(1)
        assert torch.allclose(network(nn.functional.pad(images, (0, 96)), valid), want, atol=1e-5)
        assert network(images, None)[0, 0].item() == pytest.approx(
            network(images, torch.ones(1, 96, 96, dtype=torch.bool))[0, 0].item(), abs=1e-5
        )
