"""Tiny data sets on disk, made per test, and a way to prepare them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from stages.core.dataset import Dataset
from stages.core.faults import Fault
from stages.core.params import Params
from stages.download.source import write_index
from stages.prepare.build import prepare
from stages.prepare.palette import voc_palette
from stages.prepare.voc import CLASSES
from tests.prepare import coco_files

IDS = ("a", "b", "c")  # a and b are trained on, c is evaluated on
HEIGHT, WIDTH = 12, 16


def mask_of(image_id: str) -> np.ndarray:
    """(12, 16) uint8: background, a void line and class 1 in a, 2 in b, both in c."""
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[6, :] = 255
    if image_id in "ac":
        mask[1:4, 2:7] = 1
    if image_id in "bc":
        mask[8:11, 9:15] = 2
    return mask


def instances_of(image_id: str) -> np.ndarray:
    """(12, 16) uint8: the objects of `mask_of`, numbered from 1, and its void line as 255."""
    mask = mask_of(image_id)
    found = np.zeros_like(mask)
    for number, label in enumerate(sorted(set(mask[(mask > 0) & (mask < 255)].tolist())), 1):
        found[mask == label] = number
    found[mask == 255] = 255
    return found


def save(path: Path, array: np.ndarray, palette: bool = False) -> None:
    """Writes an image, indexed in VOC's colours if `palette`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(array)
    if palette:
        image.putpalette(np.array(voc_palette(), np.uint8).tobytes())
    image.save(path)


def photograph(image_id: str) -> np.ndarray:
    """(12, 16, 3) uint8 noise that depends on the id."""
    return np.random.default_rng(ord(image_id)).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)


@pytest.fixture(autouse=True)
def one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """No pool for three images."""
    monkeypatch.setenv("SIZEWISE_JOBS", "1")


@pytest.fixture
def voc(tmp_path: Path) -> Path:
    """A VOC folder with two training images and one to evaluate on."""
    root = tmp_path / "VOC2012"
    for image_id in IDS:
        save(root / f"JPEGImages/{image_id}.jpg", photograph(image_id))
        save(root / f"SegmentationClass/{image_id}.png", mask_of(image_id), palette=True)
        save(root / f"SegmentationObject/{image_id}.png", instances_of(image_id), palette=True)
        objects = "".join(
            f"<object><name>{CLASSES[k]}</name></object>" for k in (1, 2) if (mask_of(image_id) == k).any()
        )
        (root / "Annotations").mkdir(exist_ok=True)
        (root / f"Annotations/{image_id}.xml").write_text(f"<annotation>{objects}</annotation>")
    lists = root / "ImageSets/Segmentation"
    lists.mkdir(parents=True)
    (lists / "train.txt").write_text("a\nb\n")
    (lists / "val.txt").write_text("c\n")
    return root


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The same images in the project's own layout."""
    root = tmp_path / "mine"
    for image_id in IDS:
        save(root / f"images/{image_id}.png", photograph(image_id))
        save(root / f"masks/{image_id}.png", mask_of(image_id))
    (root / "classes.txt").write_text("ground\nround thing\nbox\n")
    (root / "splits").mkdir()
    (root / "splits/train.txt").write_text("a\nb\n")
    (root / "splits/val.txt").write_text("c\n")
    return root


@pytest.fixture
def voc_params() -> Callable[..., Params]:
    """The section of params.yaml for `voc`, with changes."""

    def make(**changes: Any) -> Params:
        values = {
            "format": "voc",
            "lists": {"train": "train", "val": "val"},
            "masks": ["SegmentationClass"],
            "instances": "none",
            "tags": "masks",
            "tags_file": "none",
            "size_bins": [16, 64],
            "headline": "val",
            "untrained": list(CLASSES[3:]),
        }
        return Params(values | changes)

    return make


@pytest.fixture
def folder_params() -> Callable[..., Params]:
    """The section of params.yaml for `folder`, with changes."""

    def make(**changes: Any) -> Params:
        values = {
            "format": "folder",
            "background": True,
            "masks": "all",
            "tags": "masks",
            "size_bins": [16, 64],
            "headline": "val",
            "untrained": [],
        }
        return Params(values | changes)

    return make


class Prepared:
    """Runs download's index and prepare on a source."""

    def __init__(self, folder: Path) -> None:
        self.raw, self.out = folder / "raw.zip", folder / "out" / "dataset.zip"
        self.notes: list[str] = []

    def index(self, source: Path, data: Params) -> None:
        """Only the index, so that a test can change the source afterwards."""
        write_index(self.raw, "mine", source, data)

    def prepare(self, data: Params) -> Dataset:
        """dataset.zip from the index."""
        self.notes = prepare(self.raw, self.out, "mine", data, self.raw.parent / "parts")
        return Dataset(self.out, self.raw)

    def __call__(self, source: Path, data: Params) -> Dataset:
        """Both."""
        self.index(source, data)
        return self.prepare(data)

    def fault(self, source: Path, data: Params) -> str:
        """The message of the Fault that preparing ends with; it must leave no file behind."""
        self.index(source, data)
        return self.fault_now(data)

    def fault_now(self, data: Params) -> str:
        """As `fault`, on the index that is there."""
        self.out.unlink(missing_ok=True)
        with pytest.raises(Fault) as caught:
            self.prepare(data)
        assert not self.out.parent.exists() or not list(self.out.parent.iterdir())
        return str(caught.value)


@pytest.fixture
def prepared(tmp_path: Path) -> Prepared:
    """See `Prepared`."""
    return Prepared(tmp_path)


@pytest.fixture
def coco_params() -> Callable[..., Params]:
    """The section of params.yaml for `coco`, with changes."""
    return lambda **changes: Params(coco_files.SECTION | {"untrained": ["cup"]} | changes)


@pytest.fixture
def trees() -> dict[str, dict[str, Any]]:
    """The content of the JSONs of `coco_files`, to be changed."""
    return coco_files.content()


@pytest.fixture
def faults_of(
    tmp_path: Path, trees: dict[str, dict[str, Any]], coco_params: Callable[..., Params], prepared: Prepared
) -> Callable[..., str]:
    """The message on the data set as `trees` is now."""
    return lambda **changes: prepared.fault(coco_files.write(tmp_path / "coco", trees), coco_params(**changes))
