"""Files of people spoilt at random: read as they were meant, or refused by a message that names the file."""

from __future__ import annotations

import contextlib
import gzip
import io
import json
import os
import random
import shutil
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.io import savemat

from stages.core.dataset import Dataset
from stages.core.faults import Fault
from stages.core.label_files import BadMap, find_maps
from stages.core.params import Params
from stages.download.acdc import write_slices
from stages.download.source import write_index
from stages.evaluate.score import parser, score
from stages.prepare.build import prepare
from stages.prepare.sbd import segmentation
from stages.prepare.verify import label_map
from stages.refine.imported import import_masks, imported_mask
from stages.refine.score_files import find_scores, is_score_source, scores_of
from stages.size_targets.boxes import box_sizes
from stages.size_targets.imported import read_sizes
from tests.download.test_acdc import DATA, save, volumes
from tests.faults.spoiling import (
    ANY,
    BAD,
    SAME,
    Spoilt,
    Trials,
    as_csv,
    changed,
    png,
    spoilt_bytes,
    spoilt_picture,
    spoilt_table,
)
from tests.prepare.coco_files import CATEGORIES, HEIGHT, WIDTH, annotation, crowd, inside, picture, rectangle
from tests.prepare.conftest import photograph, voc, voc_params  # noqa: F401 - fixtures
from tests.prepare.conftest import save as save_image

LABELS = np.arange(12 * 16, dtype=np.uint8).reshape(12, 16) // 7 % 3
MAPS = (png(LABELS, 8), png(LABELS, 8, 3))  # what `spoilt_picture` spoils
FOLDER = Params(
    {"format": "folder", "background": True, "masks": "all", "tags": "masks", "size_bins": [16, 64], "headline": "val"}
    | {"untrained": []}
)
COCO = Params(
    {"format": "coco", "annotations": {"train": "train.json", "val": "val.json"}, "images": {"train": "t", "val": "v"}}
    | {
        "crowd": "void",
        "ids": "annotated",
        "tags": "masks",
        "size_bins": [16, 64],
        "headline": "val",
        "untrained": ["cup"],
    }
)
MANY, FEW = 60, 8  # files of a kind: of the whole campaign, of the sample
pytestmark = pytest.mark.timeout(4 * 3600)  # seconds that a test may take on a busy machine


@pytest.fixture(autouse=True)
def one_process(monkeypatch) -> None:
    """No pool for three images."""
    monkeypatch.setenv("SIZEWISE_JOBS", "1")


@pytest.fixture
def trials(count, whole):
    """Makes the trials of a kind of file that is unspoilt with one of these contents."""

    def make(kind: str, *unspoilt: bytes, many: int = MANY) -> Trials:
        return Trials(count(f"a spoilt file: {kind}"), many if whole else FEW, set(unspoilt))

    return make


@pytest.fixture
def mine(tmp_path) -> Path:
    """Three images with masks in the layout `folder`."""
    root = tmp_path / "mine"
    for image_id in "abc":
        save_image(root / f"images/{image_id}.png", photograph(image_id))
        save_image(root / f"masks/{image_id}.png", LABELS)
    (root / "classes.txt").write_text("ground\nround thing\nbox\n")
    (root / "splits").mkdir()
    (root / "splits/train.txt").write_text("a\nb\n")
    (root / "splits/val.txt").write_text("c\n")
    (root / "tags.csv").write_text("id,tags\na,round thing box\nb,box\nc,round thing\n")
    (root / "sizes.csv").write_text("image,class,percent\na,box,5\nb,1,0.5\nc,2,7e1\na,round thing,3\n")
    return root


def npy(value: Any) -> bytes:
    """A file of `np.save`."""
    buffer = io.BytesIO()
    np.save(buffer, value, allow_pickle=True)
    return buffer.getvalue()


def prepared(root: Path, name: str, content: bytes, folder: Path, data: Params = FOLDER) -> Dataset:
    """The data set with another content of a file; in a copy of its own, since this runs in a child."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(root, folder / "source")
    (folder / "source" / name).write_bytes(content)
    write_index(folder / "raw.zip", "mine", folder / "source", data)
    prepare(folder / "raw.zip", folder / "dataset.zip", "mine", data, folder / "parts")
    return Dataset(folder / "dataset.zip", folder / "raw.zip")


def test_masks(trials, mine, tmp_path):
    each = trials("a mask (PNG)", (mine / "masks/a.png").read_bytes(), *MAPS, many=2 * MANY)
    for chance, _ in each:
        spoilt, expected = spoilt_picture(LABELS, 77, chance)

        def work(content=spoilt.content, expected=expected) -> None:
            found = prepared(mine, "masks/a.png", content, tmp_path / "try").mask("a")
            assert found.shape == LABELS.shape
            assert set(np.unique(found)) <= {0, 1, 2, 255}
            assert expected is None or np.array_equal(found, expected)

        each.judge(spoilt, work, "masks/a.png")


def test_images(trials, mine, tmp_path):
    content = (mine / "images/a.png").read_bytes()
    each = trials("an image", content, *MAPS)
    for chance, _ in each:
        spoilt = spoilt_bytes(content, chance)
        if chance.random() < 0.4:  # pictures of one channel are images too
            spoilt, _ = spoilt_picture(LABELS, 77, chance)
            spoilt = Spoilt(spoilt.what, spoilt.content, ANY)

        def work(content=spoilt.content) -> None:
            dataset = prepared(mine, "images/a.png", content, tmp_path / "try")
            assert dataset.image("a").shape == (12, 16, 3)

        each.judge(spoilt, work, "images/a.png", "masks/a.png")


def scored(folder: Path) -> str:
    """`stages.evaluate.score` on two sets of maps."""
    return score(
        parser().parse_args(["--predictions", str(folder / "p"), "--masks", str(folder / "m"), "--bootstrap", "0"])
    )


def test_maps_to_score(trials, mine, tmp_path):
    """A spoilt mask beside a prediction that is what it was: the score is 100 %, or the file is named."""
    arrays = [npy(LABELS.astype(kind)) for kind in (np.uint8, np.int64, ">i4")]
    each = trials("a label map to score (PNG, .npy)", (mine / "masks/a.png").read_bytes(), *MAPS, *arrays)
    for chance, _ in each:
        spoilt, expected = spoilt_picture(LABELS, 99, chance)
        if spoilt.fate == BAD and "wrong label" in spoilt.what:
            spoilt = Spoilt(spoilt.what, spoilt.content, ANY)  # here as many classes as the masks show
        name = "a.png"
        if chance.random() < 0.3:
            spoilt, expected, name = spoilt_bytes(chance.choice(arrays), chance), None, "a.npy"

        def work(content=spoilt.content, expected=expected, name=name) -> None:
            folder = tmp_path / "score"
            shutil.rmtree(folder, ignore_errors=True)
            shutil.copytree(mine / "masks", folder / "m")
            shutil.copytree(mine / "masks", folder / "p")
            (folder / "m/a.png").unlink()
            (folder / "m" / name).write_bytes(content)
            text = scored(folder)
            assert expected is None or "100.0" in text

        each.judge(spoilt, work, "a.png", "a.npy", "a is 12 x 16, its mask")


def test_pseudo_masks(trials, tiny_dataset, tmp_path):
    dataset = Dataset(tiny_dataset)
    ids = dataset.ids("train")
    labels = np.arange(32 * 32, dtype=np.uint8).reshape(32, 32) // 40 % 3
    each = trials("a pseudo mask of another method, in a folder or zip", png(labels, 8), png(labels, 8, 3))
    for chance, number in each:
        spoilt, expected = spoilt_picture(labels, 77, chance)
        if spoilt.what == "turned":  # a square is as large as before
            spoilt = Spoilt(spoilt.what, spoilt.content, ANY)

        packed, method = number % 2, chance.choice((0, 8))

        def work(content=spoilt.content, expected=expected, packed=packed, method=method) -> None:
            folder = tmp_path / "pseudo"
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            good = png(labels, 8)
            for image_id in ids:
                (folder / f"{image_id}.png").write_bytes(content if image_id == ids[0] else good)
            source = folder
            if packed:
                source = folder / "all.zip"
                with zipfile.ZipFile(source, "w", method) as archive:
                    for image_id in ids:
                        archive.write(folder / f"{image_id}.png", f"maps/{image_id}.png")
            with as_fault(f"{ids[0]}.png"):
                found = imported_mask(import_masks(source, dataset), ids[0], (32, 32), 3)
            assert found.shape == (32, 32)
            assert expected is None or np.array_equal(found, expected)

        each.judge(spoilt, work, f"{ids[0]}.png", "pseudo")


@contextlib.contextmanager
def as_fault(name: str):
    """A BadMap as `refine` tells it."""
    try:
        yield
    except BadMap as error:
        raise Fault(f"{name}: {error}") from None


def test_zips_of_maps(trials, tmp_path):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", 8) as archive:
        for name in "abc":
            archive.writestr(f"{name}.png", png(LABELS, 8))
    each = trials("a zip of label maps", buffer.getvalue())
    for chance, _ in each:
        spoilt = spoilt_bytes(buffer.getvalue(), chance)

        def work(content=spoilt.content) -> None:
            (tmp_path / "maps.zip").write_bytes(content)
            files = find_maps(tmp_path / "maps.zip")
            for stem in files.members:
                with as_fault(f"maps.zip: {stem}"):
                    assert files.read(stem).shape == LABELS.shape

        each.judge(spoilt, work, "maps.zip")


def test_score_maps(trials, tiny_dataset, tmp_path):
    dataset = Dataset(tiny_dataset)
    image_id = next(key for key in dataset.ids("train") if len(dataset.tags(key)) == 2)
    one = next(key for key in dataset.ids("train") if dataset.tags(key).tolist() == [1])  # of two classes, the first
    maps = np.random.default_rng(0).random((2, 8, 8), np.float32)
    forms = {
        "dictionary": npy({0: maps[0], 1: maps[1]}),
        "keys": npy({"keys": np.array([0, 1]), "cam": maps}),
        "array": npy(maps),
    }
    buffer = io.BytesIO()
    np.savez_compressed(buffer, keys=np.array([0, 1]), cam=maps)
    forms["npz"] = buffer.getvalue()
    each = trials("score maps (.npy, .npz)", *forms.values())
    for chance, _ in each:
        form = chance.choice(list(forms))
        shown = one if form == "array" else image_id
        name = f"{shown}.{'npz' if form == 'npz' else 'npy'}"
        spoilt = spoilt_bytes(forms[form], chance)

        def work(content=spoilt.content, name=name, shown=shown) -> None:
            folder = tmp_path / "scores"
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            (folder / name).write_bytes(content)
            assert is_score_source(folder, [shown]) in (True, False)
            with as_fault(name):
                files = find_scores(folder, [shown])
                found = scores_of(files, shown, dataset.foreground, dataset.tags(shown), (32, 32))
            assert found.dtype == np.uint8
            assert found.shape[0] == len(dataset.tags(shown))

        each.judge(spoilt, work, name)


def test_nifti(trials, tmp_path):
    root = tmp_path / "ACDC/training/patient001"
    root.mkdir(parents=True)
    (root / "Info.cfg").write_text("ED: 1\nES: 12\nGroup: DCM\n")
    for frame in (1, 12):
        for end, array in zip(("", "_gt"), volumes(frame), strict=True):
            save(root / f"patient001_frame{frame:02d}{end}.nii.gz", array)
    save(root / "plain.nii", volumes(1)[0])
    contents = [path.read_bytes() for path in root.iterdir()]
    unpacked = [gzip.decompress(path.read_bytes()) for path in root.glob("*.gz")]
    each = trials("a NIfTI volume or its Info.cfg", *contents, *unpacked)
    for chance, _ in each:
        name = chance.choice(("patient001_frame01.nii.gz", "patient001_frame01_gt.nii.gz", "Info.cfg"))
        content = (root / name).read_bytes()
        if name.endswith(".gz") and chance.random() < 0.6:  # unpacked, so that its header is spoilt and not its packing
            content = gzip.decompress(content)
            spoilt = spoilt_bytes(content[:352], chance)
            spoilt = Spoilt(f"header {spoilt.what}", spoilt.content + content[352:], ANY)
        else:
            spoilt = spoilt_bytes(content, chance)
        if name == "Info.cfg" and "header" in spoilt.what:  # its first two lines are all that it needs
            spoilt = Spoilt(spoilt.what, spoilt.content, ANY)

        def work(content=spoilt.content, name=name) -> None:
            shutil.copytree(tmp_path / "ACDC", tmp_path / "try", dirs_exist_ok=True)
            (tmp_path / "try/training/patient001" / name).write_bytes(content)
            write_slices(tmp_path / "raw.zip", "heart", tmp_path / "try", Params(DATA))

        each.judge(spoilt, work, name, "Info.cfg", "patient001")


def test_mat(trials, tmp_path):
    forms = {}
    for packed in (False, True):
        savemat(
            tmp_path / "a.mat", {"GTcls": {"Segmentation": LABELS, "CategoriesPresent": [1, 2]}}, do_compression=packed
        )
        forms[packed] = (tmp_path / "a.mat").read_bytes()
    each = trials("a map of SBD (.mat)", *forms.values())
    for chance, number in each:
        spoilt = spoilt_bytes(forms[bool(number % 3 == 0)], chance)

        def work(content=spoilt.content) -> None:
            try:
                found = label_map(segmentation(content, "SBD/cls/a.mat"), 21)
            except ValueError as error:  # as `verify` tells it
                raise Fault(f"SBD/cls/a.mat: {error}") from None
            assert found.dtype == np.uint8

        each.judge(spoilt, work, "SBD/cls/a.mat")


TAG_ROWS = {
    "an unknown class": changed(1, "unicorn"),
    "the id of another row": lambda row: ["b" if row[0] == "a" else "a", *row[1:]],
    "no id": changed(0, ""),
}


def test_tags(trials, mine, tmp_path):
    rows = [["id", "tags"], ["a", "round thing;box"], ["b", "box"], ["c", "round thing"]]
    rows = [[cell.replace("round thing;box", "1 2").replace("round thing", "1") for cell in row] for row in rows]
    data = Params(FOLDER.plain() | {"tags": "file"})
    each = trials("tags.csv", as_csv(rows).encode())
    for chance, _ in each:
        spoilt = spoilt_table(rows, TAG_ROWS, chance)
        fate = spoilt.fate
        if spoilt.what in ("no header", "tabs", "columns in another order"):  # a header is no line of an image
            fate = ANY
        spoilt = Spoilt(spoilt.what, spoilt.content, fate)

        def work(content=spoilt.content, fate=fate) -> None:
            found = prepared(mine, "tags.csv", content, tmp_path / "try", data)
            if fate == SAME:
                assert [found.tags(image_id).tolist() for image_id in "abc"] == [[1, 2], [2], [1]]

        each.judge(spoilt, work, "tags.csv", "no training image has")


SIZE_ROWS = {
    "an unknown class": changed(1, "unicorn"),
    "nan": changed(2, "nan"),
    "a negative size": changed(2, "-3"),
    "a word for a size": changed(2, "much"),
    "infinity": changed(2, "inf"),
}


def test_sizes_as_tags(trials, mine, tmp_path):
    rows = [
        ["image", "class", "percent"],
        ["a", "box", "5"],
        ["b", "1", "0.5"],
        ["c", "2", "7e1"],
        ["a", "round thing", "3"],
    ]
    data = Params(FOLDER.plain() | {"tags": "sizes"})
    each = trials("sizes.csv, for tags", as_csv(rows).encode())
    for chance, _ in each:
        spoilt = spoilt_table(rows, SIZE_ROWS, chance)

        def work(content=spoilt.content, fate=spoilt.fate) -> None:
            found = prepared(mine, "sizes.csv", content, tmp_path / "try", data)
            if fate == SAME:
                assert [found.tags(image_id).tolist() for image_id in "abc"] == [[1, 2], [1], [2]]

        each.judge(spoilt, work, "sizes.csv", "no training image has")


def test_size_files(trials, tiny_dataset, tmp_path):
    dataset = Dataset(tiny_dataset)
    ids = dataset.ids("train")
    tagged = [(image_id, int(label)) for image_id in ids for label in dataset.tags(image_id)]
    rows = [["image", "class", "percent"], *([image_id, str(label), "12.5"] for image_id, label in tagged)]
    bad = SIZE_ROWS | {
        "more than the image": changed(2, "100.1"),
        "the background": changed(1, "background"),
        "a class that the image has not": changed(1, "9"),
        "a cell more": lambda row: [*row, "1"],
    }
    path = tmp_path / "sizes.csv"
    each = trials("size_file: sizes", as_csv(rows).encode())
    for chance, _ in each:
        spoilt = spoilt_table(rows, bad, chance)
        if spoilt.fate == BAD and chance.random() < 0.15:
            spoilt = Spoilt("the same row twice", "\n".join(map(",".join, [*rows, rows[1]])).encode(), BAD)

        def work(content=spoilt.content, fate=spoilt.fate) -> None:
            path.write_bytes(content)
            found = read_sizes(path, dataset, ids)
            assert np.nansum(found, axis=1).max() <= 1
            if fate == SAME:
                assert all(found[ids.index(image_id), label] == 0.125 for image_id, label in tagged)
                assert np.isfinite(found).sum() == len(tagged)

        each.judge(spoilt, work, "sizes.csv")


def test_box_files(trials, tiny_dataset, tmp_path):
    dataset = Dataset(tiny_dataset)
    ids = dataset.ids("train")
    tagged = [(image_id, int(label)) for image_id in ids for label in dataset.tags(image_id)]
    rows = [["image", "class", "xmin", "ymin", "xmax", "ymax"]]
    rows += [[image_id, str(label), "0", "0", "8", "16"] for image_id, label in tagged]
    bad = {
        "an unknown class": changed(1, "unicorn"),
        "nan": changed(2, "nan"),
        "a box outside": changed(4, "33"),
        "a box without a width": changed(4, "0"),
        "a negative side": changed(3, "-1"),
        "infinity": changed(5, "inf"),
        "a cell less": lambda row: row[:-1],
    }
    path = tmp_path / "boxes.csv"
    each = trials("size_file: boxes", as_csv(rows).encode())
    for chance, _ in each:
        spoilt = spoilt_table(rows, bad, chance)

        def work(content=spoilt.content, fate=spoilt.fate) -> None:
            path.write_bytes(content)
            found = box_sizes(path, dataset, ids, 1.0)
            assert np.nansum(found, axis=1).max() <= 1
            if fate == SAME:
                assert all(found[ids.index(image_id), label] == 8 * 16 / 32**2 for image_id, label in tagged)

        each.judge(spoilt, work, "boxes.csv")


def test_lists(trials, mine, tmp_path):
    files = {name: (mine / name).read_text() for name in ("classes.txt", "splits/train.txt", "splits/val.txt")}
    each = trials("classes.txt and the lists of splits", *map(str.encode, files.values()))
    for chance, _ in each:
        name = chance.choice(list(files))
        text = files[name]
        lines = text.splitlines()
        ways = {
            "a byte order mark": (text.encode("utf-8-sig"), SAME),
            "other line ends": (text.replace("\n", "\r\n").encode(), SAME),
            "a line twice": (f"{text}{lines[0]}\n".encode(), BAD),
            "UTF-16": (text.encode("utf-16"), BAD),
            "empty": (b"", BAD),
            "a huge line": (text.encode() + b"x" * 3_000_000, BAD if name != "classes.txt" else ANY),
            "many lines": (text.encode() + b"".join(b"x%d\n" % n for n in range(5000)), BAD),
            "another image": (text.encode() + b"../../etc/passwd\n", ANY if name == "classes.txt" else BAD),
            "NUL": (text.encode() + b"a\0b\n", ANY if name == "classes.txt" else BAD),
        }
        what = chance.choice(list(ways))
        spoilt = (
            Spoilt(f"{name}: {what}", *ways[what]) if chance.random() < 0.7 else spoilt_bytes(text.encode(), chance)
        )
        if spoilt.what.startswith(("text", "noise", "header alone")):
            spoilt = Spoilt(spoilt.what, spoilt.content, ANY)

        def work(content=spoilt.content, name=name, fate=spoilt.fate) -> None:
            found = prepared(mine, name, content, tmp_path / "try")
            if fate == SAME:
                assert found.info.classes == ("ground", "round thing", "box")
                assert (found.ids("train"), found.ids("val")) == (["a", "b"], ["c"])

        each.judge(spoilt, work, name, "no training image has", "label value")


def test_xml_tags(trials, voc, voc_params, tmp_path):
    content = (voc / "Annotations/a.xml").read_bytes()
    each = trials("an annotation (XML)", content)
    data = voc_params(tags="xml")
    bomb = b'<!DOCTYPE x [<!ENTITY a "ha">' + b"".join(
        b'<!ENTITY a%d "&a%d;&a%d;">' % (n, n - 1, n - 1) for n in range(1, 40)
    )
    ways = {
        "entities": (bomb + b"]><annotation><object><name>&a39;</name></object></annotation>", BAD),
        "a file's entity": (b'<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]><annotation>&a;</annotation>', BAD),
        "UTF-16 with entities": (bomb.decode().encode("utf-16"), BAD),
        "deep": (b"<a>" * 100_000, BAD),
        "deep and whole": (b"<a>" * 50_000 + b"</a>" * 50_000, ANY),
        "an unknown class": (content.replace(b"aeroplane", b"unicorn"), BAD),
        "a comment": (content.replace(b"<object>", b"<!-- x --><object>"), SAME),
        "a declaration": (b'<?xml version="1.0" encoding="utf-8"?>' + content, SAME),
        "an unknown encoding": (b'<?xml version="1.0" encoding="x-none"?>' + content, BAD),
    }
    for chance, _ in each:
        what = chance.choice(list(ways))
        spoilt = Spoilt(what, *ways[what]) if chance.random() < 0.4 else spoilt_bytes(content, chance)

        def work(content=spoilt.content, fate=spoilt.fate) -> None:
            found = prepared(voc, "Annotations/a.xml", content, tmp_path / "try", data)
            assert fate != SAME or found.tags("a").tolist() == [1]

        each.judge(spoilt, work, "Annotations/a.xml", "no training image has")


def test_tag_arrays(trials, voc, voc_params, tmp_path):
    content = npy({key: np.eye(20, dtype=np.float32)[label] for key, label in zip("abc", (0, 1, 0), strict=True)})
    each = trials("cls_labels.npy", content)
    path = tmp_path / "cls_labels.npy"
    for chance, _ in each:
        spoilt = spoilt_bytes(content, chance)

        def work(content=spoilt.content) -> None:
            path.write_bytes(content)
            data = voc_params(tags="file", tags_file=str(path))
            found = prepared(voc, "ImageSets/Segmentation/val.txt", b"c\n", tmp_path / "try", data)
            assert all(set(found.tags(image_id)) <= set(range(1, 21)) for image_id in "abc")

        each.judge(spoilt, work, "cls_labels.npy", "no training image has")


def coco_tree(image: int) -> dict:
    """An instances JSON of two images, with outlines of each kind."""
    numbers = (image, image + 1)
    return {
        "images": [picture(number, f"{number}.png") for number in numbers],
        "annotations": [
            annotation(1, numbers[0], 7, rectangle(2, 3, 9, 9)),
            annotation(2, numbers[1], 3, rectangle(4, 4, 15, 20)),
            crowd(3, numbers[0], 3, inside(10, 10, 15, 20)),
        ],
        "categories": CATEGORIES,
    }


VALUES = (
    None,
    -1,
    0,
    1,
    2.5,
    10**30,
    1e308,
    "x",
    "",
    "\ud800",
    [],
    {},
    [1],
    [[1, 2]],
    {"a": 1},
    True,
    "../x.png",
    "a" * 9000,
)


def spoilt_json(tree: dict, chance: random.Random) -> Spoilt:
    """A JSON with another value somewhere in it, or none."""
    tree = json.loads(json.dumps(tree))
    holder, way = tree, []
    while isinstance(holder, dict | list) and holder and (len(way) < 2 or chance.random() < 0.8):
        key = chance.choice(list(holder) if isinstance(holder, dict) else range(len(holder)))
        before, holder = holder, holder[key]
        way.append(key)
    if chance.random() < 0.15:
        del before[key]
    else:
        before[key] = chance.choice((*VALUES, float("nan"), float("inf"), before[key], [before[key]] * 3))
    return Spoilt(f"{'.'.join(map(str, way))} = {str(before)[:60]}", json.dumps(tree).encode(), ANY)


def test_coco(trials, tmp_path):
    root = tmp_path / "coco"
    for split, first in (("t", 1), ("v", 3)):
        for number in (first, first + 1):
            save_image(root / f"{split}/{number}.png", np.zeros((HEIGHT, WIDTH, 3), np.uint8))
    trees = {"train.json": coco_tree(1), "val.json": coco_tree(3)}
    for name, tree in trees.items():
        (root / name).write_text(json.dumps(tree))
    each = trials("COCO's JSON", *((root / name).read_bytes() for name in trees))
    for chance, _ in each:
        name = chance.choice(list(trees))
        spoilt = spoilt_json(trees[name], chance)
        if chance.random() < 0.3:
            spoilt = spoilt_bytes((root / name).read_bytes(), chance)
        if chance.random() < 0.05:
            spoilt = Spoilt("deep", b"[" * 200_000, BAD)

        def work(content=spoilt.content, name=name) -> None:
            found = prepared(root, name, content, tmp_path / "try", COCO)
            assert all(found.mask(image_id).shape == (HEIGHT, WIDTH) for image_id in found.records)

        each.judge(spoilt, work, name, "t/", "v/", "no training image has", "untrained")


def test_what_a_person_sees(mine, tmp_path, count):
    """The commands themselves: a message, no traceback, exit code 2 or 1."""
    import subprocess
    import sys

    tally = count("a spoilt file or params.yaml, through the command line")
    from tests.pipeline.repository import ROOT

    (mine / "masks/b.png").write_bytes(b"\x89PNG\r\n\x1a\nx")
    masks = str(mine / "masks")
    commands = {
        "score": (
            ["stages.evaluate.score", "--predictions", masks, "--masks", masks],
            "b.png",
        ),
        "score without a folder": (
            ["stages.evaluate.score", "--predictions", "/nowhere", "--masks", "/nowhere"],
            "/nowhere",
        ),
        "check": (["stages.check"], "params.yaml is not YAML in line 2"),
    }
    (tmp_path / "stages").symlink_to(ROOT / "stages")
    (tmp_path / "params.yaml").write_text("dataset: tiny\n\tmethod: x\n")
    shutil.copy(ROOT / "dvc.yaml", tmp_path)
    for what, (arguments, said) in commands.items():
        with tally.trial(what):
            done = subprocess.run(
                [sys.executable, "-m", *arguments], cwd=tmp_path, capture_output=True, text=True, check=False,
                env=os.environ | {"PYTHONPATH": str(tmp_path), "SIZEWISE_JOBS": "1"},
            )  # fmt: skip
            assert done.returncode in (1, 2)
            assert "Traceback" not in done.stderr
            assert said in done.stderr, done.stderr
