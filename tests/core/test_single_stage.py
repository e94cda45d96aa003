"""The single-stage network: its parts by hand, its randomness, and the encoders that it takes."""

import numpy as np
import pytest
import torch

from stages.core.faults import Fault
from stages.core.networks.segmentation import Segmenter
from stages.core.networks.single_stage import SingleStage, modulate, reach, stochastic_gate


@pytest.fixture
def network():
    torch.manual_seed(0)
    return SingleStage("slim_resnet10", 8, 4)


@pytest.mark.parametrize(
    ("encoder", "stride"),
    [
        ("slim_resnet10", 8),
        ("slim_resnet18", 16),
        ("resnet18", 8),
        ("resnet18", 32),
        ("mit_b0", 32),
        ("tu-resnet10t", 16),
    ],
)
def test_any_encoder_with_a_level_at_stride_4(encoder, stride):
    network = SingleStage(encoder, stride, 4, width=16).eval()
    with torch.inference_mode():
        logits = network(torch.rand(1, 3, 64, 96))
    assert logits.shape == (1, 4, 16, 24)
    assert torch.equal(logits[:, 0], torch.ones(1, 16, 24))
    assert logits[:, 1:].std() > 0


def test_the_segmenter_builds_it_and_measuring_strides_leaves_it_untouched():
    segmenter = Segmenter("single_stage", "slim_resnet10", 8, 3)
    assert all(module.training for module in segmenter.modules())
    buffers = {name: value for name, value in segmenter.encoder.named_buffers() if "num_batches" in name}
    assert buffers
    assert all(value == 0 for value in buffers.values())
    assert segmenter.net.decoder[-1].in_channels == 96  # half of the encoder's 192
    with torch.inference_mode():
        logits = segmenter.eval()(torch.rand(2, 3, 50, 67))
    assert logits.shape == (2, 3, 50, 67)
    torch.testing.assert_close(logits[:, 0], torch.ones(2, 50, 67))


def test_the_papers_widths():
    assert SingleStage("resnet18", 8, 21).decoder[-1].weight.shape == (20, 256, 1, 1)


@pytest.mark.parametrize(
    ("encoder", "classes", "message"),
    [
        ("tu-vit_tiny_patch16_224", 3, "encoder 'tu-vit_tiny_patch16_224'"),
        ("slim_resnet10", 1, "at least one foreground class"),
    ],
)
def test_what_cannot_be_built_is_named(encoder, classes, message):
    with pytest.raises(Fault, match=message):
        Segmenter("single_stage", encoder, 16, classes)


def test_an_encoder_without_a_level_at_stride_4_is_named(monkeypatch):
    class Coarse(torch.nn.Module):
        out_channels = (3, 8, 8)

        def forward(self, images):
            return [images, images[:, :1, ::8, ::8].expand(-1, 8, -1, -1), images[:, :1, ::16, ::16]]

    monkeypatch.setattr("stages.core.networks.single_stage.build_encoder", lambda *_: Coarse())
    with pytest.raises(Fault, match=r"level at stride 4; this one has \[8, 16\]"):
        Segmenter("single_stage", "coarse", 16, 3)


def test_dilations_are_the_papers_on_its_maps_and_fit_smaller_ones():
    assert [reach(dilation, 8, 41) for dilation in (12, 24, 36)] == [12, 24, 36]
    assert [reach(dilation, 16, 21) for dilation in (12, 24, 36)] == [6, 12, 18]
    assert [reach(dilation, 8, 64) for dilation in (12, 24, 36)] == [12, 24, 36]
    assert [reach(dilation, 8, 12) for dilation in (12, 24, 36)] == [3, 7, 10]
    for side in range(2, 41):
        assert 1 <= reach(12, 8, side) <= reach(36, 8, side) <= max(1, side - 1)


@pytest.mark.parametrize("psi", [0.0, 0.3, 0.7])
def test_the_gate_draws_the_two_values_of_the_equation_and_deep_is_their_mean(psi):
    generator = np.random.default_rng(1)
    deep, shallow = generator.normal(size=(2, 3, 4, 4, 5))
    torch.manual_seed(0)
    draws = 4000
    many = [torch.from_numpy(x).expand(draws, -1, -1, -1, -1).flatten(0, 1) for x in (deep, shallow)]
    got = stochastic_gate(*many, psi, training=True).reshape(draws, *deep.shape).numpy()
    kept = (deep - psi * shallow) / (1 - psi)
    is_kept, is_shallow = np.isclose(got, kept), np.isclose(got, shallow)
    assert (is_kept | is_shallow).all()
    spread = (psi * (1 - psi)) ** 0.5
    assert abs(is_kept.mean() - (1 - psi)) < 5 * spread / np.sqrt(got.size) + 1e-12
    bound = 6 * spread * abs(kept - shallow) / np.sqrt(draws) + 1e-9
    assert (abs(got.mean(0) - deep) < bound).all()
    still = stochastic_gate(torch.from_numpy(deep), torch.from_numpy(shallow), psi, training=False).numpy()
    np.testing.assert_allclose(still, (1 - psi) * deep + psi * shallow)


def test_injected_cues_by_hand(network):
    """The shallow branch step by step in double precision, with the statistics of normalisation from NumPy."""
    branch = network.shallow
    generator = np.random.default_rng(2)
    fine, deep = generator.normal(size=(2, 48, 6, 5)), generator.normal(size=(2, 96, 6, 5))

    def convolve(x, convolution):
        return np.einsum("oc,bchw->bohw", convolution.weight.detach().double().numpy()[:, :, 0, 0], x)

    def norm(x):
        return (x - x.mean((0, 2, 3), keepdims=True)) / np.sqrt(x.var((0, 2, 3), keepdims=True) + 1e-5)

    cues = np.maximum(norm(convolve(deep, branch.cues[0])), 0).max((2, 3))
    gamma, beta = cues[:, :96, None, None], cues[:, 96:, None, None]
    shallow = np.maximum(norm(convolve(fine, branch.normalised[0])) * (gamma + 1) + beta, 0)
    expected = np.maximum(norm(convolve(shallow, branch.out[0])), 0)
    got = branch(*(torch.tensor(x, dtype=torch.float32) for x in (fine, deep)))
    np.testing.assert_allclose(got.detach().numpy(), expected, atol=1e-4)


def test_modulation_equals_the_formula():
    generator = np.random.default_rng(3)
    x, gamma, beta = generator.normal(size=(100, 3, 2, 4)), *generator.normal(size=(2, 100, 3))
    got = modulate(*(torch.from_numpy(value) for value in (x, gamma, beta))).numpy()
    for image, channel in np.ndindex(100, 3):
        expected = x[image, channel] * (gamma[image, channel] + 1) + beta[image, channel]
        np.testing.assert_allclose(got[image, channel], expected)


def test_the_pyramid_reaches_what_its_dilations_say(network):
    """At stride 8 and 41 pixels the centre sees itself and three rings of eight, 12, 24 (outside: 36) away."""
    pyramid = network.pyramid.eval()
    torch.nn.init.zeros_(pyramid.everywhere.weight)
    x = torch.rand(1, 192, 61, 61, requires_grad=True)
    pyramid(x)[:, :, 30, 30].sum().backward()
    seen = x.grad.abs().sum(1)[0].nonzero().tolist()
    rings = {(30 + d * dy, 30 + d * dx) for d in (12, 24) for dy in (-1, 0, 1) for dx in (-1, 0, 1)}
    assert {tuple(place) for place in seen} == rings


def test_training_draws_from_the_global_generator_and_prediction_does_not(network):
    images = torch.rand(2, 3, 32, 32)
    state = torch.get_rng_state()
    first, second = network(images), network(images)
    assert not torch.equal(first, second)
    torch.set_rng_state(state)
    assert torch.equal(network(images), first)
    network.eval()
    state = torch.get_rng_state()
    with torch.inference_mode():
        assert torch.equal(network(images), network(images))
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_a_batch_of_one_learns_in_every_part(network, dtype):
    with torch.autocast("cpu", dtype, enabled=dtype is not torch.float32):
        logits = network(torch.rand(1, 3, 32, 32))
    logits[:, 1:].float().square().mean().backward()
    for name, parameter in network.named_parameters():
        assert torch.isfinite(parameter.grad).all(), name
