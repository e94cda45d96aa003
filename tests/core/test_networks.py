"""Networks by name: sizes, shared encoders, clear errors."""

import pytest
import timm
import torch

from stages.core.faults import Fault
from stages.core.networks.classification import ClassificationNet
from stages.core.networks.encoders import as_named, build_encoder, freeze_batch_norm, load_encoder
from stages.core.networks.segmentation import Segmenter, last_features, pad_sides

ARCHITECTURES = [
    ("fcn", "slim_resnet10", 8),
    ("fcn_skip", "slim_resnet10", 8),
    ("single_stage", "slim_resnet10", 8),
    ("linear", "slim_resnet10", 8),
    ("linear", "tu-vit_tiny_patch16_224", 16),
    ("deeplabv2", "resnet18", 8),
    ("unet", "slim_resnet10", 16),
    ("unet", "resnet18", 32),
    ("deeplabv3plus", "resnet18", 16),
    ("segformer", "mit_b0", 32),
    ("torchvision/fcn_resnet50", "resnet50", 8),
]


@pytest.mark.parametrize(("architecture", "encoder", "stride"), ARCHITECTURES)
def test_logits_have_the_size_of_the_image_and_the_encoder_is_the_classifiers(architecture, encoder, stride):
    segmenter = Segmenter(architecture, encoder, stride, 4).eval()
    classifier = ClassificationNet(encoder, stride, 3)
    load_encoder(segmenter.encoder, classifier.encoder.state_dict(), "the classifier")
    with torch.inference_mode():
        assert segmenter(torch.rand(1, 3, 50, 67)).shape == (1, 4, 50, 67)
    for name, value in classifier.encoder.state_dict().items():
        assert torch.equal(value, segmenter.encoder.state_dict()[name]), name


@pytest.mark.parametrize(("architecture", "encoder", "stride"), ARCHITECTURES)
def test_logits_and_features_come_from_one_pass_of_the_encoder(architecture, encoder, stride):
    segmenter = Segmenter(architecture, encoder, stride, 4).eval()
    images, passes = torch.rand(1, 3, 50, 67), []
    with torch.inference_mode():
        counter = segmenter.encoder.register_forward_hook(lambda *_: passes.append(1))
        logits, features = segmenter.forward_features(images)
        counter.remove()
        assert len(passes) == 1
        assert torch.equal(logits, segmenter(images))
        padded = pad_sides(images)
        assert padded.shape == (1, 3, 64, 96)
        assert torch.equal(features, last_features(segmenter.encoder(padded)))
        assert features.shape[2:] == (64 // stride, 96 // stride)
    assert not segmenter.encoder._forward_hooks


@pytest.mark.parametrize("name", ["tiny_resnet10", "slim_resnet10", "slim_resnet18", "resnet18", "tu-resnet10t"])
@pytest.mark.parametrize("stride", [8, 16])
def test_encoders_have_the_output_stride_that_was_asked_for(name, stride):
    encoder = build_encoder(name, stride).eval()
    features = encoder(torch.rand(1, 3, 64, 64))
    assert features[-1].shape[1:] == (encoder.out_channels[-1], 64 // stride, 64 // stride)
    assert [feature.shape[1] for feature in features] == list(encoder.out_channels)


@pytest.mark.parametrize(
    ("architecture", "encoder"),
    [("deeplab9", "resnet18"), ("fcn", "resnet9"), ("torchvision/fcn_resnet50", "resnet18")],
)
def test_what_cannot_be_built_is_named(architecture, encoder):
    with pytest.raises(Fault, match=encoder):
        Segmenter(architecture, encoder, 8, 2)


@pytest.mark.parametrize("encoder", ["slim_resnet10", "efficientnet-b0", "timm-efficientnet-b0"])
def test_what_can_learn_is_used(encoder):
    """Where several processes train, they wait for the gradient of every parameter that can learn."""
    net = Segmenter("fcn", encoder, 16, 2)
    net(torch.randn(2, 3, 64, 64)).square().mean().backward()
    assert all(p.grad is not None for p in net.parameters() if p.requires_grad)


def test_weights_that_do_not_fit_are_named():
    state = build_encoder("slim_resnet10", 8).state_dict()
    with pytest.raises(Fault, match="the weights of FILE do not fit"):
        load_encoder(build_encoder("slim_resnet18", 8), state, "FILE")


@pytest.mark.parametrize("name", ["tf_efficientnet_lite0", "resnet18", "vit_tiny_patch16_224"])
def test_timms_own_names_load_without_what_follows_the_features(name):
    network, encoder = timm.create_model(name, num_classes=0), build_encoder(f"tu-{name}", 16)
    load_encoder(encoder, network.state_dict(), "the file")
    own = network.state_dict()
    for key, value in encoder.state_dict().items():
        assert torch.equal(value, own[key.removeprefix("model.")]), key


@pytest.mark.parametrize(
    ("file", "name"), [("tf_efficientnet_lite1", "tf_efficientnet_lite0"), ("resnet34", "resnet18")]
)
def test_a_deeper_network_of_timm_does_not_fit(file, name):
    state = timm.create_model(file, num_classes=0).state_dict()
    with pytest.raises(Fault, match="the weights of FILE do not fit the encoder: Unexpected key"):
        load_encoder(build_encoder(f"tu-{name}", 32), state, "FILE")


def test_other_names_are_left():
    state = {"model.conv1.weight": torch.ones(1), "layer9.weight": torch.ones(1)}
    assert as_named(state, {"model.conv1.weight"}) == state
    assert as_named(state, {"conv1.weight"}) == state


def test_no_such_network_of_timm():
    with pytest.raises(Fault, match="no_such"):
        build_encoder("tu-no_such", 16)


def test_frozen_batch_norm_keeps_its_statistics():
    encoder = build_encoder("slim_resnet10", 8).train()
    freeze_batch_norm(encoder)
    before = {name: value.clone() for name, value in encoder.named_buffers()}
    encoder(torch.rand(2, 3, 32, 32))
    assert all(torch.equal(value, before[name]) for name, value in encoder.named_buffers())
