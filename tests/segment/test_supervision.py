"""What a method reads for each image."""

from pathlib import Path

import numpy as np
import pytest

from stages.core.dataset import Dataset
from stages.core.faults import Fault
from stages.core.files import write_csv, write_zip
from stages.core.params import Params
from stages.segment.supervision import SomeMasks, Sources, label_maps, target_rows

SOURCES = Sources(Path("none"), Path("none"), Path("none"))


@pytest.fixture
def dataset(tiny_dataset):
    return Dataset(tiny_dataset, tiny_dataset.with_name("raw.zip"))


def test_tags_have_the_background_and_the_tagged_classes(dataset, tmp_path):
    ids = dataset.ids("train")
    rows = target_rows("tags", dataset, ids, SOURCES)
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
    sources = Sources(Path("none"), Path("none"), tmp_path / "sizes.csv")
    assert target_rows("sizes", dataset, ids, sources).tolist() == [[0.75, 0.0, 0.25]] * len(ids)
    assert target_rows("sizes", dataset, ids[:1] * 3, sources).tolist() == [[0.75, 0.0, 0.25]] * 3
    write_csv(tmp_path / "sizes.csv", rows[2:], ("id", "class", "name", "true", "target"))
    with pytest.raises(Fault, match=f"no sizes for 1 training images, {ids[-1]}"):
        target_rows("sizes", dataset, ids, sources)


def test_label_maps_by_name(dataset, tmp_path):
    ids = dataset.ids("train")
    image_id = ids[0]
    sources = Sources(tmp_path / "pseudo_masks.zip", Path("none"), Path("none"))
    pseudo = np.full((32, 32), 255, np.uint8)
    with write_zip(tmp_path / "pseudo_masks.zip") as archive:
        archive.png(f"masks/{image_id}.png", pseudo)
    assert np.array_equal(label_maps("pseudo_masks", dataset, ids, sources)(image_id), pseudo)
    assert np.array_equal(label_maps("masks", dataset, ids, sources)(image_id), dataset.mask(image_id))
    assert label_maps(None, dataset, ids, sources) is None
    with pytest.raises(Fault, match="no member 'masks/other.png'"):
        label_maps("pseudo_masks", dataset, ids, sources)("other")


def test_matched_masks_have_the_target_sizes(dataset, tmp_path):
    ids = dataset.ids("train")
    with write_zip(tmp_path / "cam.zip") as archive:
        for image_id in ids:
            tags = dataset.tags(image_id)
            ramp = np.linspace(1, 255, 64).reshape(8, 8).astype(np.uint8)
            archive.array(f"{image_id}.npy", np.stack([np.roll(ramp, 3 * tag, 0) for tag in tags]))
    rows = [{"id": i, "class": k, "target": v} for i in ids for k, v in ((0, 0.75), (1, 0.125), (2, 0.125))]
    write_csv(tmp_path / "sizes.csv", rows, ("id", "class", "target"))
    matched = label_maps(
        "matched_masks", dataset, ids, Sources(Path("none"), tmp_path / "cam.zip", tmp_path / "sizes.csv")
    )
    for image_id in ids:
        labels, tags = matched(image_id), dataset.tags(image_id)
        wanted = 0.75 / (0.75 + 0.125 * len(tags))
        assert (labels == 0).mean() == pytest.approx(wanted, abs=0.02)
        assert set(np.unique(labels)) == {0, *tags}
    write_csv(tmp_path / "sizes.csv", [row for row in rows if row["class"] == 0], ("id", "class", "target"))
    with pytest.raises(Fault, match="no size for the tags of image"):
        label_maps("matched_masks", dataset, ids, Sources(Path("none"), tmp_path / "cam.zip", tmp_path / "sizes.csv"))


def test_the_masks_of_some_images(dataset):
    ids = dataset.ids("train")
    alone = SomeMasks(dataset, ids[:2], None)
    beside = SomeMasks(dataset, ids[:2], lambda image_id: dataset.mask(image_id) // 2)
    for image_id in ids:
        mask = dataset.mask(image_id)
        known = image_id in ids[:2]
        assert np.array_equal(alone(image_id), mask if known else np.full_like(mask, 255))
        assert np.array_equal(beside(image_id), mask if known else mask // 2)


def test_nested_masks_read_the_sizes_and_the_section_of_the_recipe(dataset, tmp_path):
    """The discs of the tiny data set have no ring; a ring of their size is asked for, and drawn."""
    ids = dataset.ids("train")
    rows = [{"id": i, "class": k, "target": v} for i in ids for k, v in ((0, 0.875), (1, 0.0625), (2, 0.0625))]
    write_csv(tmp_path / "sizes.csv", rows, ("id", "class", "target"))
    nested = {"inner": "disk", "outer": "square", "beside": "none", "series": "none"}
    recipe = Params({"nested": nested | {"long_side": 32, "reach": 2.0, "trust": 1.0}})
    sources = Sources(Path("none"), Path("none"), tmp_path / "sizes.csv")
    found = label_maps("nested_masks", dataset, ids, sources, recipe)
    for image_id in ids:
        labels = found(image_id)
        assert labels.shape == dataset.mask(image_id).shape
        assert set(np.unique(labels)) == {0, 1, 2}
    strange = Params({"nested": nested | {"outer": "wall", "long_side": 32, "reach": 2.0, "trust": 1.0}})
    with pytest.raises(Fault, match="no object class 'wall'; there are square, disk"):
        label_maps("nested_masks", dataset, ids, sources, strange)
