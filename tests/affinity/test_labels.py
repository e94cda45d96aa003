"""The confident labels: the rule of two thresholds on every training image, in any number of processes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from stages.affinity.labels import ConfidentLabels, write_labels
from stages.core.faults import Fault
from stages.core.files import ZipReader, write_zip
from stages.core.params import Params
from stages.core.two_thresholds import label_scores, upsample
from tests.affinity.conftest import IRN


def test_they_are_those_of_the_rule(dataset, pictures: Path, tmp_path: Path) -> None:
    recipe = Params(IRN)
    write_labels(tmp_path / "labels.zip", dataset, pictures / "cam.zip", recipe)
    labels = ConfidentLabels(tmp_path / "labels.zip")
    assert ZipReader(tmp_path / "labels.zip").names() == [f"{image_id}.png" for image_id in dataset.ids("train")]
    for image_id in dataset.ids("train"):
        image, found = dataset.image(image_id), labels(image_id)
        scores = upsample(ZipReader(pictures / "cam.zip").array(f"{image_id}.npy"), image.shape[:2])
        np.testing.assert_array_equal(found, label_scores(image, scores, dataset.tags(image_id), True, recipe))
        known = found != 255
        assert known.mean() > 0.9
        assert (found == dataset.mask(image_id))[known].mean() > 0.98


def test_any_number_of_workers_gives_the_same_bytes(
    dataset, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stages.core.pool.SERIAL", 0)
    for jobs in ("1", "2"):
        monkeypatch.setenv("SIZEWISE_JOBS", jobs)
        write_labels(tmp_path / f"{jobs}.zip", dataset, pictures / "cam.zip", Params(IRN))
    assert (tmp_path / "1.zip").read_bytes() == (tmp_path / "2.zip").read_bytes()


def test_maps_of_another_data_set_are_refused(dataset, tmp_path: Path) -> None:
    with write_zip(tmp_path / "cam.zip") as archive:
        archive.array("train_0.npy", np.zeros((2, 12, 17), np.uint8))
    with pytest.raises(Fault, match="holds 2 maps of image train_0, which has 1 tags"):
        write_labels(tmp_path / "labels.zip", dataset, tmp_path / "cam.zip", Params(IRN))
    assert not (tmp_path / "labels.zip").exists()
