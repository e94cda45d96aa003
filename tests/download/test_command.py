"""The stage as a whole: both outs, from either kind of source."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from stages.core.faults import Fault
from stages.core.files import ZipReader
from stages.core.params import Params
from stages.core.stage import Declared, Stage
from stages.download import source as source_module
from stages.download.__main__ import main
from stages.download.generate import shapes

TINY = {"format": "shapes", "seed": 0, "image_size": 32, "splits": {"train": 2, "val": 1}}
FOLDER = {"format": "folder", "masks": "all", "tags": "masks"}
OWN = Path(source_module.__file__)


def stage(folder: Path, data: dict, source: Path, weights: str = "none") -> Stage:
    """What dvc.yaml hands to the command."""
    params = {
        "dataset": "mine",
        "source": str(source),
        "datasets.${dataset}": Params(data),
        "recipes.${dataset}.classifier.encoder": "slim_resnet10",
        "recipes.${dataset}.classifier.weights": weights,
    }
    outs = {"raw": folder / "data" / "raw.zip", "pretrained": folder / "models" / "pretrained.pt"}
    return Stage("download", Declared("download", "key", params), Declared("download", "dep", {}), outs)


def test_generated_set(tmp_path):
    main(stage(tmp_path, TINY, OWN))
    raw = ZipReader(tmp_path / "data/raw.zip")
    assert raw.png("images/train_00001.png").shape == (32, 32, 3)
    assert raw.png("masks/val_00000.png").max() <= len(shapes.CLASSES)
    assert torch.load(tmp_path / "models/pretrained.pt", weights_only=True) == {}


def test_folder(tmp_path):
    source = tmp_path / "source"
    for name in ("images/a.png", "masks/a.png", "splits/train.txt", "classes.txt"):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_text("")
    torch.save({"conv.weight": torch.ones(2)}, tmp_path / "mine.pth")
    main(stage(tmp_path, FOLDER, source, str(tmp_path / "mine.pth")))
    assert len(ZipReader(tmp_path / "data/raw.zip").rows("index.csv")) == 4
    assert list(torch.load(tmp_path / "models/pretrained.pt", weights_only=True)) == ["conv.weight"]


def test_default_source_without_a_generator(tmp_path):
    with pytest.raises(Fault, match="set source to the data's folder"):
        main(stage(tmp_path, FOLDER, OWN))


def test_weights_are_looked_for_before_the_data(tmp_path):
    with pytest.raises(Fault, match=r"classifier\.weights: .*gone\.pth cannot be read"):
        main(stage(tmp_path, TINY, OWN, str(tmp_path / "gone.pth")))
    assert not (tmp_path / "data").exists()
