"""A plain vision transformer as an encoder, at random weights: any size, classifier, activation maps, segmenter."""

import pytest
import timm
import torch

from stages.cam.maps import activation_maps
from stages.core.faults import Fault
from stages.core.networks.classification import ClassificationNet
from stages.core.networks.encoders import build_encoder, load_encoder
from stages.core.networks.segmentation import Segmenter
from stages.core.params import Params

TINY = "tu-vit_tiny_patch16_224"
NAMES = [TINY, "tu-deit_tiny_distilled_patch16_224", "tu-vit_small_patch16_dinov3", "tu-vit_small_patch32_224"]


@pytest.fixture
def classifier():
    """A tiny one of three classes."""
    torch.manual_seed(0)
    return ClassificationNet(TINY, 16, 3).eval()


@pytest.mark.parametrize("name", NAMES)
@torch.no_grad()
def test_the_patch_tokens_are_the_last_level_at_any_size(name):
    """A class token, two of them, rotary embeddings with registers, and other patches."""
    stride = 32 if "patch32" in name else 16
    encoder = build_encoder(name, stride).eval()
    for height, width in ((64, 64), (50, 67), (1, 33)):
        features = encoder(torch.rand(2, 3, height, width))
        assert features[-1].shape == (2, encoder.out_channels[-1], -(-height // stride), -(-width // stride))
        assert [feature.shape[1] for feature in features] == encoder.out_channels
        assert not any(encoder.out_channels[1:-1])
        assert features[-1].isfinite().all()


@torch.no_grad()
def test_the_map_is_the_models_own_tokens_laid_out_by_patch():
    encoder = build_encoder(TINY, 16).eval()
    images = torch.rand(2, 3, 224, 224)
    tokens = encoder.model.forward_features(images)
    features = encoder(images)[-1]
    for row, column in ((0, 0), (3, 9), (13, 5)):
        assert torch.equal(features[:, :, row, column], tokens[:, 1 + 14 * row + column])


def test_timms_own_weights_load_by_their_names():
    model = timm.create_model(TINY.removeprefix("tu-"), num_classes=0)
    encoder = build_encoder(TINY, 16)
    load_encoder(encoder, model.state_dict(), "the file")
    load_encoder(build_encoder(TINY, 16), encoder.state_dict(), "the classifier")
    for name, value in model.state_dict().items():
        assert torch.equal(value, encoder.model.state_dict()[name]), name


@torch.no_grad()
def test_the_logit_is_the_spatial_mean_of_the_map(classifier):
    images = torch.rand(2, 3, 48, 80)
    unclipped = classifier.head(classifier.encoder(images)[-1])
    torch.testing.assert_close(classifier(images), unclipped.mean((2, 3)))
    assert torch.equal(classifier.cam(images), unclipped.relu())
    assert unclipped.shape == (2, 3, 3, 5)


@torch.no_grad()
def test_patches_that_reach_beyond_the_image_count_by_their_share(classifier):
    images = torch.rand(2, 3, 40, 68)  # 2.5 by 4.25 patches
    unclipped = classifier.head(classifier.encoder(images)[-1])
    shares = torch.tensor([1, 1, 0.5])[:, None] * torch.tensor([1, 1, 1, 1, 0.25])
    want = (unclipped * shares).sum((2, 3)) / (2.5 * 4.25)
    torch.testing.assert_close(classifier(images), want)
    torch.testing.assert_close(classifier(images, torch.ones(2, 40, 68, dtype=torch.bool)), want)
    valid = torch.zeros(2, 40, 68, dtype=torch.bool)
    valid[:, :16, :8] = True  # half of the first patch
    torch.testing.assert_close(classifier(images, valid), unclipped[:, :, 0, 0])


def test_it_trains_on_padded_images_of_odd_size(classifier):
    torch.use_deterministic_algorithms(True)
    try:
        images, valid = torch.rand(2, 3, 50, 67), torch.ones(2, 50, 67, dtype=torch.bool)
        valid[1, 33:] = False
        classifier.train()(images, valid).square().sum().backward()
    finally:
        torch.use_deterministic_algorithms(False)
    missing = [name for name, weight in classifier.named_parameters() if weight.grad is None]
    assert not missing  # a parameter without a gradient would stop training in several processes
    assert all(weight.grad.isfinite().all() for weight in classifier.parameters())


@pytest.mark.parametrize("extractor", ["cam", "grad_cam_pp", "layer_cam"])
def test_activation_maps_at_several_scales_and_odd_sizes(classifier, extractor):
    images = torch.randint(0, 256, (2, 3, 75, 101), dtype=torch.uint8)
    tags = torch.tensor([[0, 2], [1, -1]])
    recipe = {"extractor": extractor, "level": -1, "scales": [1.0, 0.5, 1.5, 2.0], "flip": True, "stride": 4}
    got = activation_maps(classifier, images, tags, Params(recipe))
    assert got.shape == (2, 2, 19, 26)
    assert got.isfinite().all()
    assert (got >= 0).all()
    assert got[0].max() > 0
    alone = activation_maps(classifier, images[1:], tags[1:, :1], Params(recipe))
    torch.testing.assert_close(got[1:, :1], alone, rtol=1e-4, atol=1e-5)


def test_the_linear_segmenter_stands_on_it(classifier):
    segmenter = Segmenter("fcn", TINY, 16, 4).eval()
    load_encoder(segmenter.encoder, classifier.encoder.state_dict(), "the classifier")
    with torch.inference_mode():
        assert segmenter(torch.rand(2, 3, 50, 67)).shape == (2, 4, 50, 67)


@pytest.mark.parametrize(
    ("architecture", "message"),
    [
        ("fcn_skip", "fcn_skip joins features at stride 4"),
        ("unet", "joins features of several strides"),
        ("dpt", "fcn"),
    ],
)
def test_what_needs_finer_features_says_so(architecture, message):
    with pytest.raises(Fault, match=f"architecture '{architecture}' on encoder '{TINY}' cannot be built: .*{message}"):
        Segmenter(architecture, TINY, 16, 4)


def test_another_stride_than_the_patches_is_refused():
    with pytest.raises(Fault, match="its patches are 16 pixels wide, so output_stride must be 16"):
        build_encoder(TINY, 8)
