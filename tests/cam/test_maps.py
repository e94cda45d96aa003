"""Activation maps with networks whose answer is known."""

import numpy as np
import pytest
import torch
from torch import nn

from stages.cam.extractors import EXTRACTORS
from stages.cam.maps import activation_maps, quantise, resize_maps
from stages.core.networks.classification import ClassificationNet
from stages.core.params import Params
from stages.core.transforms import normalise


class Colours(nn.Module):
    """Its maps are the image's own colour channels, two of them, at stride 2."""

    divisor = 1

    def cam(self, images):
        return nn.functional.avg_pool2d(images[:, :2], 2)


class LeftHalf(nn.Module):
    """Its map is 1 in the left half of whatever it sees, mirrored or not."""

    divisor = 1

    def cam(self, images):
        height, width = images.shape[2:]
        cam = torch.zeros(len(images), 1, height, width)
        cam[..., : width // 2] = 1
        return cam


def recipe(**changes):
    """A recipe of one scale without flip."""
    return Params({"extractor": "cam", "level": -1, "scales": [1.0], "flip": False, "stride": 2} | changes)


def both(images):
    """Two classes for every image."""
    return torch.tensor([[0, 1]]).expand(len(images), 2)


def test_one_scale_is_the_network_resized_to_the_stride():
    images = torch.randint(0, 256, (2, 3, 8, 12), dtype=torch.uint8)
    got = activation_maps(Colours(), images, both(images), recipe())
    assert torch.allclose(got, nn.functional.avg_pool2d(normalise(images)[:, :2], 2), atol=1e-6)


def test_the_size_is_rounded_up():
    images = torch.zeros(1, 3, 9, 14, dtype=torch.uint8)
    got = activation_maps(Colours(), images, both(images), recipe(scales=[1.0, 0.5, 2.0], flip=True, stride=4))
    assert got.shape == (1, 2, 3, 4)


def test_maps_are_those_of_the_tags_in_their_order():
    images = torch.randint(0, 256, (2, 3, 8, 12), dtype=torch.uint8)
    all_maps = activation_maps(Colours(), images, both(images), recipe(flip=True))
    got = activation_maps(Colours(), images, torch.tensor([[1, 0], [1, -1]]), recipe(flip=True))
    assert torch.equal(got[0], all_maps[0].flip(0))
    assert torch.equal(got[1, 0], all_maps[1, 1])
    assert not got[1, 1].any()


def test_a_flipped_view_is_flipped_back():
    images = torch.zeros(1, 3, 4, 8, dtype=torch.uint8)
    got = activation_maps(LeftHalf(), images, torch.zeros(1, 1, dtype=torch.int64), recipe(flip=True, stride=1))
    assert (got == 1).all()  # the left half from the view, the right half from its mirror image
    got = activation_maps(Colours(), images, both(images), recipe(scales=[1.0, 1.0], flip=True))
    once = activation_maps(Colours(), images, both(images), recipe())
    assert torch.allclose(got, 4 * once, atol=1e-5)


@pytest.mark.parametrize("extractor", EXTRACTORS)
def test_one_pass_with_the_mirror_image_equals_two(extractor):
    torch.manual_seed(0)
    network = ClassificationNet("slim_resnet10", 8, 3).eval()
    images = torch.randint(0, 256, (2, 3, 51, 70), dtype=torch.uint8)
    tags, plain = torch.tensor([[0, 2], [1, -1]]), recipe(extractor=extractor, scales=[1.0, 0.5])
    got = activation_maps(network, images, tags, recipe(extractor=extractor, scales=[1.0, 0.5], flip=True))
    upright = activation_maps(network, images, tags, plain)
    mirrored = activation_maps(network, images.flip(3), tags, plain).flip(3)
    torch.testing.assert_close(got, upright + mirrored, rtol=1e-4, atol=1e-5 * got.max().item())
    assert got[0].amax() > 0


def test_a_map_that_reaches_beyond_the_view_is_cut():
    """Columns at 8, 24, 40, 56 pixels of a view of 50, whose map therefore ends within the last column."""
    positions = torch.arange(4.0) * 16 + 8
    maps = (positions[None, :] + 1000 * positions[:3, None])[None, None]  # 3 x 4 patches of a view of 35 x 50 pixels
    got = resize_maps(maps, (35, 50), (7, 25), 16)[0, 0]
    rows, columns = (torch.arange(7.0) + 0.5) * 5, (torch.arange(25.0) + 0.5) * 2
    want = columns.clamp(8, 56)[None, :] + 1000 * rows.clamp(8, 40)[:, None]
    torch.testing.assert_close(got, want)
    assert torch.equal(resize_maps(maps, (48, 64), (3, 4), 16), maps)


def test_the_size_is_right_for_every_view():
    """The product of a map's size and a factor is rounded down, and must not lose a pixel to rounding."""
    maps = {n: torch.ones(1, 1, n, n) for n in range(1, 40)}
    for side in range(1, 600):
        cells, wanted = -(-side // 16), -(-side // 3)
        assert resize_maps(maps[cells], (side, side), (wanted, wanted), 16).shape == (1, 1, wanted, wanted)


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
