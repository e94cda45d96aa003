"""Extractors of activation maps against their papers' equations, written naively in float64."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from stages.cam.extractors import EXTRACTORS, cam, grad_cam_pp, layer_cam
from stages.core.faults import Fault
from stages.core.networks.classification import ClassificationNet

GRADIENT_METHODS = (grad_cam_pp, layer_cam)
CASES, CLASSES, CHANNELS, HEIGHT, WIDTH = 120, 3, 4, 3, 5


class NonLinear(nn.Module):
    """The images are the features, and the scores a small network of them, so gradients differ by position."""

    def __init__(self, hidden=6):
        super().__init__()
        self.features = lambda images: [images[:, :3], images]
        self.first = nn.Linear(CHANNELS * HEIGHT * WIDTH, hidden)
        self.second = nn.Linear(hidden, CLASSES)

    def score(self, features, size):
        return self.second(self.first(features.flatten(1)).relu())


def naive_gradients(network, features, k):
    """dS / dA of one image (channels, height, width) by hand: second.W diag(first > 0) first.W."""
    first, second = network.first.weight.double().numpy(), network.second.weight.double().numpy()
    hidden = first @ features.reshape(-1) + network.first.bias.double().numpy()
    score = second @ np.maximum(hidden, 0) + network.second.bias.double().numpy()
    return score[k], ((second[k] * (hidden > 0)) @ first).reshape(features.shape)


def naive_grad_cam_pp(features, gradient, score):
    """Equations 19, 10 and 5 of arXiv 1710.11063 with Y = exp(S), the map then divided by exp(S)."""
    out = np.zeros(features.shape[1:])
    for channel, g in zip(features, gradient, strict=True):
        third_sum = 0.0
        for i, j in np.ndindex(*g.shape):
            third_sum += channel[i, j]
        weight = 0.0
        for i, j in np.ndindex(*g.shape):
            first, second, third = (math.exp(score) * g[i, j] ** order for order in (1, 2, 3))
            if first > 0:
                weight += second / (2 * second + third_sum * third) * first
        out += weight * channel
    return np.maximum(out, 0) / math.exp(score)


def naive_layer_cam(features, gradient, score):
    """Equations 6 to 8 of LayerCAM, the map then multiplied by the number of its positions."""
    out = np.zeros(features.shape[1:])
    for i, j in np.ndindex(*out.shape):
        for channel, g in zip(features, gradient, strict=True):
            out[i, j] += max(g[i, j], 0) * channel[i, j]
    return np.maximum(out, 0) * out.size


@pytest.fixture
def case():
    """A network and 120 random feature maps, >= 0, each with one to three tags."""
    generator = torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    network = NonLinear()
    features = torch.randn(CASES, CHANNELS, HEIGHT, WIDTH, generator=generator).relu()
    tags = torch.stack([torch.randperm(CLASSES, generator=generator) for _ in range(CASES)])
    tags[torch.arange(CLASSES) >= torch.randint(1, CLASSES + 1, (CASES, 1), generator=generator)] = -1
    return network, features, tags


@pytest.mark.parametrize(
    ("extract", "naive"), [(grad_cam_pp, naive_grad_cam_pp), (layer_cam, naive_layer_cam)], ids=lambda f: f.__name__
)
@torch.no_grad()
def test_maps_equal_the_papers_equations(case, extract, naive):
    network, features, tags = case
    got = extract(network, features, tags, -1).double().numpy()
    compared = 0
    for row, column in np.ndindex(*tags.shape):
        if tags[row, column] < 0:
            assert not got[row, column].any()
            continue
        values = features[row].double().numpy()
        score, gradient = naive_gradients(network, values, int(tags[row, column]))
        want = naive(values, gradient, score)
        np.testing.assert_allclose(got[row, column], want, rtol=1e-4, atol=1e-6 * max(1, want.max()))
        compared += want.max() > 0
    assert compared > 100


@pytest.mark.parametrize("extract", GRADIENT_METHODS)
def test_the_scale_of_the_gradient_is_kept_where_it_is_tiny(case, extract):
    """g^2 and g^3 would be 0 in float32; the maps are as far from 0 as g itself."""
    network, features, tags = case
    with torch.no_grad():
        network.second.weight.mul_(1e-25)
    assert (extract(network, features, tags, -1).amax((1, 2, 3)) > 0).float().mean() > 0.9


@pytest.mark.parametrize("extract", GRADIENT_METHODS)
@torch.no_grad()
def test_no_activation_gives_no_map_and_negative_ones_no_infinity(case, extract):
    network, features, tags = case
    assert not extract(network, torch.zeros_like(features), tags, -1).any()
    assert extract(network, -3 - 10 * features, tags, -1).isfinite().all()


@torch.no_grad()
def test_with_average_pooling_and_a_linear_head_grad_cam_is_cam_up_to_a_factor():
    """Grad-CAM (arXiv 1610.02391): the mean gradient of each channel is its weight; here w / (h w) everywhere."""
    network, images, _ = linear_network()
    tags = torch.tensor([[2], [1], [0], [1]])
    features = network.encoder(images)[-1].requires_grad_()
    with torch.enable_grad():
        score = network.score(features, images.shape[2:]).gather(1, tags).sum()
    (gradient,) = torch.autograd.grad(score, features)
    grad_cam = (gradient.mean((2, 3), keepdim=True) * features).sum(1).relu()
    positions = features.shape[2] * features.shape[3]
    torch.testing.assert_close(grad_cam * positions, cam(network, images, tags, -1)[:, 0])
    # and LayerCAM is the part of the sum with w > 0
    weights = network.head.weight[tags[:, 0], :, 0, 0].relu()
    want = torch.einsum("bf,bfhw->bhw", weights, features)
    torch.testing.assert_close(layer_cam(network, images, tags, -1)[:, 0], want)


def linear_network():
    """A classifier, four images and their tags."""
    torch.manual_seed(1)
    network = ClassificationNet("slim_resnet10", 8, 3).eval()
    tags = torch.tensor([[2, 0, -1], [1, -1, -1], [-1, -1, -1], [0, 1, 2]])
    return network, torch.randn(4, 3, 40, 56), tags


@pytest.mark.parametrize("name", EXTRACTORS)
@pytest.mark.parametrize("level", [-1, -2])
def test_an_images_maps_do_not_depend_on_its_batch(name, level):
    network, images, tags = linear_network()
    together = EXTRACTORS[name](network, images, tags, level)
    assert together.shape == (4, 3, *network.encoder(images)[-1 if name == "cam" else level].shape[2:])
    for row in range(4):
        count = int((tags[row] >= 0).sum())
        alone = EXTRACTORS[name](network, images[row : row + 1], tags[row : row + 1, : max(1, count)], level)
        torch.testing.assert_close(together[row, :count], alone[0, :count], rtol=1e-4, atol=1e-6)
        assert not together[row, count:].any()


@pytest.mark.parametrize("extract", GRADIENT_METHODS)
def test_an_earlier_level_is_weighed_by_its_own_gradients(extract):
    """The gradient at level -3 by central differences of the network above it, in float64."""
    network, images, _ = linear_network()
    network, images = network.double(), images[:1, :, :8, :12].double()
    levels = network.encoder.levels

    def above(features):
        return network.score(levels[3](levels[2](features)), (8, 12))[:, 1]

    with torch.no_grad():
        features = network.encoder(images)[-3]
        steps = 1e-5 * torch.eye(features.numel()).double().view(-1, *features.shape[1:])
        slopes = [(above(features + some) - above(features - some)) / 2e-5 for some in steps.split(128)]
    gradient = torch.cat(slopes).view(features.shape)
    naive = {grad_cam_pp: naive_grad_cam_pp, layer_cam: naive_layer_cam}[extract]
    want = naive(features[0].numpy(), gradient[0].numpy(), 0.0)
    got = extract(network, images, torch.tensor([[1]]), -3)
    np.testing.assert_allclose(got[0, 0].numpy(), want, rtol=1e-3, atol=1e-5 * want.max())
    assert want.max() > 0


@pytest.mark.parametrize("level", [-5, -6, -99])
def test_a_level_that_is_not_there_is_named(level):
    network, images, tags = linear_network()
    with pytest.raises(Fault, match=rf"cam.level: the encoder has no level {level}; it has -4, -3, -2, -1"):
        layer_cam(network, images, tags, level)
