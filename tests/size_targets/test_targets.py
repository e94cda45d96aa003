"""The tables of size targets and of their errors, from a small data set on disk."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from stages.core.dataset import Dataset, DatasetInfo, ImageRecord, write_header
from stages.core.faults import Fault
from stages.core.files import ZipReader, csv_text, write_zip
from stages.core.params import Params
from stages.size_targets.errors import divergence, error_rows
from stages.size_targets.targets import COLUMNS, make_targets

PARAMS = {
    "source": "masks",
    "void": "excluded",
    "corruption": "relative_gaussian",
    "sigma": 0.3,
    "renormalise": "background",
    "seed": 0,
}
MASKS = {
    "a": np.array([[0, 0, 1, 1], [2, 1, 255, 255]], np.uint8),
    "b": np.array([[2, 2, 2, 2], [2, 2, 2, 2]], np.uint8),
    "c": np.array([[0, 0, 0, 0], [0, 0, 0, 255]], np.uint8),
}
Maker = Callable[..., Dataset]
NO_MASKS = ZipReader(Path("/none"))  # not read where sizes come from the truth


@pytest.fixture
def make_dataset(tmp_path: Path) -> Maker:
    """Builds a data set whose images are all in train but the last, `v`, which is in val."""

    def make(
        masks: dict[str, np.ndarray] = MASKS,
        background: bool = True,
        has_masks: bool = True,
        tags: dict[str, list[int]] | None = None,
    ) -> Dataset:
        masks = masks | {"v": np.full((2, 4), 1, np.uint8)}
        classes = ("background", "cat", "dog") if background else ("sky", "cat", "dog")
        info = DatasetInfo("few", classes, background, ((0, 0, 0),) * 256, (2, 5), "masks", has_masks, False)
        records = [ImageRecord(key, ("val" if key == "v" else "train",), "/none", 2, 4, "") for key in masks]
        path = tmp_path / f"{len(list(tmp_path.iterdir()))}.zip"
        with write_zip(path) as archive:
            write_header(archive, info, records, {key: (tags or {}).get(key, []) for key in masks})
            for key, mask in masks.items():
                if has_masks or key == "v":
                    archive.png(f"masks/{key}.png", mask)
        return Dataset(path)

    return make


def params(**changes: object) -> Params:
    """The section with some values changed."""
    return Params(PARAMS | changes)


def test_rows_by_hand(make_dataset: Maker) -> None:
    rows, _ = make_targets(make_dataset(), NO_MASKS, params(corruption="none"))
    assert csv_text(rows, COLUMNS).splitlines() == [
        "id,class,name,true,target",
        "a,0,background,0.333333333,0.333333333",
        "a,1,cat,0.5,0.5",
        "a,2,dog,0.166666667,0.166666667",
        "b,0,background,0,0",
        "b,2,dog,1,1",
        "c,0,background,1,1",
    ]


def test_void_counts_as_background_when_included(make_dataset: Maker) -> None:
    rows, _ = make_targets(make_dataset(), NO_MASKS, params(corruption="none", void="included"))
    assert [row["true"] for row in rows] == ["0.5", "0.375", "0.125", "0", "1", "1"]


def test_without_background_only_present_classes_have_rows(make_dataset: Maker) -> None:
    rows, errors = make_targets(make_dataset(background=False), NO_MASKS, params(renormalise="all"))
    assert [(row["id"], row["class"]) for row in rows] == [("a", 0), ("a", 1), ("a", 2), ("b", 2), ("c", 0)]
    assert [row["group"] for row in errors] == ["all", "sky", "cat", "dog", "small", "medium", "large"]
    assert errors[0]["n"] == 5


def test_corrupted_targets_sum_to_one_and_leave_the_truth(make_dataset: Maker) -> None:
    exact, _ = make_targets(make_dataset(), NO_MASKS, params(sigma=0.0))
    rows, _ = make_targets(make_dataset(), NO_MASKS, params())
    assert [row["true"] for row in rows] == [row["target"] for row in exact]
    assert [row["target"] for row in rows] != [row["target"] for row in exact]
    for image_id in MASKS:
        total = sum(float(row["target"]) for row in rows if row["id"] == image_id)
        assert total == pytest.approx(1, abs=3e-9)


def test_a_new_image_changes_no_other(make_dataset: Maker) -> None:
    before, _ = make_targets(make_dataset(), NO_MASKS, params())
    after, _ = make_targets(make_dataset({"0": MASKS["a"], **MASKS, "d": MASKS["a"]}), NO_MASKS, params())
    assert [row for row in after if row["id"] in MASKS] == before


def test_errors_by_hand() -> None:
    """Image 0: cat 0.25 -> 0.2 (1 pixel, small), dog 0.25 -> 0.3 (5, large). Image 1: cat 0.5 -> 0.25 (4, medium)."""
    info = DatasetInfo("few", ("background", "cat", "dog"), True, (), (2, 5), "masks", True, False)
    true = np.array([[0.5, 0.25, 0.25], [0.5, 0.5, 0], [1, 0, 0]])
    target = np.array([[0.5, 0.2, 0.3], [0.75, 0.25, 0], [1, 0, 0]])
    pixels = np.array([[10, 1, 5, 0], [4, 4, 0, 0], [9, 0, 0, 0]])
    first = 0.2 * np.log(0.8) + 0.3 * np.log(1.2)
    second = 0.75 * np.log(1.5) + 0.25 * np.log(0.5)
    expected = {
        "all": (3, 0.9 / 3, (first + second) / 2),
        "cat": (2, 0.35, (first + second) / 2),
        "dog": (1, 0.2, first),
        "small": (1, 0.2, first),
        "medium": (1, 0.5, second),
        "large": (1, 0.2, first),
    }
    rows = error_rows(true, target, pixels, info)
    assert [row["group"] for row in rows] == list(expected)
    for row in rows:
        found = (row["n"], row["mean_relative_error"], row["kl"])
        np.testing.assert_allclose(found, expected[row["group"]], err_msg=row["group"])


def test_empty_groups_have_no_error() -> None:
    info = DatasetInfo("few", ("background", "cat"), True, (), (2, 5), "masks", True, False)
    rows = error_rows(np.array([[1.0, 0]]), np.array([[1.0, 0]]), np.array([[8, 0, 0]]), info)
    assert all(row["n"] == 0 and np.isnan(row["mean_relative_error"]) and np.isnan(row["kl"]) for row in rows)


def test_divergence_is_finite_and_not_negative() -> None:
    true = np.array([[0.0, 1.0], [0.5, 0.5], [0.3, 0.7]])
    target = np.array([[0.1, 0.9], [0.0, 1.0], [0.3, 0.7]])
    expected = [0.1 * np.log(0.1 / 1e-6) + 0.9 * np.log(0.9), np.log(2), 0]
    np.testing.assert_allclose(divergence(target, true), expected, atol=1e-12)


def test_faults(make_dataset: Maker) -> None:
    for change, message in [
        ({"source": "dream"}, "no size_targets.source 'dream'; there is masks"),
        ({"void": "both"}, "no size_targets.void 'both'"),
        ({"corruption": "laplace"}, "no size_targets.corruption 'laplace'"),
    ]:
        with pytest.raises(Fault, match=message):
            make_targets(make_dataset(), NO_MASKS, params(**change))
    with pytest.raises(Fault, match="use all"):
        make_targets(make_dataset(background=False), NO_MASKS, params())


def test_sizes_that_cannot_be_measured_are_no_rows(make_dataset: Maker) -> None:
    assert make_targets(make_dataset(has_masks=False), NO_MASKS, params()) == ([], [])


TAGS = {"a": [1, 2], "b": [2], "c": []}
PSEUDO = {
    "a": np.array([[0, 0, 1, 1], [1, 255, 255, 255]], np.uint8),  # the tagged dog is not in it
    "b": np.array([[0, 2, 2, 2], [1, 255, 0, 0]], np.uint8),  # cat is in it and not tagged
    "c": np.full((2, 4), 255, np.uint8),
}


def pseudo_archive(path: Path) -> ZipReader:
    with write_zip(path) as archive:
        for key, mask in PSEUDO.items():
            archive.png(f"masks/{key}.png", mask)
    return ZipReader(path)


def targets_of(rows: list[dict]) -> dict[str, dict[int, float]]:
    return {key: {row["class"]: float(row["target"]) for row in rows if row["id"] == key} for key in MASKS}


def test_sizes_of_pseudo_masks_by_hand(make_dataset: Maker, tmp_path: Path) -> None:
    dataset = make_dataset(tags=TAGS)
    rows, errors = make_targets(dataset, pseudo_archive(tmp_path / "p"), params(source="pseudo_masks", sigma=0.0))
    # b without its untagged cat: 3 of 6 pixels dog; a: 2 background, 3 cat, and the dog of b's size, 0.5
    found = targets_of(rows)
    assert found["a"] == pytest.approx({0: 0.4 / 1.5, 1: 0.6 / 1.5, 2: 0.5 / 1.5})
    assert found["b"] == pytest.approx({0: 0.5, 2: 0.5})
    assert found["c"] == pytest.approx({0: 1})
    assert [row["true"] for row in rows if row["id"] == "b"] == ["0", "1"]
    expected = np.mean([abs(0.4 - 0.5) / 0.5, abs(0.5 / 1.5 - 1 / 6) * 6, abs(0.5 - 1)])
    assert errors[0]["mean_relative_error"] == pytest.approx(expected)


def test_void_of_pseudo_masks_can_be_background(make_dataset: Maker, tmp_path: Path) -> None:
    changed = params(source="pseudo_masks", sigma=0.0, void="included")
    rows, _ = make_targets(make_dataset(tags=TAGS), pseudo_archive(tmp_path / "p"), changed)
    assert targets_of(rows)["b"] == pytest.approx({0: 4 / 7, 2: 3 / 7})


def test_sizes_of_pseudo_masks_need_no_true_masks(make_dataset: Maker, tmp_path: Path) -> None:
    dataset = make_dataset(tags=TAGS, has_masks=False)
    rows, errors = make_targets(dataset, pseudo_archive(tmp_path / "p"), params(source="pseudo_masks", sigma=0.0))
    assert errors == []
    assert {row["true"] for row in rows} == {""}
    assert targets_of(rows)["b"] == pytest.approx({0: 0.5, 2: 0.5})


def test_a_class_that_no_mask_shows_gets_the_mean_size_of_the_others(make_dataset: Maker, tmp_path: Path) -> None:
    dataset = make_dataset(tags=TAGS | {"c": [2]})
    with write_zip(tmp_path / "p") as archive:
        for key, mask in PSEUDO.items():
            archive.png(f"masks/{key}.png", np.where(mask == 2, 0, mask).astype(np.uint8))
    rows, _ = make_targets(dataset, ZipReader(tmp_path / "p"), params(source="pseudo_masks", sigma=0.0))
    assert targets_of(rows)["a"] == pytest.approx({0: 0.4 / 1.6, 1: 0.6 / 1.6, 2: 0.6 / 1.6})
    assert targets_of(rows)["c"] == pytest.approx({0: 0, 2: 1})
