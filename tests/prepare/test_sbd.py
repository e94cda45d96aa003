"""SBD beside VOC: .mat files in its exact form, hostile ones, and the list that everybody trains on."""

from __future__ import annotations

import contextlib
import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat
from scipy.sparse import csc_matrix

from stages.core.dataset import INSTANCE_VOID
from stages.core.faults import Fault
from stages.core.files import ZipReader
from stages.prepare import sbd
from stages.prepare.layout import Index
from stages.prepare.sbd import md5_of_list, segmentation, train_aug
from stages.prepare.voc import CLASSES

SHAPE = 12, 16
REAL = os.environ.get("SIZEWISE_REAL_DATA")


def map_of(label: int) -> np.ndarray:
    """(12, 16) uint8: a block of one label on background."""
    mask = np.zeros(SHAPE, np.uint8)
    mask[2:9, 3:12] = label
    return mask


def write_cls(path: Path, mask: np.ndarray) -> None:
    """A file of SBD's cls folder: boundaries as sparse matrices in a cell array, the map, the classes."""
    boundaries = np.empty((20, 1), object)
    boundaries[:, 0] = [csc_matrix(np.eye(*SHAPE, dtype=bool)) for _ in range(20)]
    content = {"Boundaries": boundaries, "Segmentation": mask, "CategoriesPresent": np.unique(mask[mask > 0])}
    path.parent.mkdir(parents=True, exist_ok=True)
    savemat(path, {"GTcls": content}, do_compression=True)


def write_inst(path: Path, ids: np.ndarray, classes: list[int]) -> None:
    """A file of SBD's inst folder."""
    content = {"Segmentation": ids, "Categories": np.array(classes, np.uint8)[:, None]}
    path.parent.mkdir(parents=True, exist_ok=True)
    savemat(path, {"GTinst": content}, do_compression=True)


@pytest.fixture(params=["SBD", "benchmark_RELEASE/dataset"])
def with_sbd(voc, request, monkeypatch) -> Path:
    """The VOC folder, whose image b has its masks from SBD alone, and a from both; SBD unpacked or renamed."""
    (voc / "SegmentationClass/b.png").unlink()
    (voc / "SegmentationObject/b.png").unlink()
    folder = voc / request.param
    for image_id in "ab":
        write_cls(folder / f"cls/{image_id}.mat", map_of(2))
        write_inst(folder / f"inst/{image_id}.mat", map_of(1), [2])
    (folder / "train.txt").write_text("b\nc\n")
    (folder / "val.txt").write_text("a\n")
    (voc / "ImageSets/Segmentation/train.txt").write_text("a\n")
    monkeypatch.setitem(sbd.MD5, sbd.TRAIN_AUG, md5_of_list(["a", "b"]))
    return voc


@pytest.fixture
def sbd_params(voc_params):
    """The section of params.yaml for VOC with SBD, with changes."""
    usual = {"lists": {"train": "train_aug", "val": "val"}, "masks": ["SegmentationClass", "SBD"]}
    return lambda **changes: voc_params(**usual | {"instances": "SegmentationObject"} | changes)


def test_train_aug_is_made_and_each_image_has_the_masks_of_one_source(with_sbd, sbd_params, prepared):
    dataset = prepared(with_sbd, sbd_params())
    assert dataset.ids("train") == ["a", "b"]
    own = np.array(Image.open(with_sbd / "SegmentationClass/a.png"))
    assert np.array_equal(dataset.mask("a"), own)
    assert np.array_equal(dataset.instances("a") == INSTANCE_VOID, own == 255)
    assert np.array_equal(dataset.mask("b"), map_of(2))
    assert np.array_equal(dataset.instances("b"), map_of(1))
    assert dataset.instances("b").dtype == np.uint16
    assert dataset.tags("b").tolist() == [2]


def test_sbd_first_counts_first(with_sbd, sbd_params, prepared):
    dataset = prepared(with_sbd, sbd_params(masks=["SBD", "SegmentationClass"], untrained=[CLASSES[1], *CLASSES[3:]]))
    assert np.array_equal(dataset.mask("a"), map_of(2))
    assert np.array_equal(dataset.instances("a"), map_of(1))
    assert dataset.instances("c").max() == INSTANCE_VOID  # SBD has no c


def test_a_list_that_is_there_is_taken_as_it_is(with_sbd, sbd_params, prepared):
    (with_sbd / "ImageSets/Segmentation/train_aug.txt").write_text("b\na\n")
    assert prepared(with_sbd, sbd_params()).ids("train") == ["b", "a"]


def test_another_train_aug_is_refused(with_sbd, sbd_params, prepared, monkeypatch):
    monkeypatch.setitem(sbd.MD5, sbd.TRAIN_AUG, "0")
    message = prepared.fault(with_sbd, sbd_params())
    assert "they give 2 ids, and not the field's 10582 with md5 0" in message
    assert "ImageSets/Segmentation/train.txt has 1 ids, and 1464 are known" in message
    assert "SBD/val.txt has 1 ids, and 2857 are known" in message


def test_missing_lists_are_named_together(with_sbd, sbd_params, prepared):
    (with_sbd / "ImageSets/Segmentation/train.txt").unlink()
    next(with_sbd.rglob("cls")).with_name("val.txt").unlink()
    message = prepared.fault(with_sbd, sbd_params())
    assert "ImageSets/Segmentation/train.txt, SBD/val.txt must be in the source" in message


def test_missing_parts_of_sbd(voc, sbd_params, prepared):
    with pytest.raises(Fault, match=r"lacks SBD/cls/, SBD/inst/; format voc needs JPEGImages/"):
        prepared.index(voc, sbd_params())


def test_every_bad_file_is_listed(with_sbd, sbd_params, prepared):
    folder = next(with_sbd.rglob("cls")).parent
    write_cls(folder / "cls/b.mat", map_of(21))
    (folder / "inst/b.mat").write_bytes(b"not a map")
    message = prepared.fault(with_sbd, sbd_params())
    assert "SBD/cls/b.mat: label value 21; allowed are 0 to 20 and 255 (void)" in message
    assert "SBD/inst/b.mat: no MATLAB 5 file (9 bytes)" in message


def mat(tmp_path: Path, variables: dict) -> bytes:
    """A .mat file's bytes."""
    savemat(tmp_path / "x.mat", variables, do_compression=True)
    return (tmp_path / "x.mat").read_bytes()


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ({"Segmentation": np.zeros((2, 3, 4), np.uint8)}, "GTcls.Segmentation is of shape (2, 3, 4) and type uint8"),
        ({"Segmentation": np.zeros((2, 3))}, "type float64"),
        ({"Segmentation": "text"}, "must be a map"),
        ({"Segmentation": np.zeros((0, 3), np.uint8)}, "shape (0, 3)"),
        ({"Other": np.zeros((2, 3), np.uint8)}, "not a whole .mat file of SBD"),
        (np.zeros((2, 3), np.uint8), "not a whole .mat file of SBD"),
    ],
)
def test_structs_that_hold_no_map(tmp_path, value, words):
    with pytest.raises(ValueError, match="SBD|map") as caught:
        segmentation(mat(tmp_path, {"GTcls": value}), "SBD/cls/a.mat")
    assert words in str(caught.value)


def test_the_struct_of_the_other_folder(tmp_path):
    content = mat(tmp_path, {"GTinst": {"Segmentation": map_of(1)}})
    assert np.array_equal(segmentation(content, "SBD/inst/a.mat"), map_of(1))
    with pytest.raises(ValueError, match=r"has no struct GTcls, which SBD's SBD/cls files have"):
        segmentation(content, "SBD/cls/a.mat")


def test_cut_and_spoilt_files_are_refused_or_read(tmp_path):
    whole = mat(tmp_path, {"GTcls": {"Segmentation": map_of(3)}})
    random = np.random.default_rng(0)
    for end in range(0, len(whole) - 1, 7):
        with pytest.raises(ValueError):  # noqa: PT011 - the decoders' own words
            segmentation(whole[:end], "SBD/cls/a.mat")
    for _ in range(200):
        spoilt = bytearray(whole)
        spoilt[random.integers(len(whole))] = random.integers(256)
        with contextlib.suppress(ValueError):
            assert segmentation(bytes(spoilt), "SBD/cls/a.mat").ndim == 2


def test_a_bomb_is_refused_before_it_unpacks(tmp_path, monkeypatch):
    monkeypatch.setattr(sbd, "MOST_BYTES", 4 << 20)
    packer = zlib.compressobj(9)
    packed = b"".join(packer.compress(bytes(1 << 20)) for _ in range(8)) + packer.flush()
    bomb = mat(tmp_path, {})[:128] + struct.pack("<II", 15, len(packed)) + packed
    with pytest.raises(ValueError, match="an element of more than 4194304 bytes"):
        segmentation(bomb, "SBD/cls/a.mat")


@pytest.mark.skipif(not REAL, reason="SIZEWISE_REAL_DATA is not set")
def test_the_fields_train_aug_comes_out_of_the_four_lists(tmp_path):
    """SBD's lists are not at hand, but what they add is: divided at random in two of its lengths, with VOC val in."""
    meta = Path(REAL) / "voc2012_meta"
    known = {name: (meta / f"{name}.txt").read_text().split() for name in ("train", "val", "train_aug")}
    assert md5_of_list(known["train_aug"]) == sbd.MD5["train_aug"]
    random = np.random.default_rng(0)
    others = sorted(set(known["train_aug"]) - set(known["train"]))
    fill = random.choice(known["train"] + known["val"], 8498 + 2857 - len(others), replace=False).tolist()
    mixed = random.permutation(others + fill).tolist()
    lists = {
        "ImageSets/Segmentation/train.txt": known["train"],
        "ImageSets/Segmentation/val.txt": known["val"],
        "SBD/train.txt": mixed[:8498],
        "SBD/val.txt": mixed[8498:],
    }

    class Lists(Index):
        def __init__(self) -> None:
            self.files = lists

        def lines(self, name: str) -> list[tuple[int, str]]:
            return list(enumerate(lists[name], 1))

    made = train_aug(Lists())
    assert len(made) == 10582
    assert made == sorted(known["train_aug"])
    lists["SBD/train.txt"] = [name for name in mixed[:8498] if name != others[0]]
    lists["SBD/val.txt"] = [name for name in mixed[8498:] if name != others[0]]
    with pytest.raises(Fault, match="they give 10581 ids") as caught:
        train_aug(Lists())
    assert "has 8497 ids, and 8498 are known" in str(caught.value) or "has 2856 ids" in str(caught.value)


def test_bytes_are_the_same_every_time(with_sbd, sbd_params, prepared):
    prepared(with_sbd, sbd_params())
    before = prepared.out.read_bytes()
    prepared(with_sbd, sbd_params())
    assert prepared.out.read_bytes() == before
    assert "masks/b.png" in ZipReader(prepared.out)
