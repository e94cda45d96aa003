"""What a method reads for each image."""

import numpy as np
import pytest

from stages.core.dataset import Dataset
from stages.core.faults import Fault
from stages.core.files import write_csv, write_zip
from stages.segment.supervision import label_maps, target_rows


@pytest.fixture
def dataset(tiny_dataset):
    return Dataset(tiny_dataset, tiny_dataset.with_name("raw.zip"))


def test_tags_have_the_background_and_the_tagged_classes(dataset, tmp_path):
    ids = dataset.ids("train")
    rows = target_rows("tags", dataset, ids, tmp_path / "none.csv")
    for row, image_id in zip(rows, ids, strict=True):
        labels = set(np.unique(dataset.mask(image_id)).tolist()) - {255}
        assert set(np.flatnonzero(row)) == labels | {0}


def test_sizes_come_from_the_table_by_id_and_class(dataset, tmp_path):
    ids = dataset.ids("train")
    rows = [
        {"id": image_id, "class": label, "name": "", "true": 0.9, "target": share}
        for image_id in reversed(ids)
        for label, share in ((0, 0.75), (2, 0.25))
    ]
    write_csv(tmp_path / "sizes.csv", rows, ("id", "class", "name", "true", "target"))
    assert target_rows("sizes", dataset, ids, tmp_path / "sizes.csv").tolist() == [[0.75, 0.0, 0.25]] * len(ids)
    write_csv(tmp_path / "sizes.csv", rows[2:], ("id", "class", "name", "true", "target"))
    with pytest.raises(Fault, match=f"no sizes for 1 training images, {ids[-1]}"):
        target_rows("sizes", dataset, ids, tmp_path / "sizes.csv")


def test_label_maps_by_name(dataset, tmp_path):
    image_id = dataset.ids("train")[0]
    pseudo = np.full((32, 32), 255, np.uint8)
    with write_zip(tmp_path / "pseudo_masks.zip") as archive:
        archive.png(f"masks/{image_id}.png", pseudo)
    assert np.array_equal(label_maps("pseudo_masks", dataset, tmp_path / "pseudo_masks.zip")(image_id), pseudo)
    assert np.array_equal(label_maps("masks", dataset, tmp_path)(image_id), dataset.mask(image_id))
    assert label_maps(None, dataset, tmp_path) is None
    with pytest.raises(Fault, match="no member 'masks/other.png'"):
        label_maps("pseudo_masks", dataset, tmp_path / "pseudo_masks.zip")("other")
