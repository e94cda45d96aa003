"""Thresholds that a rule chooses for a small data set on disk, and the tables about them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from stages.core.dataset import Dataset, DatasetInfo, ImageRecord, write_header
from stages.core.faults import Fault
from stages.core.files import ZipReader, write_zip
from stages.core.metrics.confusion import confusion_matrix, mean_iou
from stages.core.params import Params
from stages.core.two_thresholds import label_scores, upsample
from stages.refine.one_image import best_labels, score_steps, spread, walk_scores
from stages.refine.pseudo_masks import Tables, spread_over, write_pseudo_masks

PLAIN = {"foreground": 0.5, "background": 0.3, "threshold": "fixed", "validation_images": 4}
PLAIN |= {"walk": "none", "pamr": "none", "crf": "none"}
PAMR = {"kernel": "pamr", "dilations": [1, 2], "iterations": 3}
WALK = {"radius": 3, "beta": 4, "steps": 4}
SIZE = (12, 16)
COUNTS = {"train": 14, "val": 9}


@dataclass
class Data:
    """A prepared data set with the files that `refine` reads."""

    folder: Path
    dataset: Dataset

    def write(self, values: dict, imported: Path | None = None) -> Tables:
        """Pseudo masks in out.zip, by the plain recipe with some values changed."""
        zips = (self.folder / name for name in ("cam.zip", "edges.zip"))
        return write_pseudo_masks(self.folder / "out.zip", self.dataset, *zips, Params(PLAIN | values), imported)

    def scores(self, image_id: str) -> np.ndarray:
        """The scores of an image's activation maps."""
        return upsample(ZipReader(self.folder / "cam.zip").array(f"{image_id}.npy"), SIZE)


def make(folder: Path, background: bool = True, masks: bool = True, tagged: bool = True, void: bool = False) -> Data:
    """Images with objects of two classes that the activation maps overrun, some with a single class or none."""
    folder.mkdir()
    random = np.random.default_rng(4)
    palette = tuple((n, n, n) for n in range(256))
    names = ("background", "cat", "dog")[1 - background :]
    info = DatasetInfo("few", names, background, palette, (20, 40), "masks", masks, False)
    records, tags = [], {}
    with (
        write_zip(folder / "raw.zip") as raw,
        write_zip(folder / "dataset.zip") as archive,
        write_zip(folder / "cam.zip") as cams,
        write_zip(folder / "edges.zip") as edges,
    ):
        for split, count in COUNTS.items():
            for number in range(count):
                key, mask = f"{split}{number}", np.zeros(SIZE, np.uint8)
                for label in (1, 2):
                    if (number + label) % 3:
                        top, left = random.integers(0, 6), random.integers(0, 8)
                        mask[top : top + 5, left : left + 7] = label
                image = random.integers(0, 60, (*SIZE, 3), dtype=np.uint8) + mask[..., None] * 60
                shown = [label for label in (1, 2) if tagged and (mask == label).any()]
                maps = [(mask == label) * 130 + random.integers(0, 126, SIZE) for label in shown]
                small = np.array(maps, np.uint8).reshape(-1, *SIZE)[:, ::2, ::2]
                tags[key] = [label - (not background) for label in shown]
                records.append(ImageRecord(key, (split,), f"raw:{key}.png", *SIZE, ""))
                mask[random.random(SIZE) < 0.05] = 255
                truth = np.full(SIZE, 255) if void else mask if background else np.where(mask == 255, 255, mask - 1)
                raw.png(f"{key}.png", image)
                cams.array(f"{key}.npy", small)
                edges.array(f"{key}.npy", random.integers(0, 200, (6, 8), dtype=np.uint8))
                if masks:
                    archive.png(f"masks/{key}.png", truth.astype(np.uint8))
        write_header(archive, info, records, tags)
    return Data(folder, Dataset(folder / "dataset.zip", folder / "raw.zip"))


@pytest.fixture
def data(tmp_path: Path) -> Data:
    """With background and masks."""
    return make(tmp_path / "data")


def by_rule(tables: Tables) -> dict[str, dict]:
    """The rows of thresholds.csv by rule."""
    return {row["rule"]: row for row in tables.thresholds}


def mious(data: Data, ids: list[str]) -> np.ndarray:
    """mIoU of the labelling of some images by each threshold k / 255, (256,), one after the other."""
    dataset, result = data.dataset, []
    images = [(data.scores(key), dataset.tags(key), dataset.mask(key)) for key in ids]
    for level in range(256):
        floor = (level + 1e-3) / 255  # what float32 puts just above a level is on it
        found = [confusion_matrix(truth, best_labels(scores, tags, True, floor), 3) for scores, tags, truth in images]
        result.append(mean_iou(sum(found)))
    return np.array(result)


def test_every_rule_is_reported_whichever_is_used(data: Data) -> None:
    """Rows agree with labelling the images threshold by threshold, and do not depend on which rule is in use."""
    curves = {split: mious(data, data.dataset.ids(split)) for split in ("train", "val")}
    some = mious(data, spread_over(data.dataset.ids("val"), 4))
    tables = {rule: data.write({"threshold": rule}) for rule in ("fixed", "validation", "unsupervised")}
    for used, found in tables.items():
        rows = by_rule(found)
        assert list(rows) == ["fixed", "validation", "unsupervised", "oracle"]
        assert [row["chosen"] for row in rows.values()] == [int(rule == used) for rule in rows]
        assert [row["images"] for row in rows.values()] == [0, 4, 14, 14]
        for row in rows.values():
            level = round(row["threshold"] * 255)
            assert (row["miou_train"], row["miou_val"]) == pytest.approx((curves["train"][level], curves["val"][level]))
        assert some[round(rows["validation"]["threshold"] * 255)] == pytest.approx(some.max())
        assert rows["oracle"]["miou_train"] == pytest.approx(curves["train"].max())
        same = by_rule(tables["fixed"])
        assert all(row | {"chosen": 0} == same[rule] | {"chosen": 0} for rule, row in rows.items())
    for split, curve in curves.items():
        np.testing.assert_allclose([row["miou"] for row in tables["fixed"].curve if row["split"] == split], curve)


@pytest.mark.parametrize("rule", ["fixed", "validation", "unsupervised"])
def test_the_pair_of_the_rule_labels_the_pseudo_masks(data: Data, rule: str) -> None:
    tables = data.write({"threshold": rule})
    row = by_rule(tables)[rule]
    assert row["foreground"] - row["background"] == pytest.approx(0.2)
    assert (row["foreground"] + row["background"]) / 2 == pytest.approx(row["threshold"])
    assert (row["foreground"] == 0.5) == (rule == "fixed")
    thresholds = Params({"foreground": row["foreground"], "background": row["background"], "crf": "none"})
    archive = ZipReader(data.folder / "out.zip")
    for split in COUNTS:
        for key in data.dataset.ids(split):
            scores, tags = data.scores(key), data.dataset.tags(key)
            expected = label_scores(data.dataset.image(key), scores, tags, True, thresholds)
            np.testing.assert_array_equal(archive.png(f"masks/{key}.png"), expected)


def test_any_number_of_workers_gives_the_same_tables_and_bytes(data: Data, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stages.core.pool.SERIAL", 0)
    found = {}
    for jobs in (1, 2):
        monkeypatch.setenv("SIZEWISE_JOBS", str(jobs))
        tables = data.write({"threshold": "validation", "walk": WALK, "pamr": PAMR})
        found[jobs] = repr(tables), (data.folder / "out.zip").read_bytes()
    assert found[1] == found[2]


def test_steps_in_order_with_what_each_is_worth(data: Data) -> None:
    """Without a CRF the pseudo masks are the last step, void for background; each step is as without the later ones."""
    whole = data.write({"walk": WALK, "pamr": PAMR})
    steps = ["cam", "walk", "pamr", "pseudo_mask"]
    assert [(row["split"], row["step"]) for row in whole.steps] == [(split, name) for split in COUNTS for name in steps]
    rows = {(row["split"], row["step"]): row for row in whole.steps}
    walked = {(row["split"], row["step"]): row for row in data.write({"walk": WALK}).steps}
    for split in COUNTS:
        last, masks = rows[split, "pamr"], rows[split, "pseudo_mask"]
        for name in ("miou", "precision", "recall", "ia_miou", "ia_s", "ia_m", "ia_l"):
            np.testing.assert_equal(last[name], masks[name])
        assert last["void"] == 0 < masks["void"]
        assert np.isnan(masks["ece"])
        for name in ("cam", "walk"):
            np.testing.assert_equal(rows[split, name], walked[split, name])
            assert 0 < rows[split, name]["ece"] < 1
        cam = next(row for row in whole.cam if (row["split"], row["class"]) == (split, "mean"))
        assert (rows[split, "cam"]["miou"], rows[split, "cam"]["ia_s"]) == (cam["iou"], cam["ia_s"])
        parts = sum(row["ece_part"] for row in whole.calibration if row["split"] == split)
        assert last["ece"] == pytest.approx(parts)


def test_without_masks_there_is_no_truth_to_tune_on(data: Data, tmp_path: Path) -> None:
    """The unsupervised threshold is what it is with masks; nothing is scored, and validation is refused."""
    blind = make(tmp_path / "blind", masks=False)
    rows = by_rule(blind.write({"threshold": "unsupervised"}))
    assert list(rows) == ["fixed", "unsupervised"]
    assert rows["unsupervised"]["threshold"] == by_rule(data.write({}))["unsupervised"]["threshold"]
    assert np.isnan([[row["miou_train"], row["miou_val"]] for row in rows.values()]).all()
    tables = blind.write({})
    assert (tables.curve, tables.calibration) == ([], [])
    assert all(np.isnan([row["miou"], row["ia_miou"], row["ece"]]).all() for row in tables.steps)
    (blind.folder / "out.zip").unlink()
    with pytest.raises(Fault, match="validation needs masks of val, and data set few has none"):
        blind.write({"threshold": "validation"})
    assert not (blind.folder / "out.zip").exists()


def test_truth_that_is_all_void(tmp_path: Path) -> None:
    data = make(tmp_path / "data", void=True)
    with pytest.raises(Fault, match="validation finds none in data set few: no pixel of its images has a true label"):
        data.write({"threshold": "validation"})
    assert list(by_rule(data.write({"threshold": "unsupervised"}))) == ["fixed", "unsupervised"]


def test_images_without_tags(tmp_path: Path) -> None:
    """There are no scores to part; any threshold is as good as another on masks, since all is background."""
    data = make(tmp_path / "data", tagged=False)
    with pytest.raises(Fault, match="unsupervised finds none in data set few: its images have no two different scores"):
        data.write({"threshold": "unsupervised"})
    tables = data.write({"threshold": "validation"})
    assert list(by_rule(tables)) == ["fixed", "validation", "oracle"]
    assert tables.calibration == []
    assert not any(ZipReader(data.folder / "out.zip").png(f"masks/train{number}.png").any() for number in range(14))


def test_without_background_only_fixed_makes_sense(tmp_path: Path) -> None:
    data = make(tmp_path / "data", background=False)
    for rule in ("validation", "unsupervised"):
        with pytest.raises(Fault, match=f"{rule} needs a background, which data set few lacks"):
            data.write({"threshold": rule})
    rows = by_rule(data.write({}))
    assert list(rows) == ["fixed", "oracle"]
    assert (rows["fixed"]["threshold"], rows["fixed"]["foreground"]) == (0.5, 0.5)
    assert np.isnan(rows["fixed"]["background"])
    assert 0 < rows["fixed"]["miou_train"] <= rows["oracle"]["miou_train"]


def test_images_are_spread_over_the_list() -> None:
    ids = [str(number) for number in range(10)]
    assert spread_over(ids, 4) == ["0", "2", "5", "7"]
    assert spread_over(ids, 10) == spread_over(ids, 100) == ids
    assert spread_over(ids, 1) == ["0"]


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ({}, ["cam"]),
        ({"walk": WALK}, ["cam", "walk"]),
        ({"pamr": PAMR}, ["cam", "pamr"]),
        ({"walk": WALK, "pamr": PAMR}, ["cam", "walk", "pamr"]),
    ],
)
@pytest.mark.parametrize("count", [0, 1, 3])
def test_scores_step_by_step(changes: dict, names: list[str], count: int) -> None:
    """Each at the image's size and in 0..1; an image without tags has none at any step."""
    random = np.random.default_rng(0)
    image = random.integers(0, 256, (*SIZE, 3), dtype=np.uint8)
    cam, edges = random.integers(0, 256, (count, 6, 8), dtype=np.uint8), np.zeros((6, 8), np.uint8)
    steps = score_steps(image, cam, edges, Params(PLAIN | changes))
    assert list(steps) == names
    for scores in steps.values():
        assert (scores.shape, scores.dtype) == ((count, *SIZE), np.float32)
        assert not count or (scores.min() >= 0 and scores.max() <= 1 + 1e-6)
    np.testing.assert_array_equal(steps["cam"], upsample(cam, SIZE))
    before = dict(zip(names[1:], names, strict=False))
    if count and "walk" in before:
        np.testing.assert_array_equal(steps["walk"], walk_scores(cam, edges, SIZE, Params(WALK)))
    if count and "pamr" in before:
        np.testing.assert_array_equal(steps["pamr"], spread(image, steps[before["pamr"]], Params(PAMR)))
