"""Real photographs and slices, where SIZEWISE_REAL_DATA names a folder with them."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from stages.core.dataset import INSTANCE_VOID

ROOT = os.environ.get("SIZEWISE_REAL_DATA")
pytestmark = pytest.mark.skipif(not ROOT, reason="SIZEWISE_REAL_DATA is not set")
SUBSET = (
    "aeroplane",
    "bicycle",
    "bird",
    "boat",
    "bus",
    "diningtable",
    "motorbike",
    "train",
)  # not in voc_sample's train


@pytest.fixture
def real() -> Path:
    """The folder of real data."""
    return Path(ROOT)


@pytest.fixture
def few(real, tmp_path) -> Path:
    """voc_sample with lists of 20 and 10 images, its files linked."""
    source = tmp_path / "few"
    lists = source / "ImageSets/Segmentation"
    lists.mkdir(parents=True)
    for name in ("JPEGImages", "SegmentationClass"):
        (source / name).symlink_to(real / "voc_sample/VOC2012" / name)
    for split, count in (("train", 20), ("val", 10)):
        ids = (real / f"voc_sample/VOC2012/ImageSets/Segmentation/{split}.txt").read_text().split()[:count]
        (lists / f"{split}.txt").write_text("\n".join(ids))
    return source


def test_voc_sample(real, few, voc_params, prepared):
    message = prepared.fault(few, voc_params(untrained=()))
    missing = message.partition("no training image has ")[2].partition(";")[0].split(", ")
    assert set(SUBSET) <= set(missing)

    tags = real / "voc2012_meta/tags.txt"
    dataset = prepared(few, voc_params(untrained=missing, tags="file", tags_file=str(tags)))
    published = {line.split()[0]: [int(word) for word in line.split()[1:]] for line in tags.read_text().splitlines()}
    assert dataset.ids("train") == (few / "ImageSets/Segmentation/train.txt").read_text().split()
    assert len(dataset.ids("val")) == 10
    for image_id in dataset.records:
        truth = np.array(Image.open(few / f"SegmentationClass/{image_id}.png"))
        assert np.array_equal(dataset.mask(image_id), truth)
        assert dataset.image(image_id).shape[:2] == truth.shape
        assert dataset.tags(image_id).tolist() == sorted(published[image_id])
        assert dataset.tags(image_id).tolist() == sorted(set(truth.ravel().tolist()) - {0, 255})
    assert any("differ from the masks in 0 of 30 images" in note for note in prepared.notes)


def test_class_pixel_counts_of_voc(real, voc_params, prepared):
    """Those of all 180 images at hand, as they were counted elsewhere on the masks of VOC."""
    known = np.load(real / "voc2012_meta/class_pixel_counts_12031.npz", allow_pickle=False)
    rows = dict(zip(known["ids"].tolist(), known["counts"], strict=True))
    dataset = prepared(real / "voc_sample/VOC2012", voc_params(untrained=SUBSET))
    assert len(dataset.records) == 180
    for image_id in dataset.records:
        counts = np.bincount(dataset.mask(image_id).ravel(), minlength=256)
        assert np.array_equal(counts[[*range(21), 255]], rows[image_id])


def test_voc_with_the_masks_of_segmentation_class_aug(real, voc_params, prepared, tmp_path):
    source = tmp_path / "animals"
    (source / "ImageSets/Segmentation").mkdir(parents=True)
    for name in ("JPEGImages", "SegmentationClassAug"):
        (source / name).symlink_to(real / "voc_animals_320/VOC2012" / name)
    for name in ("train_aug", "val"):
        ids = (real / f"voc_animals_320/VOC2012/ImageSets/Segmentation/{name}.txt").read_text().split()[::100]
        (source / f"ImageSets/Segmentation/{name}.txt").write_text("\n".join(ids))
    changes = {"lists": {"train": "train_aug", "val": "val"}, "masks": ["SegmentationClassAug"]}
    message = prepared.fault(source, voc_params(untrained=(), **changes))
    missing = message.partition("no training image has ")[2].partition(";")[0].split(", ")
    dataset = prepared(source, voc_params(untrained=missing, **changes))
    assert (len(dataset.ids("train")), len(dataset.ids("val"))) == (32, 3)
    for image_id in dataset.records:
        truth = np.array(Image.open(source / f"SegmentationClassAug/{image_id}.png"))
        assert np.array_equal(dataset.mask(image_id), truth)
        assert dataset.image(image_id).shape == (*truth.shape, 3)


def test_instance_maps_of_labelme(real, voc_params, prepared, tmp_path):
    source = tmp_path / "labelme"
    for folder in ("JPEGImages", "SegmentationClassVOC", "SegmentationObject"):
        shutil.copytree(real / "labelme_voc_sample" / folder, source / folder)
    lists = source / "ImageSets/Segmentation"
    lists.mkdir(parents=True)
    (lists / "train.txt").write_text("2011_000003\n2011_000006\n")
    (lists / "val.txt").write_text("2011_000025\n")
    names = set(voc_params().untrained) | {"aeroplane", "bicycle"}
    untrained = names - {"bottle", "person", "chair", "sofa"}
    data = voc_params(masks=["SegmentationClassVOC"], instances="SegmentationObject", untrained=sorted(untrained))
    dataset = prepared(source, data)
    assert dataset.tags("2011_000006").tolist() == [9, 15, 18]
    found = dataset.instances("2011_000006")
    assert np.unique(found).tolist() == [0, 1, 2, 3, 4, 5, 7]
    assert np.array_equal(found, np.array(Image.open(source / "SegmentationObject/2011_000006.png")))
    assert INSTANCE_VOID not in found


def test_acdc_slices(real, folder_params, prepared, tmp_path):
    source = tmp_path / "acdc"
    (source / "splits").mkdir(parents=True)
    for name in ("images", "masks", "classes.txt"):
        (source / name).symlink_to(real / "acdc_png" / name)
    for split in ("train", "val"):
        ids = (real / f"acdc_png/splits/{split}.txt").read_text().split()[:12]
        (source / f"splits/{split}.txt").write_text("\n".join(ids))
    dataset = prepared(source, folder_params())
    assert dataset.info.classes == ("background", "right_ventricle", "myocardium", "left_ventricle")
    image_id = dataset.ids("val")[0]
    truth = np.array(Image.open(real / f"acdc_png/masks/{image_id}.png"))
    assert np.array_equal(dataset.mask(image_id), truth)
    assert dataset.image(image_id).shape == (*truth.shape, 3)
    assert dataset.tags(image_id).tolist() == sorted(set(truth.ravel().tolist()) - {0})
