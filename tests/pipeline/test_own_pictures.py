"""A folder of pictures through every room: with masks of val alone, without any, and without a background."""

from __future__ import annotations

import copy
import csv
import importlib
import json
import shutil
from collections.abc import Iterable
from pathlib import Path

import cc3d
import numpy as np
import pytest
import torch
from PIL import Image
from ruamel.yaml import YAML

from stages.check.validate import faults_of
from stages.core.dataset import Dataset
from stages.core.faults import Fault
from stages.core.files import ZipReader, read_csv
from stages.core.stage import load
from tests.conftest import picture
from tests.pipeline.repository import ROOT

TRAIN, VAL = range(8), range(8, 11)
BEFORE = ("download", "prepare", "balance", "classify", "cam", "affinity", "refine", "size_targets")
METHODS = ("tags", "pseudo_mask", "single_stage", "rrm")


def write_pictures(folder: Path, masked: Iterable[int]) -> None:
    """The layout `folder`, with masks of the images that are named."""
    (folder / "splits").mkdir(parents=True)
    (folder / "images").mkdir()
    (folder / "classes.txt").write_text("background\nsquare\ndisk\n")
    with (folder / "tags.csv").open("w") as file:
        for number in (*TRAIN, *VAL):
            image, mask, _ = picture(number)
            Image.fromarray(image).save(folder / f"images/{number}.png")
            csv.writer(file).writerow([number, *sorted(set(mask.ravel().tolist()) - {0, 255})])
            if number in masked:
                (folder / "masks").mkdir(exist_ok=True)
                Image.fromarray(mask).save(folder / f"masks/{number}.png")
    for name, numbers in (("train", TRAIN), ("val", VAL)):
        (folder / f"splits/{name}.txt").write_text("\n".join(map(str, numbers)))


def write_params(masks: str, source: Path) -> dict:
    """params.yaml for it in the working folder: the recipe of `tiny`, made tinier."""
    shutil.copy(ROOT / "dvc.yaml", "dvc.yaml")
    tree = YAML(typ="safe").load((ROOT / "params.yaml").read_text())
    data = {"format": "folder", "background": True, "masks": masks, "tags": "file", "size_bins": [40, 80]}
    recipe = copy.deepcopy(tree["recipes"]["tiny"])
    recipe["predict"]["splits"] = ["train", "val"]
    for part in ("classifier", "segmenter"):
        recipe[part] |= {"epochs": 1, "batch_size": 4}
    recipe["methods"]["single_stage"]["dilations"] = [1, 2]
    tree |= {"dataset": "mine", "source": str(source), "method": "tags"}
    tree["datasets"]["mine"] = data | {"headline": "val", "untrained": []}
    tree["recipes"]["mine"] = recipe
    Path("stages").symlink_to(ROOT / "stages")
    return tree


def run(tree: dict, *rooms: str) -> None:
    """Calls the rooms' commands under the params."""
    with Path("params.yaml").open("w") as file:
        YAML().dump(tree, file)
    for room in rooms:
        importlib.import_module(f"stages.{room}.__main__").main(load(room))


@pytest.fixture
def empty(tmp_path, monkeypatch) -> Path:
    """An empty working folder, beside the pictures."""
    monkeypatch.setenv("SIZEWISE_TRACK", "0")
    monkeypatch.setenv("SIZEWISE_JOBS", "1")
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path


def test_masks_of_val_alone(empty):
    write_pictures(empty / "mine", masked=VAL)
    tree = write_params("evaluated", empty / "mine")
    assert faults_of(tree, Path()) == []
    run(tree, *BEFORE)
    dataset = Dataset(Path("data/mine/dataset.zip"))
    assert not dataset.info.masks
    assert (dataset.masked(dataset.ids("val")), dataset.masked(dataset.ids("train"))) == (True, False)
    scores = read_csv(Path("metrics/pseudo_mask_scores.csv"))
    assert {(row["split"], row["class"] == "mean", row["iou"] != "") for row in scores} == {
        ("train", True, False),
        ("val", False, True),
        ("val", True, True),
    }
    assert read_csv(Path("data/mine/size_targets.csv")) == []
    for method in METHODS:
        tree["method"] = method
        assert faults_of(tree, Path()) == []
        run(tree, "segment")
        assert torch.load("models/mine/segmenter.pt", weights_only=True)["best"]
        assert read_csv(Path("metrics/segment_log.csv"))[-1]["miou"] != ""
    run(tree, "predict", "evaluate")
    assert [row["split"] for row in read_csv(Path("metrics/miou.csv"))] == ["val", "balanced"]
    assert "miou" in json.loads(Path("metrics/summary.json").read_text())
    with pytest.raises(Fault, match="has no masks of train, which this method trains on"):
        run(tree | {"method": "full"}, "segment")
    with pytest.raises(Fault, match=r"size_targets\.csv has no sizes for 8 training images"):
        run(tree | {"method": "size_target"}, "segment")


def test_no_masks_at_all(empty):
    write_pictures(empty / "mine", masked=())
    tree = write_params("none", empty / "mine")
    assert faults_of(tree, Path()) == []
    run(tree, *BEFORE, "segment", "predict")
    assert read_csv(Path("data/mine/balanced.csv")) == []
    predictions = ZipReader(Path("data/mine/predictions.zip"))
    assert np.isin(predictions.png("masks/8.png"), range(3)).all()
    with pytest.raises(Fault, match=r"the images of val, .* have no masks to compare predictions with"):
        run(tree, "evaluate")


def test_without_a_background(empty):
    """Label 0 is a class like the others: tagged, scored by instances, with an activation map and a size."""
    write_pictures(empty / "mine", masked=(*TRAIN, *VAL))
    tree = write_params("all", empty / "mine")
    tree["datasets"]["mine"] |= {"background": False, "tags": "masks"}
    tree["size_targets"]["renormalise"] = "all"
    tree["recipes"]["mine"]["segmenter"]["epochs"] = 2  # the least for the two tasks of size_balanced
    assert faults_of(tree, Path()) == []
    run(tree, *BEFORE)
    dataset, cams = Dataset(Path("data/mine/dataset.zip")), ZipReader(Path("data/mine/cam.zip"))
    for image_id in dataset.records:
        assert dataset.tags(image_id)[0] == 0
        assert len(cams.array(f"{image_id}.npy")) == len(dataset.tags(image_id))
    assert {row["class"] for row in read_csv(Path("metrics/balance.csv"))} == {"background", "square", "disk"}
    sizes = {(row["id"], row["class"]): float(row["target"]) for row in read_csv(Path("data/mine/size_targets.csv"))}
    assert all(sizes[str(number), "0"] > 0 for number in TRAIN)
    for method in ("full", "pseudo_mask", "size_balanced", "size_target", "tags"):
        tree["method"] = method
        assert faults_of(tree, Path()) == []
        run(tree, "segment")
    run(tree, "predict", "evaluate")
    rows = [row for row in read_csv(Path("metrics/per_class.csv")) if row["split"] == "val"]
    assert [row["class"] for row in rows] == ["background", "square", "disk"]
    mask = dataset.mask("8")
    parts = cc3d.connected_components(mask + np.uint8(1), connectivity=8)
    found = [row for row in read_csv(Path("data/mine/instances.csv")) if row["id"] == "8"]
    assert len(found) == parts.max()
    assert "background" in {row["class"] for row in found}
    for method in ("single_stage", "rrm"):
        assert any(f"{method} needs a background" in line for line in faults_of(tree | {"method": method}, Path()))
