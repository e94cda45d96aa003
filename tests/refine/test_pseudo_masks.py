"""Pseudo masks of a small data set on disk: members, bytes, scores and faults."""

from __future__ import annotations

from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from stages.core.dataset import Dataset, DatasetInfo, ImageRecord, write_header
from stages.core.faults import Fault
from stages.core.files import ZipReader, encode_png, write_zip
from stages.core.params import Params
from stages.refine.pseudo_masks import write_pseudo_masks

PLAIN = {"foreground": 0.5, "background": 0.2, "threshold": "fixed", "validation_images": 100}
PLAIN |= {"walk": "none", "pamr": "none", "crf": "none"}
CRF = {
    "confidence": 0.7,
    "kernels": {"bilateral": {"xy": 50, "rgb": 5, "weight": 10}},
    "iterations": 3,
    "backend": "pydensecrf",
}
REFINE, SMOOTH = Params(PLAIN), Params(PLAIN | {"crf": CRF})
NO_EDGES = Path("edges.zip")  # without a walk it is not read
SPLITS = {"b": ("train",), "a": ("train", "val"), "c": ("val",), "t": ("test",)}
TAGS = {"b": [1, 2], "a": [2], "c": [], "t": [1]}


@pytest.fixture
def data(tmp_path: Path) -> tuple[Dataset, Path]:
    """Four images of 8 x 12 whose left half is class 1 where tagged, and right half class 2; exact activation maps."""
    random = np.random.default_rng(0)
    palette = tuple((n, 255 - n, n // 2) for n in range(256))
    info = DatasetInfo("few", ("background", "cat", "dog"), True, palette, (2, 5), "masks", True, False)
    records = [ImageRecord(key, splits, f"raw:{key}.png", 8, 12, "") for key, splits in SPLITS.items()]
    with (
        write_zip(tmp_path / "raw.zip") as raw,
        write_zip(tmp_path / "dataset.zip") as dataset,
        write_zip(tmp_path / "cam.zip") as cams,
    ):
        write_header(dataset, info, records, TAGS)
        for key, tags in TAGS.items():
            mask = np.zeros((8, 12), np.uint8)
            for label in tags:
                mask[:, 6 * (label - 1) : 6 * label] = label
            raw.png(f"{key}.png", random.integers(0, 256, (8, 12, 3), dtype=np.uint8))
            dataset.png(f"masks/{key}.png", mask)
            cams.array(f"{key}.npy", np.stack([mask == label for label in [0, *tags]])[1:].astype(np.uint8) * 255)
    return Dataset(tmp_path / "dataset.zip", tmp_path / "raw.zip"), tmp_path / "cam.zip"


def test_members_and_scores_of_exact_maps(data: tuple[Dataset, Path], tmp_path: Path) -> None:
    dataset, cams = data
    rows = write_pseudo_masks(tmp_path / "out.zip", dataset, cams, NO_EDGES, REFINE).pseudo_mask
    archive = ZipReader(tmp_path / "out.zip")
    assert archive.names() == ["masks/b.png", "masks/a.png", "masks/c.png"]
    for image_id in "bac":
        np.testing.assert_array_equal(archive.png(f"masks/{image_id}.png"), dataset.mask(image_id))
    assert [(row["split"], row["class"]) for row in rows] == [
        (split, name) for split in ("train", "val") for name in ("background", "cat", "dog", "mean")
    ]
    assert [row["iou"] for row in rows if row["class"] == "mean"] == [1, 1]
    assert [row["void"] for row in rows if row["class"] == "mean"] == [0, 0]


def test_scores_are_pooled_over_pixels_of_a_split(data: tuple[Dataset, Path], tmp_path: Path) -> None:
    """Image a's map is cut to half: of dog's 96 pixels in train 24 are missed; in val, of 48, 24."""
    dataset, cams = data
    cut = np.zeros((1, 8, 12), np.uint8)
    cut[0, 4:, 6:] = 255
    with write_zip(tmp_path / "cut.zip") as archive:
        for image_id in "bc":
            archive.array(f"{image_id}.npy", ZipReader(cams).array(f"{image_id}.npy"))
        archive.array("a.npy", cut)
    rows = write_pseudo_masks(tmp_path / "out.zip", dataset, tmp_path / "cut.zip", NO_EDGES, REFINE).pseudo_mask
    dog = {row["split"]: row["iou"] for row in rows if row["class"] == "dog"}
    background = {row["split"]: row["iou"] for row in rows if row["class"] == "background"}
    assert dog == pytest.approx({"train": 72 / 96, "val": 24 / 48})
    assert background == pytest.approx({"train": 48 / 72, "val": 144 / 168})


def test_maps_are_scored_as_they_are_and_pseudo_masks_with_void_as_background(
    data: tuple[Dataset, Path], tmp_path: Path
) -> None:
    """Image b's map of class dog, 48 pixels, is 0.3 in one half: void between the thresholds."""
    dataset, cams = data
    half = ZipReader(cams).array("b.npy")
    half[1, :4] = half[1, :4] * 0.3
    with write_zip(tmp_path / "half.zip") as archive:
        archive.array("b.npy", half)
        for image_id in "ac":
            archive.array(f"{image_id}.npy", ZipReader(cams).array(f"{image_id}.npy"))
    found = write_pseudo_masks(tmp_path / "out.zip", dataset, tmp_path / "half.zip", NO_EDGES, REFINE)
    tables = found.cam, found.pseudo_mask
    cam, mask = ({row["class"]: row for row in rows if row["split"] == "train"} for rows in tables)
    assert cam["dog"]["iou"] == mask["dog"]["iou"] == pytest.approx(72 / 96)
    assert (cam["mean"]["void"], mask["mean"]["void"]) == pytest.approx((0, 24 / 192))
    assert mask["dog"]["iou_labelled"] == 1 > cam["dog"]["iou_labelled"]
    # one dog of 48 pixels in either image: 24 are found of the first
    assert cam["dog"]["ia_l"] == mask["dog"]["ia_l"] == pytest.approx((24 / 48 + 1) / 2)


def test_masks_are_indexed_pngs_with_the_palette(data: tuple[Dataset, Path], tmp_path: Path) -> None:
    write_pseudo_masks(tmp_path / "out.zip", *data, NO_EDGES, REFINE)
    with Image.open(BytesIO(ZipReader(tmp_path / "out.zip").bytes("masks/b.png"))) as image:
        assert image.mode == "P"
        assert image.getpalette()[3:6] == [1, 254, 0]


def test_any_number_of_workers_gives_the_same_bytes(
    data: tuple[Dataset, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stages.core.pool.SERIAL", 0)
    results = {}
    for jobs in (1, 2):
        monkeypatch.setenv("SIZEWISE_JOBS", str(jobs))
        path = tmp_path / f"{jobs}.zip"
        results[jobs] = (write_pseudo_masks(path, *data, NO_EDGES, SMOOTH), path.read_bytes())
    assert repr(results[1]) == repr(results[2])


def test_maps_of_another_data_set_are_refused(data: tuple[Dataset, Path], tmp_path: Path) -> None:
    dataset, cams = data
    with write_zip(tmp_path / "other.zip") as archive:
        archive.array("b.npy", ZipReader(cams).array("a.npy"))
    with pytest.raises(Fault, match="holds 1 maps of image b, which has 2 tags"):
        write_pseudo_masks(tmp_path / "out.zip", dataset, tmp_path / "other.zip", NO_EDGES, REFINE)
    with write_zip(tmp_path / "other.zip") as archive:
        archive.text("cam.json", "{}")
    with pytest.raises(Fault, match="has no member 'b.npy'"):
        write_pseudo_masks(tmp_path / "out.zip", dataset, tmp_path / "other.zip", NO_EDGES, REFINE)
    assert not (tmp_path / "out.zip").exists()


def test_a_walk_reads_the_boundaries_of_each_image(data: tuple[Dataset, Path], tmp_path: Path) -> None:
    """Without any boundary the map of a class ends alike everywhere; without the image's edge map there is no walk."""
    dataset, cams = data
    walk = Params(REFINE.plain() | {"walk": {"radius": 5, "beta": 10, "steps": 500}})
    with write_zip(tmp_path / "edges.zip") as archive:
        for image_id in "bac":
            archive.array(f"{image_id}.npy", np.zeros((2, 3), np.uint8))
    write_pseudo_masks(tmp_path / "out.zip", dataset, cams, tmp_path / "edges.zip", walk)
    archive = ZipReader(tmp_path / "out.zip")
    assert {image_id: np.unique(archive.png(f"masks/{image_id}.png")).tolist() for image_id in "ac"} == {
        "a": [2],
        "c": [0],
    }
    with write_zip(tmp_path / "none.zip") as archive:
        archive.text("edges.json", "{}")
    with pytest.raises(Fault, match="none.zip has no member 'b.npy'"):
        write_pseudo_masks(tmp_path / "other.zip", dataset, cams, tmp_path / "none.zip", walk)
    assert not (tmp_path / "other.zip").exists()


def label_maps(folder: Path, maps: dict[str, np.ndarray]) -> Path:
    """A folder with a PNG of each map."""
    folder.mkdir()
    for image_id, labels in maps.items():
        (folder / f"{image_id}.png").write_bytes(encode_png(labels))
    return folder


def test_masks_of_another_method_take_the_place_of_ours(data: tuple[Dataset, Path], tmp_path: Path) -> None:
    dataset, cams = data
    maps = {image_id: dataset.mask(image_id).copy() for image_id in "ab"}
    maps["a"][:4, 6:] = 255  # half of image a's dog
    source = label_maps(tmp_path / "theirs", maps)
    tables = write_pseudo_masks(tmp_path / "out.zip", dataset, cams, NO_EDGES, REFINE, source)
    cam_rows, rows = tables.cam, tables.pseudo_mask
    archive = ZipReader(tmp_path / "out.zip")
    assert archive.names() == ["masks/b.png", "masks/a.png"]  # c is of val alone, and they have none
    for image_id in "ab":
        np.testing.assert_array_equal(archive.png(f"masks/{image_id}.png"), maps[image_id])
    dog = {row["split"]: row["iou"] for row in rows if row["class"] == "dog"}
    assert dog == pytest.approx({"train": 72 / 96, "val": 24 / 48})
    assert [row["iou"] for row in cam_rows if row["class"] == "mean"] == [1, 1]
    assert (tables.thresholds, tables.curve, tables.calibration) == ([], [], [])
    assert [row["step"] for row in tables.steps] == ["cam", "pseudo_mask"] * 2


def test_without_masks_of_val_its_rows_are_left_out(data: tuple[Dataset, Path], tmp_path: Path) -> None:
    dataset, cams = data
    dataset.records["a"] = replace(dataset.records["a"], splits=("train",))
    source = label_maps(tmp_path / "theirs", {image_id: dataset.mask(image_id) for image_id in "ab"})
    tables = write_pseudo_masks(tmp_path / "out.zip", dataset, cams, NO_EDGES, REFINE, source)
    assert {row["split"] for row in tables.pseudo_mask} == {"train"}
    assert [(row["split"], row["step"]) for row in tables.steps] == [
        ("train", "cam"),
        ("train", "pseudo_mask"),
        ("val", "cam"),
    ]


def test_all_that_is_wrong_with_them_is_named(data: tuple[Dataset, Path], tmp_path: Path) -> None:
    dataset, cams = data
    out = tmp_path / "out.zip"
    only_a = label_maps(tmp_path / "a", {"a": dataset.mask("a")})
    with pytest.raises(Fault, match="b: no label map"):
        write_pseudo_masks(out, dataset, cams, NO_EDGES, REFINE, only_a)
    wrong = label_maps(tmp_path / "wrong", {"a": np.zeros((8, 11), np.uint8), "b": np.full((8, 12), 7, np.uint8)})
    with pytest.raises(Fault) as fault:
        write_pseudo_masks(out, dataset, cams, NO_EDGES, REFINE, wrong)
    for text in ("2 faults", "a.png: 8 x 11 pixels, the image has 8 x 12", "b.png: label 7, beyond the 3 classes"):
        assert text in str(fault.value)
    assert not out.exists()


def score_files(folder: Path, data: tuple[Dataset, Path], ids: str) -> Path:
    """The exact activation maps as another method would leave them: .npy dictionaries of 0-based classes."""
    dataset, cams = data
    folder.mkdir()
    for image_id in ids:
        maps = ZipReader(cams).array(f"{image_id}.npy").astype(np.float32) / 255
        classes = (dataset.tags(image_id) - 1).tolist()
        np.save(folder / image_id, dict(zip(classes, maps, strict=True)))
    return folder


def test_score_maps_of_another_method_take_the_place_of_ours(data: tuple[Dataset, Path], tmp_path: Path) -> None:
    dataset, cams = data
    empty = tmp_path / "empty.zip"  # ours are not read
    with write_zip(empty) as archive:
        archive.text("cam.json", "{}")
    scores = score_files(tmp_path / "scores", data, "ba")
    pictures = tmp_path / "pictures"
    refine = Params(PLAIN | {"threshold": "validation", "pamr": {"kernel": "pamr", "dilations": (1,), "iterations": 1}})
    found = write_pseudo_masks(tmp_path / "out.zip", dataset, empty, NO_EDGES, refine, scores, pictures)
    archive = ZipReader(tmp_path / "out.zip")
    assert archive.names() == ["masks/b.png", "masks/a.png"]  # image c of val has none
    ours = write_pseudo_masks(tmp_path / "own.zip", dataset, cams, NO_EDGES, refine)
    for image_id in "ba":
        own = ZipReader(tmp_path / "own.zip").png(f"masks/{image_id}.png")
        np.testing.assert_array_equal(archive.png(f"masks/{image_id}.png"), own)
    assert [row["step"] for row in found.steps if row["split"] == "train"] == ["cam", "pamr", "pseudo_mask"]
    assert {row["rule"] for row in found.thresholds} == {"fixed", "validation", "unsupervised", "oracle"}
    rows, own_rows = ([row["iou"] for row in tables.cam if row["split"] == "train"] for tables in (found, ours))
    assert rows == own_rows
    assert [path.name for path in pictures.iterdir()] == ["00_a.png"]


def test_score_maps_that_do_not_fit_are_named_together(data: tuple[Dataset, Path], tmp_path: Path) -> None:
    dataset, cams = data
    scores = score_files(tmp_path / "scores", data, "ba")
    np.save(scores / "b.npy", {0: np.ones((8, 12), np.float32)})  # its second tag is missing
    np.save(scores / "a.npy", {1: np.ones((12, 8), np.float32)})
    for change, count in (({}, 2), ({"threshold": "unsupervised"}, 1)):
        with pytest.raises(Fault, match="scores does not fit data set few") as caught:
            write_pseudo_masks(tmp_path / "out.zip", dataset, cams, NO_EDGES, Params(PLAIN | change), scores)
        assert sum(text in str(caught.value) for text in ("b.npy: b: no map of class 1", "b: no map", "a.npy")) >= count
    assert not (tmp_path / "out.zip").exists()
    (scores / "a.npy").unlink()
    with pytest.raises(Fault, match="a: no score maps"):
        write_pseudo_masks(tmp_path / "out.zip", dataset, cams, NO_EDGES, REFINE, scores)
