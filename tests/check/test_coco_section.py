"""The section of a data set of format coco."""

from __future__ import annotations

import pytest

SECTION = {
    "format": "coco",
    "annotations": {"train": "t.json", "val": "v.json"},
    "images": {"train": "t", "val": "v"},
    "crowd": "void",
    "ids": "annotated",
    "tags": "masks",
    "untrained": [],
    "size_bins": [1024, 9216],
    "headline": "val",
}
LINES = [
    ({"annotations": {"train": "t.json"}}, "annotations: must name a file for val, is a section"),
    ({"images": {"train": "t"}}, "images: must name a folder for each of train, val, is a section"),
    ({"images": {"train": "t/", "val": "v"}}, "images: must name folders without a slash at the end, is a section"),
    ({"crowd": "background"}, "crowd: must be 'void', is 'background'"),
    ({"ids": "some"}, "ids: must be 'annotated' or 'all', is 'some'"),
    ({"tags": "xml"}, "tags: must be 'masks' or 'annotations', is 'xml'"),
    ({"headline": "tset"}, "headline: must be one of annotations (train, val), is 'tset'"),
    ({"untrained": ["cup", "cup"]}, "untrained: must not name anything twice, is ['cup', 'cup']"),
    ({"size_bins": [9, 9]}, "size_bins: must be increasing, is [9, 9]"),
]


@pytest.fixture
def section_faults(change, faults):
    """The faults of the valid content with a data set `things` of this format, and the recipe of `mine`."""
    recipe = change({})["recipes"]["mine"]
    return lambda changes: faults({"datasets.things": SECTION | changes, "recipes.things": recipe})


def test_the_valid_section_has_no_fault(section_faults):
    assert section_faults({}) == []


@pytest.mark.parametrize(("changes", "line"), LINES)
def test_a_fault_is_one_line(section_faults, changes, line):
    assert f"datasets.things.{line}" in section_faults(changes)


@pytest.mark.parametrize("key", SECTION)
def test_every_key_is_needed(change, faults, key):
    recipe = change({})["recipes"]["mine"]
    short = {name: value for name, value in SECTION.items() if name != key}
    assert f"datasets.things.{key}: is missing" in faults({"datasets.things": short, "recipes.things": recipe})


def test_a_predicted_split_is_one_of_the_annotated(change, faults):
    recipe = change({})["recipes"]["mine"]
    recipe["predict"]["splits"] = ["val", "test"]
    line = "recipes.things.predict.splits: data set 'things' has no split 'test'; it has train, val"
    assert any(found.startswith(line) for found in faults({"datasets.things": SECTION, "recipes.things": recipe}))
