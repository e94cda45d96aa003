"""The tables of size targets and of their errors, from a small data set on disk."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from stages.core.faults import Fault
from stages.core.files import ZipReader, csv_text, write_zip
from stages.core.params import Params
from stages.size_targets.errors import SHARES
from stages.size_targets.targets import COLUMNS, CORRUPTIONS, make_targets
from tests.size_targets.conftest import MASKS, PARAMS, Maker

NO_MASKS = ZipReader(Path("/none"))  # not read where sizes come from the truth
NO_FILE = Path("stages/size_targets/imported.py")  # what params.yaml has for none


WITHOUT = [name for name in CORRUPTIONS if name != "biased"]  # what suits a data set without background


def params(**changes: object) -> Params:
    """The section with some values changed."""
    return Params(PARAMS | changes)


def test_rows_by_hand(make_dataset: Maker) -> None:
    rows, _ = make_targets(make_dataset(), NO_MASKS, NO_FILE, params(corruption="none"))
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
    rows, _ = make_targets(make_dataset(), NO_MASKS, NO_FILE, params(corruption="none", void="included"))
    assert [row["true"] for row in rows] == ["0.5", "0.375", "0.125", "0", "1", "1"]


def test_without_background_only_present_classes_have_rows(make_dataset: Maker) -> None:
    rows, errors = make_targets(make_dataset(background=False), NO_MASKS, NO_FILE, params(renormalise="all"))
    assert [(row["id"], row["class"]) for row in rows] == [("a", 0), ("a", 1), ("a", 2), ("b", 2), ("c", 0)]
    assert [row["group"] for row in errors] == ["all", "sky", "cat", "dog", "small", "medium", "large", *SHARES]
    assert errors[0]["n"] == 5


def test_corrupted_targets_sum_to_one_and_leave_the_truth(make_dataset: Maker) -> None:
    exact, _ = make_targets(make_dataset(), NO_MASKS, NO_FILE, params(sigma=0.0))
    rows, _ = make_targets(make_dataset(), NO_MASKS, NO_FILE, params())
    assert [row["true"] for row in rows] == [row["target"] for row in exact]
    assert [row["target"] for row in rows] != [row["target"] for row in exact]
    for image_id in MASKS:
        total = sum(float(row["target"]) for row in rows if row["id"] == image_id)
        assert total == pytest.approx(1, abs=3e-9)


def test_a_new_image_changes_no_other(make_dataset: Maker) -> None:
    before, _ = make_targets(make_dataset(), NO_MASKS, NO_FILE, params())
    after, _ = make_targets(make_dataset({"0": MASKS["a"], **MASKS, "d": MASKS["a"]}), NO_MASKS, NO_FILE, params())
    assert [row for row in after if row["id"] in MASKS] == before


def test_faults(make_dataset: Maker) -> None:
    for change, message in [
        ({"source": "dream"}, "no size_targets.source 'dream'; there is masks"),
        ({"void": "both"}, "no size_targets.void 'both'"),
        ({"corruption": "laplace"}, "no size_targets.corruption 'laplace'"),
    ]:
        with pytest.raises(Fault, match=message):
            make_targets(make_dataset(), NO_MASKS, NO_FILE, params(**change))
    for change, message in [({}, "use all"), ({"corruption": "biased"}, "biased needs a background")]:
        with pytest.raises(Fault, match=message):
            make_targets(make_dataset(background=False), NO_MASKS, NO_FILE, params(**change))


def test_sizes_that_cannot_be_measured_are_no_rows(make_dataset: Maker) -> None:
    assert make_targets(make_dataset(has_masks=False), NO_MASKS, NO_FILE, params()) == ([], [])


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
    rows, errors = make_targets(
        dataset, pseudo_archive(tmp_path / "p"), NO_FILE, params(source="pseudo_masks", sigma=0.0)
    )
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
    rows, _ = make_targets(make_dataset(tags=TAGS), pseudo_archive(tmp_path / "p"), NO_FILE, changed)
    assert targets_of(rows)["b"] == pytest.approx({0: 4 / 7, 2: 3 / 7})


def test_sizes_of_pseudo_masks_need_no_true_masks(make_dataset: Maker, tmp_path: Path) -> None:
    dataset = make_dataset(tags=TAGS, has_masks=False)
    rows, errors = make_targets(
        dataset, pseudo_archive(tmp_path / "p"), NO_FILE, params(source="pseudo_masks", sigma=0.0)
    )
    assert errors == []
    assert {row["true"] for row in rows} == {""}
    assert targets_of(rows)["b"] == pytest.approx({0: 0.5, 2: 0.5})


def test_a_class_that_no_mask_shows_gets_the_mean_size_of_the_others(make_dataset: Maker, tmp_path: Path) -> None:
    dataset = make_dataset(tags=TAGS | {"c": [2]})
    with write_zip(tmp_path / "p") as archive:
        for key, mask in PSEUDO.items():
            archive.png(f"masks/{key}.png", np.where(mask == 2, 0, mask).astype(np.uint8))
    rows, _ = make_targets(dataset, ZipReader(tmp_path / "p"), NO_FILE, params(source="pseudo_masks", sigma=0.0))
    assert targets_of(rows)["a"] == pytest.approx({0: 0.4 / 1.6, 1: 0.6 / 1.6, 2: 0.6 / 1.6})
    assert targets_of(rows)["c"] == pytest.approx({0: 0, 2: 1})


def test_sizes_of_a_file_by_hand(make_dataset: Maker, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    path = tmp_path / "sizes.csv"
    path.write_text("image,class,percent\na,cat,40\nb,dog,70\n")
    dataset = make_dataset(tags=TAGS)
    rows, errors = make_targets(dataset, NO_MASKS, path, params(source="file", corruption="none"))
    assert targets_of(rows) == {"a": {0: 0.3, 1: 0.4, 2: 0.3}, "b": {0: 0.3, 2: 0.7}, "c": {0: 1}}
    assert (
        "1 of the 3 tags have no size; they are handled as size_targets.missing says: tags" in capsys.readouterr().err
    )
    assert errors[0]["mean_relative_error"] == pytest.approx((0.2 + 0.8 + 0.3) / 3)
    mean, _ = make_targets(dataset, NO_MASKS, path, params(source="file", corruption="none", missing="class_mean"))
    assert targets_of(mean)["a"] == pytest.approx({0: 0.3, 1: 0.4, 2: 0.3})  # 0.7 is more than there is
    tags, _ = make_targets(dataset, NO_MASKS, path, params(source="file", corruption="none", missing="image_tags"))
    assert targets_of(tags)["a"] == pytest.approx({0: 1 / 3, 1: 1 / 3, 2: 1 / 3})
    assert targets_of(tags)["b"] == targets_of(rows)["b"]


def test_sizes_of_a_file_need_no_true_masks(make_dataset: Maker, tmp_path: Path) -> None:
    path = tmp_path / "sizes.csv"
    path.write_text("image,class,fraction\na,cat,0.4\n")
    rows, errors = make_targets(
        make_dataset(tags=TAGS, has_masks=False), NO_MASKS, path, params(source="file", sigma=0.0)
    )
    assert errors == []
    assert targets_of(rows)["a"] == {0: 0.3, 1: 0.4, 2: 0.3}


def test_sizes_of_boxes_by_hand(make_dataset: Maker, tmp_path: Path) -> None:
    """In a the cat's only part has a box of 3 pixels x 2, and the dog is one pixel; in b the dog fills the image."""
    dataset = make_dataset(tags=TAGS)
    rows, _ = make_targets(dataset, NO_MASKS, NO_FILE, params(source="boxes", corruption="none"))
    assert targets_of(rows) == {
        "a": {0: 1 - 0.375 - 0.0625, 1: 0.375, 2: 0.0625},
        "b": {0: 0.5, 2: 0.5},
        "c": {0: 1},
    }
    path = tmp_path / "boxes.csv"
    path.write_text("image,class,xmin,ymin,xmax,ymax\nb,dog,0,0,2,2\n")
    rows, _ = make_targets(dataset, NO_MASKS, path, params(source="boxes", corruption="none"))
    assert targets_of(rows)["b"] == {0: 0.75, 2: 0.25}
    assert targets_of(rows)["a"] == pytest.approx({0: 1 / 3, 1: 1 / 3, 2: 1 / 3})


def test_the_source_file_needs_a_file(make_dataset: Maker) -> None:
    with pytest.raises(Fault, match="size_targets.source file needs size_file"):
        make_targets(make_dataset(tags=TAGS), NO_MASKS, NO_FILE, params(source="file"))


def many(count: int) -> dict[str, np.ndarray]:
    """Random masks of 16 x 16 pixels with up to two objects."""
    random = np.random.default_rng(0)
    masks = {}
    for number in range(count):
        mask = np.zeros((16, 16), np.uint8)
        for label in (1, 2):
            side = random.integers(0, 12)
            mask[random.integers(0, 4) :][:side, random.integers(0, 4) :][:, :side] = label
        masks[f"image{number}"] = mask
    return masks


@pytest.mark.parametrize(
    ("corruption", "background"), [*((name, True) for name in CORRUPTIONS), *((name, False) for name in WITHOUT)]
)
def test_every_corruption_keeps_the_classes_and_the_sum(make_dataset: Maker, corruption: str, background: bool) -> None:
    dataset = make_dataset(many(60), background=background)
    rows, _ = make_targets(dataset, NO_MASKS, NO_FILE, params(corruption=corruption, renormalise="all", sigma=1.5))
    for image_id in dataset.ids("train"):
        found = [row for row in rows if row["id"] == image_id]
        assert sum(float(row["target"]) for row in found) == pytest.approx(1, abs=1e-8)
        assert all(float(row["target"]) > 0 for row in found if row["true"] != "0")
    changed = sum(row["true"] != row["target"] for row in rows)
    assert (changed > len(rows) / 5) == (corruption != "none")


@pytest.mark.parametrize("corruption", CORRUPTIONS)
def test_of_every_corruption_a_new_image_changes_no_other(make_dataset: Maker, corruption: str) -> None:
    """But of `swapped` one at most, whose partner it becomes."""
    masks = many(41)
    *old, _ = masks
    before, _ = make_targets(
        make_dataset({key: masks[key] for key in old}), NO_MASKS, NO_FILE, params(corruption=corruption)
    )
    after, _ = make_targets(make_dataset(masks), NO_MASKS, NO_FILE, params(corruption=corruption))
    changed = {old["id"] for old, new in zip(before, after, strict=False) if old != new}
    assert len(changed) <= (corruption == "swapped")


def test_corruptions_by_hand(make_dataset: Maker) -> None:
    """Image a is 1/3 background, 1/2 cat and 1/6 dog."""

    def found(**changes: object) -> dict[int, float]:
        rows, _ = make_targets(make_dataset(), NO_MASKS, NO_FILE, params(**changes))
        return targets_of(rows)["a"]

    assert found(corruption="biased", factor=1.2) == pytest.approx({0: 0.2, 1: 0.6, 2: 0.2})
    rest = 0.001 / 3
    assert found(corruption="biased", factor=9.0) == pytest.approx(
        {0: rest, 1: 0.75 * (1 - rest), 2: 0.25 * (1 - rest)}
    )
    assert found(corruption="quantised", step=0.1) == pytest.approx({0: 0.3, 1: 0.5, 2: 0.2})
    few = np.sqrt([0.1 * 0.4, 0.4])
    scale = (1 - rest) / max(few.sum(), 1 - rest)
    assert found(corruption="quantised", bins=[0.1, 0.4]) == pytest.approx(
        {0: 1 - few.sum() * scale, 1: few[1] * scale, 2: few[0] * scale}
    )
    assert found(corruption="missing", share=1.0) == pytest.approx({0: 1 / 3, 1: 1 / 3, 2: 1 / 3})
    assert found(corruption="missing", share=0.0) == found(corruption="none")
    assert found(corruption="human", scale=0.0) == found(corruption="none")
    assert found(corruption="lognormal", sigma=0.0) == found(corruption="none")
    assert found(corruption="human", scale=2.0) != found(corruption="human")
