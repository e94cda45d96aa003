"""The room from archives to tables, against counts made straight from the pictures."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from stages.core.dataset import Dataset
from stages.core.faults import Fault
from stages.core.files import ZipReader, read_csv, read_json
from stages.core.stage import Stage
from stages.evaluate.__main__ import main
from stages.evaluate.images import evaluate_images

Build = Callable[..., Stage]


def truth_and_prediction(stage: Stage, split: str) -> list[tuple[str, np.ndarray, np.ndarray, np.ndarray | None]]:
    dataset, predictions = Dataset(stage.deps["dataset"]), ZipReader(stage.deps["predictions"])
    return [
        (name, dataset.mask(name), predictions.png(f"masks/{name}.png"), dataset.instances(name))
        for name in dataset.ids(split)
    ]


def table(stage: Stage, name: str) -> list[dict[str, str]]:
    return read_csv(stage.outs[name])


def test_miou_equals_pixel_counts(build: Build) -> None:
    stage = build()
    main(stage)
    rows = {row["split"]: row for row in table(stage, "miou")}
    assert list(rows) == ["val", "test", "balanced"]
    _, masks, predictions, _ = zip(*truth_and_prediction(stage, "test"), strict=True)
    truth, predicted = np.stack(masks), np.stack(predictions)
    predicted = np.where(truth == 255, 255, predicted)
    iou = [((truth == c) & (predicted == c)).sum() / ((truth == c) | (predicted == c)).sum() for c in range(3)]
    assert float(rows["test"]["miou"]) == pytest.approx(np.mean(iou), rel=1e-5)
    assert float(rows["test"]["miou_fg"]) == pytest.approx(np.mean(iou[1:]), rel=1e-5)
    share = (truth == 0).sum() / (truth != 255).sum()
    assert float(rows["test"]["all_background_miou"]) == pytest.approx(share / 3, rel=1e-5)
    right = (truth == predicted)[truth != 255].mean()
    assert float(rows["test"]["pixel_accuracy"]) == pytest.approx(right, rel=1e-5)
    assert (rows["test"]["mode"], rows["test"]["instances_from"]) == ("exact", "instance_map")
    assert (rows["test"]["images"], rows["balanced"]["images"]) == ("12", "3")

    per_class = {row["class"]: row for row in table(stage, "per_class") if row["split"] == "test"}
    assert [float(per_class[name]["iou"]) for name in ("background", "cat", "dog")] == pytest.approx(iou, rel=1e-5)
    assert per_class["cow"]["iou"] == per_class["cow"]["ia_iou"] == ""
    assert (per_class["cow"]["precision"], per_class["cow"]["instances"]) == ("0", "0")
    assert per_class["background"]["instances"] == "12"
    for column, axis in (("precision", predicted), ("recall", truth)):
        cat = ((truth == 1) & (predicted == 1)).sum() / (axis == 1).sum()
        assert float(per_class["cat"][column]) == pytest.approx(cat, rel=1e-5)


def test_ia_miou_equals_the_means_of_the_instance_table(build: Build) -> None:
    stage = build()
    main(stage)
    instances = [row for row in table(stage, "instances") if row["id"].startswith("test/")]
    row = next(row for row in table(stage, "miou") if row["split"] == "test")
    per_class = {r["class"]: r for r in table(stage, "per_class") if r["split"] == "test"}
    assert len(instances) == int(row["instances"])
    assert sum(int(per_class[name]["instances"]) for name in ("cat", "dog")) == len(instances)

    def mean(name: str, size: str | None = None) -> float:
        chosen = [float(r["iou"]) for r in instances if r["class"] == name and size in (None, r["bin"])]
        return np.mean(chosen) if chosen else np.nan

    background = []
    for _, mask, prediction, _ in truth_and_prediction(stage, "test"):
        true, predicted = (mask == 0), (prediction == 0) & (mask != 255)
        background.append((true & predicted).sum() / (true | predicted).sum())
    assert float(per_class["background"]["ia_iou"]) == pytest.approx(np.mean(background), rel=1e-5)
    expected = np.mean([np.mean(background), mean("cat"), mean("dog")])
    assert float(row["ia_miou"]) == pytest.approx(expected, rel=1e-5)
    by_size = {(r["class"], r["size"]): r for r in table(stage, "per_class_size") if r["split"] == "test"}
    assert {name for name, _ in by_size} == {"cat", "dog"}
    for column, size in {"ia_s": "small", "ia_m": "medium", "ia_l": "large"}.items():
        values = [mean(name, size) for name in ("cat", "dog")]
        written = [float(by_size.get((name, size), {}).get("ia_iou", "nan")) for name in ("cat", "dog")]
        assert written == pytest.approx(values, rel=1e-5, nan_ok=True)
        defined = [value for value in values if not np.isnan(value)]
        expected = np.mean(defined) if defined else np.nan
        assert float(row[column] or "nan") == pytest.approx(expected, rel=1e-5, nan_ok=True)


def test_the_instance_table_lists_every_instance_once(build: Build) -> None:
    stage = build(predicted=("val", "test"), balanced=(9, 9, 11))
    main(stage)
    rows = table(stage, "instances")
    expected = {}
    for split in ("val", "test"):
        for name, mask, prediction, ids in truth_and_prediction(stage, split):
            for identity in np.unique(ids[(ids > 0) & (ids < 65535)]):
                inside = ids == identity
                label = mask[inside][0]
                expected[name, str(identity)] = (
                    ("background", "cat", "dog")[label], str(inside.sum()), (prediction[inside] == label).any()
                )  # fmt: skip
    assert {(r["id"], r["instance"]): (r["class"], r["size"], r["missed"] == "0") for r in rows} == expected
    assert len(rows) == len(expected)
    assert {r["bin"] for r in rows if int(r["size"]) >= 40} == {"large"}
    assert {r["bin"] for r in rows if int(r["size"]) < 20} == {"small"}


def test_confusion_shares_are_rows_that_sum_to_one(build: Build) -> None:
    stage = build(predictions=lambda number, _: np.full((24, 24), 255 if number == 10 else 1, np.uint8))
    main(stage)
    rows = table(stage, "confusion")
    masks = np.stack([mask for _, mask, _, _ in truth_and_prediction(stage, "test")])
    assert {row["actual"] for row in rows} == {"background", "cat", "dog"}
    for actual, label in (("background", 0), ("cat", 1), ("dog", 2)):
        shares = {row["predicted"]: float(row["share"]) for row in rows if row["actual"] == actual}
        assert list(shares) == ["background", "cat", "dog", "cow", "(none)"]
        assert sum(shares.values()) == pytest.approx(1)
        undecided = (masks[2] == label).sum() / (masks == label).sum()
        assert shares["(none)"] == pytest.approx(undecided, rel=1e-5)
        assert shares["cat"] == pytest.approx(1 - undecided, rel=1e-5)
    assert sum(int(row["pixels"]) for row in rows) == (masks != 255).sum()


def test_iou_by_size_averages_octaves(build: Build) -> None:
    stage = build()
    main(stage)
    rows = table(stage, "iou_by_size")
    instances = [row for row in table(stage, "instances") if row["id"].startswith("test/")]
    assert sum(int(row["instances"]) for row in rows) == len(instances)
    for row in rows:
        middle = float(row["size"])
        inside = [float(r["iou"]) for r in instances if middle / 2**0.5 <= int(r["size"]) + 0.001 < middle * 2**0.5]
        assert float(row["iou"]) == pytest.approx(np.mean(inside), rel=1e-5)
        assert int(row["instances"]) == len(inside)
        assert 2 ** float(row["log2_size"]) == pytest.approx(middle, rel=1e-5)


def test_summary(build: Build) -> None:
    stage = build()
    main(stage)
    summary = read_json(stage.outs["summary"])
    rows = {row["split"]: row for row in table(stage, "miou")}
    keys = ["miou", "ia_miou", "ia_s", "ia_m", "ia_l", "balanced_ia_miou", "pseudo_mask_miou", "size_error"]
    assert list(summary) == keys
    assert [summary[key] for key in keys[:5]] == pytest.approx([float(rows["test"][key]) for key in keys[:5]], abs=1e-5)
    assert summary["balanced_ia_miou"] == pytest.approx(float(rows["balanced"]["ia_miou"]), abs=1e-5)
    assert (summary["pseudo_mask_miou"], summary["size_error"]) == (0.25, 0.125)


def test_an_empty_balanced_set_has_no_row_and_no_key(build: Build) -> None:
    stage = build(balanced=())
    main(stage)
    assert "balanced_ia_miou" not in read_json(stage.outs["summary"])
    assert [row["split"] for row in table(stage, "miou")] == ["val", "test"]


def test_a_size_that_no_instance_has_is_left_out_of_the_summary(build: Build) -> None:
    stage = build(headline="val", instances=False)
    main(stage)
    sizes = {row["bin"] for row in table(stage, "instances") if row["id"].startswith("val/")}
    summary = read_json(stage.outs["summary"])
    assert {key for key in ("ia_s", "ia_m", "ia_l") if key in summary} == {f"ia_{size[0]}" for size in sizes}
    assert {row["instances_from"] for row in table(stage, "miou")} == {"components"}


def test_the_truth_as_prediction_scores_one(build: Build) -> None:
    stage = build(predictions=lambda _, mask: mask)
    main(stage)
    summary = read_json(stage.outs["summary"])
    assert {summary[key] for key in ("miou", "ia_miou", "balanced_ia_miou")} == {1.0}


def test_twice_the_same_bytes(build: Build) -> None:
    stage = build()

    def content() -> dict[str, bytes]:
        main(stage)
        folder = stage.outs["samples"]
        files = [*(path for path in stage.outs.values() if path != folder), *sorted(folder.iterdir())]
        return {path.name: path.read_bytes() for path in files}

    first = content()
    (stage.outs["samples"] / "old.png").write_bytes(b"")
    assert content() == first
    sizes = {row["bin"] for row in table(stage, "instances") if row["id"].startswith("test/")}
    assert {f"worst_{size}.png" for size in sizes} <= set(first)
    assert len(first) == 8 + 3 + len(sizes)


def test_processes_change_nothing(build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    stage = build()
    dataset, predictions = Dataset(stage.deps["dataset"]), ZipReader(stage.deps["predictions"])
    splits = {"test": dataset.ids("test"), "both": dataset.ids("val") + dataset.ids("test")}
    monkeypatch.setattr("stages.core.pool.SERIAL", 0)
    monkeypatch.setenv("SIZEWISE_JOBS", "1")
    matrices, results = evaluate_images(dataset, predictions, splits, "exact")
    monkeypatch.setenv("SIZEWISE_JOBS", "2")
    matrices_of_two, results_of_two = evaluate_images(dataset, predictions, splits, "exact")
    np.testing.assert_equal(matrices_of_two, matrices)
    assert list(results_of_two) == list(results)
    for image_id, result in results.items():
        np.testing.assert_equal(results_of_two[image_id].__dict__, result.__dict__)


def test_a_prediction_of_another_size_is_named(build: Build) -> None:
    stage = build(predictions=lambda number, _: np.zeros((24, 23), np.uint8))
    with pytest.raises(Fault, match=r"val/000 .*\(24, 24\).*\(24, 23\)"):
        main(stage)


def test_a_prediction_beyond_the_classes_is_named(build: Build) -> None:
    stage = build(predictions=lambda number, _: np.full((24, 24), 9 if number == 10 else 0, np.uint8))
    with pytest.raises(Fault, match=r"test/010 .*\[9\]"):
        main(stage)


def test_a_headline_that_is_not_predicted_is_refused(build: Build) -> None:
    with pytest.raises(Fault, match="'test'.*predict.splits"):
        main(build(predicted=("val",)))


def test_the_share_of_missed_instances_and_the_intervals(build: Build) -> None:
    stage = build()
    main(stage)
    instances = [row for row in table(stage, "instances") if row["id"].startswith("test/")]
    for row in table(stage, "per_class_size"):
        if row["split"] == "test":
            own = [r for r in instances if (r["class"], r["bin"]) == (row["class"], row["size"])]
            assert int(row["instances"]) == len(own) > 0
            assert float(row["missed"]) == pytest.approx(np.mean([r["missed"] == "1" for r in own]), rel=1e-5)
    values = next(row for row in table(stage, "miou") if row["split"] == "test")
    found = {row["score"]: row for row in table(stage, "intervals") if row["split"] == "test"}
    assert {"miou", "ia_miou", "ia_miou_fg", "dice", "boundary_iou", "miou_i"} <= set(found)
    for name, row in found.items():
        assert row["value"] == values[name]
        assert 0 <= float(row["low"]) <= float(row["value"]) <= float(row["high"]) <= 1


def test_the_mode_is_written_beside_the_numbers(build: Build) -> None:
    stage = build(mode="paper")
    main(stage)
    assert {row["mode"] for row in table(stage, "miou")} == {"paper"}
