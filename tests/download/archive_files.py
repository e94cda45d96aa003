"""Archives as VOC and SBD have them, and what an unpacked source would hold."""

from __future__ import annotations

import gzip
import hashlib
import io
import tarfile

import numpy as np

from stages.core.locations import read_location

LISTS = "ImageSets/Segmentation"
VOC = {
    "format": "voc",
    "lists": {"train": "train_aug", "val": "val"},  # made of VOC's and SBD's lists
    "masks": ["SegmentationClass", "SBD"],
    "instances": "SegmentationObject",
    "tags": "xml",
    "tags_file": "none",
}
PARTS = ["JPEGImages", "SegmentationClass", "SegmentationObject", "Annotations"]


def voc_files() -> dict[str, bytes]:
    """The files of the trainval tar by their names there, with some that are not needed."""
    generator = np.random.default_rng(0)
    root = "VOCdevkit/VOC2012"
    files = {f"{root}/{folder}/2007_{number:06d}.x": generator.bytes(900) for folder in PARTS for number in range(8)}
    files |= {f"{root}/{LISTS}/{name}.txt": b"2007_000000\n" for name in ("train", "val", "trainval")}
    return files | {f"{root}/ImageSets/Main/cat_train.txt": b"no", "VOCdevkit/README": b"no"}


def sbd_files() -> dict[str, bytes]:
    """The files of SBD's benchmark.tgz by their names there."""
    generator = np.random.default_rng(1)
    root = "benchmark_RELEASE/dataset"
    files = {
        f"{root}/{folder}/2008_{number:06d}.{suffix}": generator.bytes(700)
        for folder, suffix in (("img", "jpg"), ("cls", "mat"), ("inst", "mat"))
        for number in range(8)
    }
    files |= {f"{root}/{name}.txt": b"2008_000000\n" for name in ("train", "val")}
    return files | {"benchmark_RELEASE/benchmark_code_RELEASE/demo.m": b"no"}


def tar(files: dict[str, bytes]) -> bytes:
    """A tar as GNU tar writes it, folders first."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for folder in dict.fromkeys(name.rpartition("/")[0] for name in files):
            info = tarfile.TarInfo(folder + "/")
            info.type = tarfile.DIRTYPE
            archive.addfile(info)
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def md5(content: bytes) -> str:
    """As params.yaml has it."""
    return "md5:" + hashlib.md5(content, usedforsecurity=False).hexdigest()


CONTENT = {"voc.tar": tar(voc_files()), "benchmark.tgz": gzip.compress(tar(sbd_files()), mtime=0)}
# what an unpacked source, with SBD/ beside VOC's folders, would have
EXPECTED = {
    name.removeprefix("VOCdevkit/VOC2012/"): content
    for name, content in voc_files().items()
    if "VOC2012/" in name and "Main" not in name
} | {
    name.replace("benchmark_RELEASE/dataset", "SBD"): content
    for name, content in sbd_files().items()
    if "/img/" not in name and "dataset/" in name
}


def check(found) -> None:
    """Every file that is needed and no other, byte for byte."""
    assert [row["name"] for row in found] == sorted(EXPECTED)
    for row in found:
        content = read_location(row["location"])
        assert content == EXPECTED[row["name"]]
        assert (int(row["size"]), "md5:" + row["md5"]) == (len(content), md5(content))
