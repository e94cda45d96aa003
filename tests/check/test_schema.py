"""One wrong value anywhere in params.yaml is one line that says which, what is allowed and what was found."""

from __future__ import annotations

import pytest

from stages.check import networks
from stages.check.methods import BACKGROUND, WHOLE_VIEW, Methods, RecipeMethods

NESTED = {
    "inner": "cavity",
    "outer": "wall",
    "beside": "none",
    "series": "none",
    "long_side": 64,
    "reach": 1.6,
    "trust": 1.0,
}
LINES = [
    ({"recipes.pascal.segmenter.lr": -1}, "recipes.pascal.segmenter.lr: must be > 0, is -1"),
    ({"recipes.pascal.segmenter.lr": 0}, "recipes.pascal.segmenter.lr: must be > 0, is 0"),
    ({"recipes.drawn.segmenter.lr": "0.1"}, "recipes.drawn.segmenter.lr: must be a number, is '0.1'"),
    ({"recipes.drawn.segmenter.lr": True}, "recipes.drawn.segmenter.lr: must be a number, is true"),
    ({"recipes.drawn.segmenter.lr": float("nan")}, "recipes.drawn.segmenter.lr: must be a finite number, is nan"),
    ({"recipes.drawn.segmenter.lr": float("inf")}, "recipes.drawn.segmenter.lr: must be a finite number, is inf"),
    ({"recipes.drawn.segmenter.lr": None}, "recipes.drawn.segmenter.lr: must be a number, is empty"),
    ({"recipes.drawn.segmenter.epochs": 1.5}, "recipes.drawn.segmenter.epochs: must be a whole number, is 1.5"),
    ({"recipes.drawn.segmenter.epochs": 3.0}, "recipes.drawn.segmenter.epochs: must be a whole number, is 3.0"),
    (
        {"recipes.drawn.segmenter.accumulate": 3},
        "recipes.drawn.segmenter.accumulate: must divide batch_size (16), is 3",
    ),
    ({"recipes.drawn.segmenter.epochs": 0}, "recipes.drawn.segmenter.epochs: must be > 0, is 0"),
    ({"recipes.drawn.segmenter.warmup": 1}, "recipes.drawn.segmenter.warmup: must be < 1, is 1"),
    ({"recipes.drawn.segmenter.output_stride": 4}, "recipes.drawn.segmenter.output_stride: must be 8, 16 or 32, is 4"),
    (
        {"recipes.drawn.segmenter.optimizer": "adam"},
        "recipes.drawn.segmenter.optimizer: must be 'adamw' or 'sgd', is 'adam'; did you mean 'adamw'?",
    ),
    ({"recipes.mine.cam.flip": "true"}, "recipes.mine.cam.flip: must be true or false, is 'true'"),
    ({"recipes.mine.cam.flip": 1}, "recipes.mine.cam.flip: must be true or false, is 1"),
    ({"recipes.mine.cam.scales": 1.0}, "recipes.mine.cam.scales: must be a list, is 1.0"),
    ({"recipes.mine.cam.scales": []}, "recipes.mine.cam.scales: must have at least 1 entries, is []"),
    ({"recipes.mine.cam.scales": [1, -2]}, "recipes.mine.cam.scales[1]: must be >= 0.05, is -2"),
    (
        {"recipes.mine.cam.extractor": "gradcam"},
        "recipes.mine.cam.extractor: must be 'cam', 'grad_cam_pp' or 'layer_cam', is 'gradcam'; "
        "did you mean 'grad_cam_pp'?",
    ),
    ({"recipes.mine.cam.level": 0}, "recipes.mine.cam.level: must be < 0, is 0"),
    ({"recipes.mine.cam.level": -2}, "recipes.mine.cam.level: must be -1 for extractor cam, is -2"),
    ({"recipes.mine.cam": 3}, "recipes.mine.cam: must be a section, is 3"),
    ({"recipes.mine": None}, "recipes.mine: must be a section, is empty"),
    ({"datasets": []}, "datasets: must be a section, is []"),
    ({"balance.seed": -1}, "balance.seed: must be >= 0, is -1"),
    ({"balance.images": "all"}, "balance.images: must be any or a whole number of images, is 'all'"),
    ({"balance.images": 0}, "balance.images: must be > 0, is 0"),
    ({"seed": 2**32}, "seed: must be < 4294967296, is 4294967296"),
    ({"source": ""}, "source: must not be empty, is ''"),
    ({"method": None}, "method: must be text, is empty"),
    ({"evaluate.samples": 1000}, "evaluate.samples: must be <= 100, is 1000"),
    # sections of a choice
    ({"recipes.mine.predict.crf": "off"}, "recipes.mine.predict.crf: must be none or a section of its own, is 'off'"),
    ({"recipes.mine.predict.crf": None}, "recipes.mine.predict.crf: must be none or a section of its own, is empty"),
    ({"recipes.mine.refine.pamr.kernel": "x"}, "recipes.mine.refine.pamr.kernel: must be 'pamr' or 'par', is 'x'"),
    ({"recipes.mine.refine.crf.confidence": 1}, "recipes.mine.refine.crf.confidence: must be < 1, is 1"),
    (
        {"recipes.mine.refine.crf.backend": "gpu"},
        "recipes.mine.refine.crf.backend: must be 'pydensecrf' or 'lattice', is 'gpu'",
    ),
    (
        {"recipes.mine.refine.crf.kernels": {}},
        "recipes.mine.refine.crf.kernels: must hold gaussian, bilateral or both, is a section",
    ),
    (
        {"recipes.mine.refine.crf.kernels.gaussian": None},
        "recipes.mine.refine.crf.kernels.gaussian: must be a section, is empty",
    ),
    (
        {"recipes.mine.segmenter.augment.resize": "kept"},
        "recipes.mine.segmenter.augment.resize: must be keep or the range [low, high] of the long side in pixels, "
        "is 'kept'",
    ),
    (
        {"recipes.mine.segmenter.augment.resize": [128, 64]},
        "recipes.mine.segmenter.augment.resize: must be [low, high], is [128, 64]",
    ),
    (
        {"recipes.mine.segmenter.augment.resize": [64]},
        "recipes.mine.segmenter.augment.resize: must have at least 2 entries, is [64]",
    ),
    (
        {"recipes.mine.segmenter.augment.resize": [0, 64]},
        "recipes.mine.segmenter.augment.resize[0]: must be > 0, is 0",
    ),
    ({"recipes.mine.segmenter.augment.crop": -5}, "recipes.mine.segmenter.augment.crop: must be > 0, is -5"),
    (
        {"recipes.mine.segmenter.augment.crop": False},
        "recipes.mine.segmenter.augment.crop: must be none or a whole number of pixels, is false",
    ),
    (
        {"recipes.mine.affinity.kind": "psa"},
        "recipes.mine.affinity.kind: must be 'none', 'irn', is 'psa'",
    ),
    ({"recipes.mine.affinity": {}}, "recipes.mine.affinity.kind: is missing"),
    ({"recipes.mine.affinity.radius": 1}, "recipes.mine.affinity.radius: must be >= 2, is 1"),
    (
        {"recipes.mine.affinity.background": 0.4},
        "recipes.mine.affinity.background: must be <= foreground (0.3), is 0.4",
    ),
    (
        {"recipes.mine.affinity.batch_norm": "train"},
        "recipes.mine.affinity.batch_norm: must be 'frozen', is 'train'",
    ),
    ({"recipes.mine.affinity.crf": "off"}, "recipes.mine.affinity.crf: must be none or a section of its own, is 'off'"),
    ({"recipes.mine.affinity.epochs": ...}, "recipes.mine.affinity.epochs: is missing"),
    (
        {"recipes.mine.affinity": {"kind": "none", "radius": 10}},
        "unknown key 'radius' in recipes.mine.affinity; allowed: kind",
    ),
    (
        {"recipes.drawn.refine.threshold": "otsu"},
        "recipes.drawn.refine.threshold: must be 'fixed', 'validation' or 'unsupervised', is 'otsu'",
    ),
    ({"recipes.drawn.refine.validation_images": 0}, "recipes.drawn.refine.validation_images: must be > 0, is 0"),
    ({"recipes.mine.refine.walk": "yes"}, "recipes.mine.refine.walk: must be none or a section of its own, is 'yes'"),
    ({"recipes.mine.refine.walk.steps": 0}, "recipes.mine.refine.walk.steps: must be > 0, is 0"),
    ({"recipes.mine.refine.walk.beta": -1}, "recipes.mine.refine.walk.beta: must be > 0, is -1"),
    ({"recipes.mine.refine.walk.radius": 1}, "recipes.mine.refine.walk.radius: must be >= 2, is 1"),
    # data sets
    (
        {"datasets.pascal.format": "vok"},
        "datasets.pascal.format: must be 'shapes', 'voc', 'folder', 'coco', 'acdc', is 'vok'; did you mean 'voc'?",
    ),
    ({"datasets.pascal": 7}, "datasets.pascal: must be a section, is 7"),
    ({"datasets.pascal.size_bins": [9, 9]}, "datasets.pascal.size_bins: must be increasing, is [9, 9]"),
    ({"datasets.pascal.size_bins": [0, 9]}, "datasets.pascal.size_bins[0]: must be > 0, is 0"),
    ({"datasets.pascal.size_bins": [1, 2, 3]}, "datasets.pascal.size_bins: must have at most 2 entries, is [1, 2, 3]"),
    ({"datasets.drawn.splits.val": 0}, "datasets.drawn.splits.val: must be > 0, is 0"),
    (
        {"datasets.pascal.lists": {"train": "train", "val": "val", "balanced": "b"}},
        "datasets.pascal.lists.balanced: the key must be another name: it stands for the size-balanced set, "
        "is 'balanced'",
    ),
    (
        {"datasets.pascal.masks": ["A", "A"]},
        "datasets.pascal.masks: must not name anything twice, is ['A', 'A']",
    ),
    ({"datasets.pascal.lists": {"val": "val"}}, "datasets.pascal.lists: must name a list for train, is a section"),
    (
        {"datasets.pascal.tags": "file", "datasets.pascal.tags_file": "tags.txt"},
        "datasets.pascal.tags_file: must be an absolute path where tags is file, is 'tags.txt'",
    ),
    # networks
    (
        {"recipes.drawn.classifier.encoder": "resnt50"},
        "recipes.drawn.classifier.encoder: must be tiny_resnet10, slim_resnet10, slim_resnet18, an encoder of "
        "segmentation_models.pytorch or tu-NAME of timm, is 'resnt50'; did you mean 'resnet50'?",
    ),
    (
        {"recipes.drawn.classifier.weights": "weights.pt"},
        "recipes.drawn.classifier.weights: must be none, imagenet or the absolute path of a state dict, "
        "is 'weights.pt'",
    ),
    (
        {"recipes.drawn.segmenter.architecture": "torchvision/fcn_resnet101"},
        "recipes.drawn.segmenter.architecture: must be built on the classifier's encoder (resnet50), "
        "is 'torchvision/fcn_resnet101'",
    ),
    ({"recipes.drawn.refine.background": 0.4}, "recipes.drawn.refine.background: must be <= foreground (0.3), is 0.4"),
    # size targets
    (
        {"size_targets.source": "boxs"},
        "size_targets.source: must be 'masks', 'pseudo_masks', 'file' or 'boxes', is 'boxs'; did you mean 'boxes'?",
    ),
    (
        {"size_targets.missing": "zero"},
        "size_targets.missing: must be 'tags', 'class_mean' or 'image_tags', is 'zero'",
    ),
    (
        {"size_targets.corruption": "laplace"},
        "size_targets.corruption: must be 'none', 'relative_gaussian', 'lognormal', 'human', 'quantised', 'biased', "
        "'swapped' or 'missing', is 'laplace'",
    ),
    ({"size_targets.scale": -1}, "size_targets.scale: must be >= 0, is -1"),
    ({"size_targets.scale": 1000}, "size_targets.scale: must be <= 10, is 1000"),
    ({"size_targets.sigma": 1e308}, "size_targets.sigma: must be <= 10, is 1e+308"),
    ({"size_targets.step": 1e-310}, "size_targets.step: must be >= 0.001, is 1e-310"),
    ({"size_targets.step": 5}, "size_targets.step: must be <= 0.5, is 5"),
    ({"size_targets.factor": 0}, "size_targets.factor: must be >= 0.001, is 0"),
    ({"size_targets.factor": 1e308}, "size_targets.factor: must be <= 1000, is 1e+308"),
    ({"size_targets.share": 1.1}, "size_targets.share: must be <= 1, is 1.1"),
    *(
        (
            {"size_targets.fill": fill},
            "size_targets.fill: must be a number >= 0.001 and <= 1, or a table of such a number for each class, is "
            + shown,
        )
        for fill, shown in [(0, "0"), (1e-300, "1e-300"), (1.5, "1.5"), (True, "true"), ("x", "'x'"), ({}, "a section")]
    ),
    *(
        (
            {"size_targets.bins": bins},
            f"size_targets.bins: must be none or a list of increasing numbers >= 1e-6 and < 1, is {bins!r}",
        )
        for bins in ([], [0.2, 0.1], [0.1, 1], [1e-300, 0.5], [0.1, 0.1], ["a"], 0.1, "all")
    ),
    (
        {"recipes.drawn.methods.size_target.nested": NESTED | {"outer": "cavity"}},
        "recipes.drawn.methods.size_target.nested.outer: must be another class than inner, is 'cavity'",
    ),
    (
        {"recipes.drawn.methods.size_target.nested": NESTED | {"beside": "wall"}},
        "recipes.drawn.methods.size_target.nested.beside: must be another class than outer, is 'wall'",
    ),
    (
        {"recipes.drawn.methods.size_target.nested": NESTED | {"series": "(?P<subject>.*)"}},
        "recipes.drawn.methods.size_target.nested.series: must be none or a regular expression with the groups "
        "(?P<subject>...) and (?P<place>...), is '(?P<subject>.*)'",
    ),
    (
        {"recipes.drawn.methods.size_target.nested": NESTED | {"series": "("}},
        "recipes.drawn.methods.size_target.nested.series: must be none or a regular expression (missing ), "
        "unterminated subpattern at position 0), is '('",
    ),
    (
        {"recipes.drawn.methods.size_target.nested": NESTED | {"trust": 0.0}},
        "recipes.drawn.methods.size_target.nested.trust: must be > 0, is 0.0",
    ),
    # keys
    (
        {"recipes.pascal.cam.stirde": 4},
        "unknown key 'stirde' in recipes.pascal.cam; allowed: extractor, level, scales, flip, stride, batch_size; "
        "did you mean 'stride'?",
    ),
    ({"methods.rrm.foo": 4}, "unknown key 'foo' in methods.rrm; allowed: none"),
    (
        {"recipes.pascal.predict.crf": {"kernel": 1}},
        "unknown key 'kernel' in recipes.pascal.predict.crf; allowed: kernels, iterations, backend; "
        "did you mean 'kernels'?",
    ),
    (
        {"datasets.mine.lists": "x"},
        "unknown key 'lists' in datasets.mine; allowed: format, background, masks, tags, size_bins, headline, "
        "classes, untrained",
    ),
    ({"datasets.mine.classes": []}, "datasets.mine.classes: must be all or a list of names of classes, is []"),
    ({"datasets.mine.classes": "cat"}, "datasets.mine.classes: must be all or a list of names of classes, is 'cat'"),
    ({"datasets.mine.classes": ["a", "a"]}, "datasets.mine.classes: must not name anything twice, is ['a', 'a']"),
    (
        {"datasets.mine.background": False, "datasets.mine.classes": ["a"]},
        "datasets.mine.classes: must be all where background is false: others become background, is ['a']",
    ),
    ({"datasets.heart.spacing": 0}, "datasets.heart.spacing: must be none or millimetres >= 0.05 and < 1000, is 0"),
    ({"datasets.heart.clip": [99, 1]}, "datasets.heart.clip: must be increasing, is [99, 1]"),
    ({"datasets.mine.masks": "some"}, "datasets.mine.masks: must be 'all', 'evaluated' or 'none', is 'some'"),
    (
        {"datasets.mine.masks": "none"},
        "datasets.mine.tags: must be file or sizes where masks is none, is 'masks'",
    ),
    (
        {"datasets.mine.masks": "evaluated", "datasets.mine.tags": "sizes", "datasets.mine.headline": "train"},
        "datasets.mine.headline: must be an evaluated split where masks is evaluated, is 'train'",
    ),
    (
        {"zoo": 1},
        "unknown key 'zoo' in the top level; allowed: dataset, method, source, pseudo_masks, size_file, seed, "
        "datasets, recipes, methods, size_targets, balance, pascal_b, evaluate",
    ),
    ({"seed": ...}, "seed: is missing"),
    ({"datasets.pascal.lists": ...}, "datasets.pascal.lists: is missing"),
    ({"datasets.pascal.format": ...}, "datasets.pascal.format: is missing"),
    ({"methods.tags": ...}, "methods.tags: is missing"),
    ({"recipes.mine.methods.tags": ...}, "recipes.mine.methods.tags: is missing"),
    (
        {"recipes.mine.refine.crf.kernels.bilateral.rgb": ...},
        "recipes.mine.refine.crf.kernels.bilateral.rgb: is missing",
    ),
]


def test_the_valid_content_has_no_fault(faults):
    assert faults({}) == []


@pytest.mark.parametrize(
    ("values", "line"), LINES, ids=[line.partition(":")[0] + f" {n}" for n, (_, line) in enumerate(LINES)]
)
def test_a_fault_is_one_line(faults, values, line):
    found = faults(values)
    assert line in found
    assert all("\n" not in entry for entry in found)


@pytest.mark.parametrize(
    "values",
    [
        {"recipes.drawn.segmenter.lr": 1},
        {"recipes.drawn.classifier.encoder": "tu-convnext_tiny"},
        {"recipes.drawn.classifier.weights": "/data/weights.pt"},
        {"recipes.drawn.segmenter.architecture": "torchvision/deeplabv3_resnet50"},
        {"recipes.drawn.refine.crf.kernels": {"bilateral": {"xy": 50, "rgb": 5, "weight": 10}}},
        {
            "recipes.drawn.predict.crf": {
                "kernels": {"gaussian": {"xy": 3, "weight": 3}},
                "iterations": 1,
                "backend": "pydensecrf",
            }
        },
        {"recipes.drawn.segmenter.augment.resize": "keep"},
        {"recipes.pascal.segmenter.augment.crop": 321},
        {"recipes.drawn.refine.background": 0.3},
        {"recipes.drawn.refine.walk": "none"},
        {"recipes.drawn.refine.walk": "none", "recipes.drawn.affinity": {"kind": "none"}},
        {"recipes.drawn.affinity.background": 0.3},
        {"datasets.pascal.tags": "file", "datasets.pascal.tags_file": "/data/tags.txt"},
        {"size_targets.fill": {"cat": 0.6, "dog": 1}},
        {"size_targets.bins": [0.05, 0.2]},
        {"size_targets.corruption": "human"},
    ],
    ids=lambda values: next(iter(values)),
)
def test_what_is_allowed(faults, values):
    assert faults(values) == []


def test_all_faults_at_once(faults):
    found = faults({"seed": "x", "recipes.mine.cam.stride": 0, "datasets.pascal.foo": 1, "dataset": "drwn"})
    assert len(found) == 4


def test_the_names_of_networks_are_those_of_the_libraries():
    import segmentation_models_pytorch as smp
    import torchvision

    from stages.core.networks import encoders

    known = torchvision.models.list_models(module=torchvision.models.segmentation)
    assert {*networks.OWN_ENCODERS, *networks.SMP_ENCODERS} == set(encoders.known)
    assert set(networks.SMP_ARCHITECTURES) == set(smp.MODEL_ARCHITECTURES_MAPPING)
    assert set(networks.TORCHVISION_ARCHITECTURES) == set(known)


def test_the_tables_of_methods_name_methods():
    assert list(Methods.model_fields) == list(RecipeMethods.model_fields)
    assert {*WHOLE_VIEW, *BACKGROUND} <= set(Methods.model_fields)
