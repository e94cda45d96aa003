"""A data set in archives is prepared as the same one in a folder, and its images are read from the archives."""

from __future__ import annotations

import gzip
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from stages.core.dataset import Dataset
from stages.core.faults import Fault
from stages.core.files import ZipReader, md5
from stages.core.params import Params
from stages.core.pool import process_map
from stages.prepare.layout import Index, read


def pack_tar(voc: Path, path: Path) -> None:
    """VOC's trainval tar."""
    with tarfile.open(path, "w") as archive:
        archive.add(voc, "VOCdevkit/VOC2012")


def pack_tgz(voc: Path, path: Path) -> None:
    """The same, packed."""
    pack_tar(voc, path)
    path.write_bytes(gzip.compress(path.read_bytes()))


def pack_zip(voc: Path, path: Path) -> None:
    """The same as a zip, images stored and masks packed."""
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(voc.rglob("*")):
            method = zipfile.ZIP_STORED if file.suffix == ".jpg" else zipfile.ZIP_DEFLATED
            archive.write(file, Path("VOCdevkit/VOC2012") / file.relative_to(voc), method)


@pytest.fixture(params=[("voc.tar", pack_tar), ("voc.tgz", pack_tgz), ("voc.zip", pack_zip)], ids=lambda kind: kind[0])
def packed(request, voc, tmp_path, monkeypatch) -> tuple[Path, dict]:
    """A folder with the VOC set as an archive, and that archive's entry of params.yaml."""
    file, pack = request.param
    monkeypatch.setenv("SIZEWISE_DOWNLOADS", str(tmp_path / "downloads"))
    folder = tmp_path / "archives"
    folder.mkdir()
    pack(voc, folder / file)
    entry = {
        "file": file,
        "url": f"http://127.0.0.1:9/{file}",
        "mirrors": [],
        "size": (folder / file).stat().st_size,
        "checksum": f"md5:{md5(folder / file)}",
        "confirmed": True,
        "strip": "VOCdevkit/VOC2012/",
        "under": "none",
    }
    return folder, entry


def test_the_same_data_set(voc, packed, voc_params: Callable[..., Params], prepared):
    folder, entry = packed
    changes = {"instances": "SegmentationObject", "tags": "xml"}
    plain = prepared(voc, voc_params(**changes))
    images = {image_id: plain.image(image_id) for image_id in plain.records}
    before = {name: ZipReader(prepared.out).bytes(name) for name in ZipReader(prepared.out).names()}
    prepared.raw.unlink()
    prepared.out.unlink()

    dataset = prepared(folder, voc_params(**changes, archives=[entry]))
    reader = ZipReader(prepared.out)
    assert reader.names() == list(before)
    for name, content in before.items():
        assert reader.bytes(name) == content or name == "images.csv"
    for image_id, image in images.items():
        assert np.array_equal(dataset.image(image_id), image)
        assert dataset.records[image_id].location.startswith(("bytes:", "deflate:"))
    assert list(process_map(dataset.image, list(images) * 20, "read", 60))[59].shape == images["c"].shape

    index = Index(prepared.raw)
    for name, file in index.files.items():
        assert read(index.raw, file) == (voc / name).read_bytes()
    assert index.lines("ImageSets/Segmentation/train.txt") == [(1, "a"), (2, "b")]


def test_an_archive_that_is_gone_or_changed(packed, voc_params, prepared, tmp_path):
    folder, entry = packed
    data = voc_params(archives=[entry])
    prepared.index(folder, data)
    prepared.prepare(data)
    dataset = Dataset(prepared.out)
    [path] = {Path(row["location"][row["location"].index("/") :]) for row in ZipReader(prepared.raw).rows("index.csv")}
    content = bytearray(path.read_bytes())
    place = int(dataset.records["b"].location.split(":")[1])
    content[place : place + 50] = bytes(50)
    path.write_bytes(content)
    message = prepared.fault_now(data)
    assert f"data set mine of {path.parent} cannot be used (1 fault)" in message
    assert "JPEGImages/b.jpg: " in message
    assert "`download` indexed it" in message or "changed since it was indexed" in message
    path.unlink()
    message = prepared.fault_now(data)
    assert f"the archive is gone; put {path} there again" in message
    with pytest.raises(Fault, match="image b cannot be read: .*the archive is gone"):
        dataset.image("b")
