"""From the JSON files of LVIS and COCO to a folder that `stages.evaluate.score` reads."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from stages.balance.annotations import read_images
from stages.balance.mapping import CLASSES, TABLE, table
from stages.balance.pascal_b import main
from stages.core import pool
from stages.core.dataset import VOID, DatasetInfo, ImageRecord, write_header
from stages.core.faults import Fault
from stages.core.files import decode_image, read_csv, write_zip
from tests.balance.lvis_files import HEIGHT, WIDTH, Files
from tests.structure.closure import ROOT


def refused(arguments: list[str]) -> bool:
    """Whether the command ends with exit code 2."""
    with pytest.raises(SystemExit) as end:
        main(arguments)
    return end.value.code == 2


@pytest.fixture
def files(tmp_path: Path) -> Files:
    """Twenty images with one to four objects, of which one is of no class."""
    result = Files(tmp_path)
    generator = np.random.default_rng(0)
    heads = [row.synset for row in table().values() if row.head][:6]
    for number in range(1, 21):
        result.image(number)
        for place in range(generator.integers(1, 5)):
            side = int(generator.choice([8, 36, 50]))
            result.add_lvis(number, str(generator.choice(heads)), 60 * (place // 2), 80 * (place % 2), side, side)
        result.add_lvis(number, "aerosol.n.02", 110, 150, 9, 9)
    return result


def test_the_folder_and_its_score(files: Files, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    out = tmp_path / "b"
    main([*files.write(), "--out", str(out), "--images", "12"])
    assert {path.name for path in out.iterdir()} == {
        "masks", "instances", "classes.txt", "list.txt", "list.txt.sha256", "histogram.csv", "histogram.png",
        "pool.csv", "NOTE.md",
    }  # fmt: skip
    names = (out / "list.txt").read_text().splitlines()
    assert names == sorted(names)
    assert len(names) == 12
    checksum = hashlib.sha256((out / "list.txt").read_bytes()).hexdigest()
    assert checksum in (out / "NOTE.md").read_text()
    told = capsys.readouterr().out
    assert checksum in told
    for text in (told, (out / "NOTE.md").read_text()):
        assert "0 images of COCO's training set left out" in text
        assert "0 images of LVIS are in no file of COCO that was given" in text
        assert "- effective cells " in text
        assert "VOC val's histogram is not drawn beside it; that is done by --beside data/voc12/dataset.zip" in text
    for folder in ("masks", "instances"):
        assert sorted(path.stem for path in (out / folder).iterdir()) == names
    rows = read_csv(out / "pool.csv")
    assert [row["id"] for row in rows if row["chosen"] == "1"] == names
    assert len(rows) == 20
    assert {row["leakage"] for row in rows} == {"0"}

    counted = {(name, size): 0 for name in CLASSES[1:] for size in ("small", "medium", "large")}
    for name in names:
        mask, ids = (decode_image((out / folder / f"{name}.png").read_bytes()) for folder in ("masks", "instances"))
        for number in range(1, ids.max() + 1):
            area = (ids == number).sum()
            size = "small" if area < 1024 else "medium" if area < 9216 else "large"
            counted[CLASSES[mask[ids == number][0]], size] += 1
    rows = read_csv(out / "histogram.csv")
    assert {(row["class"], row["size"]): int(row["instances"]) for row in rows} == counted

    options = ["--masks", out / "masks", "--instances", out / "instances", "--classes", out / "classes.txt"]
    predictions = ["--predictions", out / "masks", "--json", tmp_path / "score.json", "--bootstrap", "0"]
    done = subprocess.run(
        [sys.executable, "-m", "stages.evaluate.score", *options, *predictions],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert '"miou": 1.0' in (tmp_path / "score.json").read_text()


def test_the_order_of_the_files_changes_no_byte(files: Files, tmp_path: Path, monkeypatch) -> None:
    main([*files.write(), "--out", str(tmp_path / "one"), "--images", "9"])
    for content in (files.lvis, files.coco):
        content["images"].reverse()
        content["categories"].reverse()
        content["annotations"].reverse()
    monkeypatch.setattr(pool, "SERIAL", 1)
    monkeypatch.setenv("SIZEWISE_JOBS", "2")
    main([*files.write(), "--out", str(tmp_path / "two"), "--images", "9"])
    first = {path.relative_to(tmp_path / "one"): path.read_bytes() for path in (tmp_path / "one").rglob("*.*")}
    second = {path.relative_to(tmp_path / "two"): path.read_bytes() for path in (tmp_path / "two").rglob("*.*")}
    assert first.keys() == second.keys()
    assert {name for name in first if first[name] != second[name]} == {Path("NOTE.md")}  # the sources' checksums


def write_voc(path: Path, classes: tuple[str, ...]) -> None:
    """dataset.zip of an image with a small dog and a medium one in split val."""
    info = DatasetInfo("voc12", classes, True, ((0, 0, 0),) * 256, (1024, 9216), "masks", True, True)
    mask, ids = np.zeros((100, 100), np.uint8), np.zeros((100, 100), np.uint16)
    for number, window in enumerate((np.s_[:5, :5], np.s_[50:90, :60]), 1):
        mask[window], ids[window] = 12, number
    path.parent.mkdir()
    with write_zip(path) as archive:
        write_header(archive, info, [ImageRecord("a", ("val",), "raw:a.png", 100, 100, "")], {"a": [12]})
        archive.png("masks/a.png", mask)
        archive.png("instances/a.png", ids)


def test_the_histogram_beside_vocs(files: Files, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    voc = tmp_path / "voc12/dataset.zip"
    write_voc(voc, CLASSES)
    options = [*files.write(), "--images", "9"]
    main([*options, "--out", str(tmp_path / "a"), "--beside", str(voc)])
    told = capsys.readouterr().out
    assert "voc12 val has 2.00 effective cells" in told
    assert "not drawn" not in told + (tmp_path / "a/NOTE.md").read_text()
    rows = {(row["class"], row["size"]): int(row["voc12 val"]) for row in read_csv(tmp_path / "a/histogram.csv")}
    assert {cell: count for cell, count in rows.items() if count} == {("dog", "small"): 1, ("dog", "medium"): 1}
    main([*options, "--out", str(tmp_path / "b")])
    plots = [(tmp_path / folder / "histogram.png").read_bytes() for folder in "ab"]
    assert plots[0] != plots[1]
    assert decode_image(plots[0]).shape[:2] == (550, 1100)
    write_voc(tmp_path / "other/dataset.zip", ("background", *CLASSES[:0:-1]))
    for path, words in ((tmp_path / "other/dataset.zip", "its classes are not VOC's"), (tmp_path / "x.zip", "no such")):
        assert refused([*options, "--out", str(tmp_path / "c"), "--beside", str(path)])
        assert words in capsys.readouterr().err


def test_training_images_are_left_out_or_marked(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    files = Files(tmp_path)
    for number, split in ((1, "val2017"), (2, "train2017"), (3, "val2017")):
        files.image(number, split, coco=number < 3)
        files.add_lvis(number, "dog.n.01", 10, 10, 30, 30)
    arguments = files.write()
    main([*arguments, "--out", str(tmp_path / "b"), "--images", "1"])
    assert (tmp_path / "b/list.txt").read_text() == "000000000001\n"
    main([*arguments, "--out", str(tmp_path / "c"), "--images", "2", "--keep-train-images"])
    marks = {row["id"]: row["leakage"] for row in read_csv(tmp_path / "c/pool.csv")}
    assert marks == {"000000000001": "0", "000000000002": "1"}  # 3 is not in COCO's file
    for folder, left_out in (("b", 1), ("c", 0)):
        text = (tmp_path / folder / "NOTE.md").read_text()
        assert f"{left_out} images of COCO's training set left out" in text
        assert "1 images of LVIS are in no file of COCO that was given, and left out" in text
    assert capsys.readouterr().out.count("1 images of LVIS are in no file of COCO") == 2


def test_training_images_without_their_file_of_coco_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    files = Files(tmp_path)
    for number, split in ((1, "val2017"), (2, "train2017"), (3, "train2017")):
        files.image(number, split, coco=number < 2)
        files.add_lvis(number, "dog.n.01", 10, 10, 30, 30)
    arguments = [*files.write(), "--images", "1"]
    assert refused([*arguments, "--out", str(tmp_path / "b"), "--keep-train-images"])
    message = capsys.readouterr().err
    assert "--keep-train-images: none of the 2 images" in message
    assert "give instances_train2017.json" in message
    main([*arguments, "--out", str(tmp_path / "c")])
    assert "2 images of COCO's training set left out" in capsys.readouterr().out


def test_what_lvis_leaves_open(tmp_path: Path) -> None:
    files = Files(tmp_path)
    files.image(1, neg=("car.n.01", "racer.n.02"), incomplete=("chair.n.01", "pickup.n.01"))
    files.image(2, neg=("racer.n.02",))
    files.add_lvis(1, "person.n.01", 0, 0, 9, 9)
    files.add_lvis(1, "puppy.n.01", 0, 20, 9, 9)
    files.add_coco(2, "person", 0, 0, 9, 9)
    files.add_coco(2, "truck", 0, 0, 9, 9)
    files.write()
    (first, second), left_out = read_images(files.lvis_path, [files.coco_path], False)
    assert left_out == (0, 0)
    assert {CLASSES[label] for label in set(range(1, 21)) - first.unknown} == {"car", "person"}
    assert {CLASSES[label] for label in first.not_exhaustive} == {"chair"}
    assert second.unknown == set(range(1, 21))  # that there is no race car says nothing of cars
    assert [CLASSES[label] for _, label in second.coco] == ["person"]


BROKEN = {
    "outline": "2 faults.*annotation 1 of LVIS.*",
    "size": "image 1 is 120 x 160 in LVIS",
    "lacking": "1 annotations lack one of id, image_id",
    "no lvis": "image 1 has no neg_category_ids",
    "no coco": "has not COCO's categories 5 airplane",
    "apart": "no image of .* is in",
    "no list": "has no list images",
}


def break_files(files: Files, kind: str) -> None:
    """Breaks the annotations in one way."""
    first, last = files.lvis["annotations"][0], files.lvis["annotations"][-2]
    if kind == "outline":
        first["segmentation"], last["segmentation"] = [[1, 2, 3]], {"size": [1, 1], "counts": [1]}
    elif kind == "size":
        files.coco["images"][0]["height"] = 5
    elif kind == "lacking":
        del first["segmentation"]
    elif kind == "no lvis":
        files.lvis["images"] = [{"id": 1, "height": HEIGHT, "width": WIDTH}]
    elif kind == "no coco":
        files.coco["categories"][0]["name"] = "thing"
    elif kind == "apart":
        files.coco["images"] = []
    else:
        del files.lvis["images"]


@pytest.mark.parametrize("kind", BROKEN)
def test_wrong_files_are_named_and_nothing_is_written(kind, files: Files, tmp_path: Path, capsys) -> None:
    break_files(files, kind)
    assert refused([*files.write(), "--out", str(tmp_path / "b"), "--images", "5"])
    message = capsys.readouterr().err
    with pytest.raises(Fault, match="(?s)" + BROKEN[kind]):
        raise Fault(message)
    assert "nothing was written" in message
    assert {path.suffix for path in tmp_path.iterdir()} == {".json"}


def test_a_folder_that_is_there_stays_and_too_many_images_are_refused(files: Files, tmp_path: Path, capsys) -> None:
    (tmp_path / "b").mkdir()
    (tmp_path / "b/mine.txt").write_text("mine")
    assert refused([*files.write(), "--out", str(tmp_path / "b")])
    assert [path.name for path in (tmp_path / "b").iterdir()] == ["mine.txt"]
    assert refused([*files.write(), "--out", str(tmp_path / "c")])
    assert "1137 images cannot be chosen: 20 images" in capsys.readouterr().err
    assert not (tmp_path / "c").exists()


def test_real_annotations_of_lvis_and_of_coco(tmp_path: Path) -> None:
    folder = Path(os.environ.get("SIZEWISE_REAL_DATA") or "", "coco_real")
    lvis_path, coco_path = folder / "lvis/lvis_val_100.json", folder / "tinycoco/annotations/instances_train2017.json"
    if not lvis_path.is_file() or not coco_path.is_file():
        pytest.skip(f"no real annotations at SIZEWISE_REAL_DATA ({folder})")
    lvis, coco = json.loads(lvis_path.read_text()), json.loads(coco_path.read_text())
    # the two have no image in common: each is joined with the silence of the other
    pictures = [{key: image[key] for key in ("id", "height", "width")} for image in lvis["images"]]
    silent = {"neg_category_ids": [], "not_exhaustive_category_ids": []}
    (tmp_path / "coco.json").write_text(json.dumps({**coco, "images": pictures, "annotations": []}))
    images = [image | silent for image in coco["images"]]
    (tmp_path / "lvis.json").write_text(json.dumps({**lvis, "images": images, "annotations": []}))

    out = tmp_path / "lvis"
    arguments = ["--lvis", str(lvis_path), "--coco", str(tmp_path / "coco.json"), "--images", "20"]
    main([*arguments, "--out", str(out)])
    rows = {row["synset"]: row for row in read_csv(TABLE) if row["role"] == "CORE" and row["rule"] != "with_coco"}
    names = {category["id"]: category["synset"] for category in lvis["categories"]}
    wanted = {f"{item['image_id']:012d}" for item in lvis["annotations"] if names[item["category_id"]] in rows}
    assert {row["id"] for row in read_csv(out / "pool.csv")} <= wanted
    total = sum(int(row["instances"]) for row in read_csv(out / "pool.csv"))
    core = [item for item in lvis["annotations"] if names[item["category_id"]] in rows]
    assert 0.9 * len(core) < total <= len(core)

    out = tmp_path / "coco"
    arguments = ["--lvis", str(tmp_path / "lvis.json"), "--coco", str(coco_path), "--images", "8"]
    main([*arguments, "--out", str(out)])
    crowds = {f"{item['image_id']:012d}" for item in coco["annotations"] if item["iscrowd"]}
    for path in (out / "masks").iterdir():
        mask = decode_image(path.read_bytes())
        assert set(np.unique(mask)) <= {*range(21), VOID}
        assert path.stem in crowds or (mask == VOID).mean() < 0.01
