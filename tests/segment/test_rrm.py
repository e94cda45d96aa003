"""The network of two branches against its parts, the sum of losses against brute force, and that both learn."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from stages.core.dataset import Dataset
from stages.core.faults import Fault
from stages.core.metrics.confusion import confusion_matrix, mean_iou
from stages.core.networks.classification import ClassificationNet
from stages.core.networks.encoders import freeze_batch_norm
from stages.core.networks.segmentation import Segmenter
from stages.core.params import Params
from stages.core.samples import Batch
from stages.core.transforms import normalise
from stages.segment.losses.reliability import activation_scores, reliable_pixels
from stages.segment.methods import rrm
from stages.segment.setting import Setting
from tests.segment.test_reliability import CRF, RULE

RECIPE = {
    "extra_scales": [0.5, 1.5],
    "classify_first": 0.0,
    "reliable": RULE.plain(),
    "crf": CRF.plain(),
    "crf_stride": 1,
    "energy": {"weight": 0.001, "xy": 20, "rgb": 15, "scale": 1.0, "normalisation": "authors"},
}


def setting(epoch=0, background=True, **change):
    return Setting(Params(RECIPE | change), Params({}), epoch, 10, background)


def build(architecture="fcn_skip", encoder="slim_resnet10", stride=8, extra_scales=(), classes=3):
    """A classifier, and the two branches that start from its weights."""
    torch.manual_seed(0)
    classifier = ClassificationNet(encoder, stride, classes).eval()
    for module in classifier.modules():
        if isinstance(module, torch.nn.BatchNorm2d):  # statistics that are not those of a start
            module.running_mean.uniform_(-0.1, 0.1)
            module.running_var.uniform_(0.5, 2)
    segmenter = Segmenter(architecture, encoder, stride, classes + 1)
    segmenter.encoder.load_state_dict(classifier.encoder.state_dict())
    content = {"encoder": encoder, "num_classes": classes, "state": classifier.state_dict()}
    return classifier, rrm.network(segmenter, content, setting(extra_scales=list(extra_scales)))


@pytest.mark.parametrize(
    ("architecture", "encoder", "stride"),
    [
        ("fcn", "slim_resnet10", 8),
        ("fcn_skip", "slim_resnet10", 16),
        ("unet", "resnet18", 32),
        ("fcn", "tu-tf_efficientnet_lite0", 16),
        ("unet", "efficientnet-b0", 32),
    ],
)
def test_each_branch_says_what_its_network_says_alone(architecture, encoder, stride):
    classifier, net = build(architecture, encoder, stride)
    net.eval()
    images = torch.randn(2, 3, 64, 96)
    valid = torch.ones(2, 64, 96, dtype=torch.bool)
    valid[1, 40:], valid[1, :, 50:] = False, False
    with torch.no_grad():
        outputs = net(images, valid)
        assert torch.equal(outputs.segmentation, net.segmenter(images))
        torch.testing.assert_close(outputs.classification, classifier(images, valid))
        torch.testing.assert_close(net(images).classification, classifier(images))
        maps = F.interpolate(classifier.cam(images), (64, 96), mode="bilinear", align_corners=False)
        torch.testing.assert_close(outputs.cams, maps)
    assert outputs.cams.shape == (2, 3, 64, 96)
    assert outputs.cams.max() > 0


def test_maps_are_means_over_the_scales_and_leave_statistics_and_modes_alone():
    classifier, net = build(extra_scales=(0.5, 1.5))
    images = torch.randn(2, 3, 64, 32)
    total = 0
    for scale in (1, 0.5, 1.5):
        size = [round(64 * scale), round(32 * scale)]
        view = images
        if scale != 1:
            view = F.interpolate(images, size, mode="bilinear", align_corners=False, antialias=scale < 1)
        total = total + F.interpolate(classifier.cam(view), (8, 4), mode="bilinear", align_corners=False) / 3
    expected = F.interpolate(total, (64, 32), mode="bilinear", align_corners=False)
    net.eval()
    torch.testing.assert_close(net(images).cams, expected)

    _, plain = build()
    net.train()
    plain.train()
    freeze_batch_norm(net.encoder.levels[0])
    freeze_batch_norm(plain.encoder.levels[0])
    modes = {name: module.training for name, module in net.named_modules()}
    outputs, once = net(images), plain(images)
    assert modes == {name: module.training for name, module in net.named_modules()}
    assert len(set(modes.values())) == 2
    for name, value in plain.state_dict().items():
        assert torch.equal(value, net.state_dict()[name]), name
    assert torch.equal(outputs.segmentation, once.segmentation)
    assert not torch.equal(outputs.cams, once.cams)


def test_parameters_count_once_and_the_segmenter_is_saved_as_it_is():
    classifier, net = build()
    own = sum(p.numel() for p in net.parameters())
    assert own == sum(p.numel() for p in net.segmenter.parameters()) + classifier.head.weight.numel()
    assert len(list(net.parameters())) == len({id(p) for p in net.parameters()})
    assert net.encoder is net.segmenter.encoder
    assert set(net.state_dict()) == {"head.weight", *(f"segmenter.{name}" for name in net.segmenter.state_dict())}
    alone = Segmenter("fcn_skip", "slim_resnet10", 8, 4)
    alone.load_state_dict(net.segmenter.state_dict())
    assert torch.equal(net.head.weight, classifier.head.weight)
    assert net.head.weight.data_ptr() != classifier.head.weight.data_ptr()


@pytest.mark.parametrize(
    ("precision", "network"), [(None, {}), (torch.bfloat16, {}), (None, {"encoder": "efficientnet-b0", "stride": 16})]
)
def test_images_of_any_size_and_a_gradient_for_every_parameter(precision, network):
    _, net = build(extra_scales=(0.5, 2.0), **network)
    net.train()
    with torch.autocast("cpu", precision, enabled=precision is not None):
        outputs = net(torch.randn(2, 3, 45, 33), torch.ones(2, 45, 33, dtype=torch.bool))
    assert outputs.segmentation.shape == (2, 4, 45, 33)
    assert outputs.cams.shape == (2, 3, 45, 33)
    assert not outputs.cams.requires_grad
    (outputs.segmentation.square().mean() + outputs.classification.float().square().mean()).backward()
    assert all(p.grad is not None and p.grad.any() for p in net.parameters())


def test_what_cannot_train_is_named():
    _, net = build()
    content = {"encoder": "slim_resnet10", "state": {"head.weight": net.head.weight[:, :7]}}
    with pytest.raises(Fault, match="192 channels, the classifier's at 7"):
        rrm.network(net.segmenter, content, setting())
    with pytest.raises(Fault, match="background"):
        rrm.network(net.segmenter, content, setting(background=False))


def batch_of(images, valid, targets):
    return Batch(images, valid, None, targets)


def scene(generator, size=16):
    """Two images, the second smaller, with network outputs on them."""
    images = torch.randint(0, 60, (2, 3, size, size), generator=generator, dtype=torch.uint8)
    images[:, :, 4:10, 4:10] += 150
    valid = torch.ones(2, size, size, dtype=torch.bool)
    valid[1, 12:], valid[1, :, 11:] = False, False
    rows, columns = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    cam = (-((rows - 7) ** 2 + (columns - 7) ** 2) / 8).exp()
    cams = torch.stack([cam, 0.2 * torch.rand(size, size, generator=generator)]).expand(2, 2, size, size)
    logits = torch.randn(2, 3, size, size, generator=generator)
    scores = torch.randn(2, 2, generator=generator)
    return images, valid, logits, scores, cams


def test_the_loss_is_the_sum_of_the_papers_three():
    """Each term by loops in double precision, given the reliable pixels."""
    images, valid, logits, classification, cams = scene(torch.Generator().manual_seed(0))
    targets = torch.tensor([[1.0, 1, 0], [1, 1, 0]])
    terms = rrm.loss(rrm.Outputs(logits, classification, cams), batch_of(images, valid, targets), setting())
    scores = activation_scores(cams, targets[:, 1:], valid)
    labels = reliable_pixels(images, scores, targets[:, 1:], valid, RULE, CRF).numpy()
    assert {0, 1, 255} == set(np.unique(labels))
    sigmoid = 1 / (1 + np.exp(-classification.double().numpy()))
    tags = targets[:, 1:].numpy()
    expected = -(tags * np.log(sigmoid) + (1 - tags) * np.log(1 - sigmoid)).mean()
    assert terms["classification"].item() == pytest.approx(expected, rel=1e-5)
    s = np.exp(logits.double().numpy())
    s /= s.sum(1, keepdims=True)
    losses = {"background": [], "class": []}
    for n, y, x in np.ndindex(labels.shape):
        if labels[n, y, x] != 255:
            value = -np.log(s[n, labels[n, y, x], y, x])
            losses["class" if labels[n, y, x] else "background"].append(value)
    expected = np.mean(losses["background"]) + np.mean(losses["class"])
    assert terms["reliable_ce"].item() == pytest.approx(expected, rel=1e-5)
    shares = [(labels[n] != 255).sum() / valid[n].sum().item() for n in (0, 1)]
    assert terms["reliable"].item() == pytest.approx(np.mean(shares), rel=1e-5)
    total = terms["classification"] + terms["reliable_ce"] + terms["energy"]
    assert terms["loss"].item() == pytest.approx(total.item(), rel=1e-6)
    assert terms["energy"].item() < 0
    assert set(terms) == {"loss", "classification", "reliable_ce", "energy", "reliable"}


def test_the_energy_gets_the_gate_and_the_recipes_constants(monkeypatch):
    images, valid, logits, classification, cams = scene(torch.Generator().manual_seed(1))
    targets = torch.tensor([[1.0, 1, 0], [1, 0, 0]])
    calls = []

    def energy(probabilities, images, valid, xy, rgb, scale, gate=None, normalisation="authors"):
        calls.append((probabilities, gate, (xy, rgb, scale, normalisation)))
        return probabilities.mean() * 0 + 7

    monkeypatch.setattr(rrm, "dense_energy", energy)
    terms = rrm.loss(rrm.Outputs(logits, classification, cams), batch_of(images, valid, targets), setting())
    (probabilities, gate, constants), *_ = calls
    assert terms["energy"].item() == pytest.approx(0.007)
    assert constants == (20, 15, 1.0, "authors")
    assert torch.allclose(probabilities, logits.softmax(1))
    assert not gate.requires_grad
    assert (gate[~valid] == 0).all()
    assert (gate[valid] > 0).all()
    # the second image has no tags, so all of it is reliably background
    doubt = 1 - probabilities[1].amax(0)
    assert torch.allclose(gate[1], doubt * valid[1])


def test_the_gradient_is_the_slope_of_the_loss_with_reliable_pixels_fixed(monkeypatch):
    """Finite differences on the segmentation logits; the gate is a constant, so it is frozen for them."""
    images, valid, logits, classification, cams = scene(torch.Generator().manual_seed(2))
    targets = torch.tensor([[1.0, 1, 0], [1, 1, 0]])
    gates = []
    gate_of = rrm.energy_gate

    def frozen(*arguments):
        gates.append(gate_of(*arguments))
        return gates[0]

    def energy(probabilities, images, valid, xy, rgb, scale, gate=None, normalisation="authors"):
        return -(gate[:, None] * probabilities.square()).sum() / len(probabilities)

    monkeypatch.setattr(rrm, "energy_gate", frozen)
    monkeypatch.setattr(rrm, "dense_energy", energy)

    def value(logits):
        outputs = rrm.Outputs(logits, classification, cams)
        return rrm.loss(outputs, batch_of(images, valid, targets), setting())["loss"]

    logits.requires_grad_()
    value(logits).backward()
    generator = torch.Generator().manual_seed(3)
    for _ in range(6):
        direction = torch.randn(logits.shape, generator=generator)
        step = 2e-3
        with torch.no_grad():
            slope = (value(logits + step * direction) - value(logits - step * direction)) / (2 * step)
        assert slope.item() == pytest.approx((logits.grad * direction).sum().item(), abs=2e-3)
    assert not logits.grad[~valid[:, None].expand_as(logits)].any()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("case", ["no tags", "no activation", "one pixel", "batch of one", "extreme"])
def test_limits(case, dtype):
    """Finite terms with finite gradients."""
    size = 1 if case == "one pixel" else 8
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(1, 3, size, size, generator=generator)
    if case == "extreme":
        logits[:, 0] = 60
    logits = logits.to(dtype).requires_grad_()
    classification = torch.full((1, 2), 60.0).to(dtype).requires_grad_()
    cams = torch.rand(1, 2, size, size, generator=generator).to(dtype) * (case != "no activation")
    targets = torch.tensor([[1.0, 0, 0]] if case == "no tags" else [[1.0, 1, 1]])
    images = torch.randint(0, 255, (1, 3, size, size), generator=generator, dtype=torch.uint8)
    batch = batch_of(images, torch.ones(1, size, size, dtype=torch.bool), targets)
    terms = rrm.loss(rrm.Outputs(logits, classification, cams), batch, setting())
    terms["loss"].backward()
    assert all(torch.isfinite(term) for term in terms.values())
    assert torch.isfinite(logits.grad).all()
    assert torch.isfinite(classification.grad).all()
    if case in ("no tags", "no activation"):
        assert terms["reliable"] == 1
    if case == "one pixel":
        assert terms["reliable"] == terms["reliable_ce"] == 0


def test_the_first_epochs_are_the_classifiers_alone():
    images, valid, logits, classification, cams = scene(torch.Generator().manual_seed(4))
    targets = torch.tensor([[1.0, 1, 0], [1, 1, 0]])
    logits.requires_grad_()
    outputs = rrm.Outputs(logits, classification, cams)
    first = rrm.loss(outputs, batch_of(images, valid, targets), setting(epoch=4, classify_first=0.5))
    assert set(first) == {"loss", "classification"}
    assert first["loss"] == first["classification"]
    first["loss"].backward()  # every parameter has a gradient, which is zero
    assert not logits.grad.any()
    second = rrm.loss(outputs, batch_of(images, valid, targets), setting(epoch=5, classify_first=0.5))
    assert "reliable_ce" in second


def test_both_branches_learn_on_a_few_images(tiny_dataset):
    """Six images are too few for activation maps, so these are the truth, blurred; the rest is the method's."""
    torch.manual_seed(0)
    dataset = Dataset(tiny_dataset, tiny_dataset.with_name("raw.zip"))
    ids = dataset.ids("train")
    images = torch.from_numpy(np.stack([dataset.image(i) for i in ids])).permute(0, 3, 1, 2)
    truth = torch.from_numpy(np.stack([dataset.mask(i) for i in ids])).long()
    tags = torch.from_numpy(np.concatenate([np.ones((len(ids), 1)), dataset.tag_matrix(ids)], 1)).float()
    batch = batch_of(images, torch.ones_like(truth, dtype=torch.bool), tags)
    cams = F.avg_pool2d(torch.stack([truth == 1, truth == 2], 1).float(), 5, 1, 2)
    state = ClassificationNet("slim_resnet10", 8, 2).state_dict()
    segmenter = Segmenter("fcn_skip", "slim_resnet10", 8, 3)
    change = {"extra_scales": [], "energy": RECIPE["energy"] | {"weight": 1e-6}}
    net = rrm.network(segmenter, {"encoder": "slim_resnet10", "state": state}, setting(**change)).train()
    optimiser = torch.optim.AdamW(net.parameters(), lr=0.005)
    history = []
    for _ in range(25):
        outputs = net(normalise(batch.images), batch.valid)._replace(cams=cams)
        terms = rrm.loss(outputs, batch, setting(**change))
        optimiser.zero_grad()
        terms["loss"].backward()
        optimiser.step()
        history.append({name: value.item() for name, value in terms.items()})
    assert history[-1]["classification"] < 0.3 * history[0]["classification"]
    assert history[-1]["reliable_ce"] < 0.3 * history[0]["reliable_ce"]
    assert 0.3 < history[0]["reliable"] == history[-1]["reliable"] < 1
    net.eval()
    with torch.no_grad():
        prediction = segmenter(normalise(batch.images)).argmax(1)
    matrix = confusion_matrix(truth.numpy(), prediction.numpy(), 3)
    assert mean_iou(matrix) > 0.6  # all background has 0.3
