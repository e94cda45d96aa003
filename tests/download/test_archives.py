"""A data set of archives: downloaded or found in a folder, the index names what an unpacked source would."""

from __future__ import annotations

import os
import tarfile
import zipfile

import pytest

from stages.core import fetch as fetching
from stages.core.faults import Fault
from stages.core.files import ZipReader
from stages.core.locations import archive_of, read_location
from stages.core.params import Params
from stages.download import archives as module
from stages.download import source as source_module
from stages.download.members import Stream
from stages.download.source import write_index
from tests.download.archive_files import CONTENT, EXPECTED, VOC, check, md5, tar, voc_files

OWN = source_module.Path(source_module.__file__)


@pytest.fixture(autouse=True)
def downloads(tmp_path, monkeypatch):
    """The downloads folder; failed attempts do not wait."""
    monkeypatch.setenv("SIZEWISE_DOWNLOADS", str(tmp_path / "downloads"))
    monkeypatch.setattr(fetching.time, "sleep", lambda _: None)
    return tmp_path / "downloads"


@pytest.fixture
def data(server):
    """The section of a data set whose two archives the server has; changes go to the first."""

    def make(**changes):
        first = {
            "file": "voc.tar",
            "url": server.at("/voc.tar"),
            "mirrors": [server.at("/mirror/voc.tar")],
            "size": len(CONTENT["voc.tar"]),
            "checksum": md5(CONTENT["voc.tar"]),
            "confirmed": True,
            "strip": "VOCdevkit/VOC2012/",
            "under": "none",
        }
        second = {
            "file": "benchmark.tgz",
            "url": server.at("/benchmark.tgz"),
            "mirrors": [],
            "size": "none",
            "checksum": md5(CONTENT["benchmark.tgz"]),
            "confirmed": False,
            "strip": "benchmark_RELEASE/dataset/",
            "under": "SBD/",
        }
        return Params(VOC | {"archives": [first | changes, second]})

    server.files = {f"/{name}": content for name, content in CONTENT.items()}
    server.files["/mirror/voc.tar"] = CONTENT["voc.tar"]
    return make


@pytest.fixture
def folder(tmp_path):
    """A folder that holds the archives."""
    path = tmp_path / "archives"
    path.mkdir()
    for name, content in CONTENT.items():
        (path / name).write_bytes(content)
    return path


def rows(tmp_path, source, data):
    """The rows of the index."""
    write_index(tmp_path / "raw.zip", "mine", source, data)
    return ZipReader(tmp_path / "raw.zip").rows("index.csv")


def test_downloaded(tmp_path, server, data, downloads):
    check(rows(tmp_path, OWN, data()))
    assert server.paths == ["/voc.tar", "/benchmark.tgz"]
    names = sorted(path.name for path in downloads.iterdir() if not path.name.startswith("."))
    assert names[0] == "benchmark.tgz"
    assert names[1].startswith("benchmark.tgz.")
    assert names[2] == "voc.tar"


def test_what_is_there_is_not_fetched_or_converted_again(tmp_path, server, data, downloads, monkeypatch):
    rows(tmp_path, OWN, data())
    first = (tmp_path / "raw.zip").read_bytes()
    monkeypatch.setattr(module, "restore", lambda *_: pytest.fail())
    (downloads / "benchmark.tgz").unlink()  # its zip is enough
    server.asked.clear()
    check(rows(tmp_path, OWN, data()))
    assert server.asked == []
    assert (tmp_path / "raw.zip").read_bytes() == first


def test_names_sizes_and_checksums_are_those_of_an_unpacked_source(tmp_path, data):
    unpacked = tmp_path / "VOC2012"
    for name, content in EXPECTED.items():
        (unpacked / name).parent.mkdir(parents=True, exist_ok=True)
        (unpacked / name).write_bytes(content)

    def columns(source):
        return [(row["name"], row["size"], row["md5"]) for row in rows(tmp_path, source, data())]

    assert columns(unpacked) == columns(OWN)


def test_a_folder_of_archives(tmp_path, server, data, folder, downloads):
    before = sorted(folder.iterdir())
    found = rows(tmp_path, folder, data())
    check(found)
    assert server.asked == []
    assert sorted(folder.iterdir()) == before
    assert {archive_of(row["location"]) for row in found} == {
        str(folder / "voc.tar"),
        *(str(path) for path in downloads.glob("benchmark.tgz.*.zip")),
    }


def test_data_beside_their_archives_are_read_as_data(tmp_path, data, folder):
    (folder / "JPEGImages").mkdir()
    with pytest.raises(Fault, match="lacks ImageSets/Segmentation/, .*or the archives voc.tar, benchmark.tgz"):
        rows(tmp_path, folder, data())


def test_archives_that_are_missing_or_wrong_are_told_together(tmp_path, data, folder, server):
    (folder / "voc.tar").unlink()
    (folder / "benchmark.tgz").write_bytes(b"other")
    with pytest.raises(Fault) as caught:
        rows(tmp_path, folder, data())
    message = str(caught.value)
    assert f"source {folder} does not have the archives of data set mine (2 faults)" in message
    assert f"voc.tar is missing; it can be had at {server.at('/voc.tar')} or {server.at('/mirror/voc.tar')}" in message
    assert f"benchmark.tgz has 5 bytes with {md5(b'other')}, not {md5(CONTENT['benchmark.tgz'])}" in message
    assert "rests on one source" in message


def test_downloads_that_fail_are_told_together_and_the_rest_stays(tmp_path, server, data, downloads):
    server.missing = {"/benchmark.tgz"}
    server.codes = [503] * 4  # of the first address
    with pytest.raises(Fault) as caught:
        rows(tmp_path, OWN, data())
    message = str(caught.value)
    assert "archives of data set mine are missing: cannot download" in message
    assert f"{server.at('/benchmark.tgz')}: the server answered 404" in message
    assert f"by hand: {downloads / 'benchmark.tgz'}" in message
    assert "rests on one source" in message
    assert server.paths == ["/voc.tar"] * 4 + ["/mirror/voc.tar", "/benchmark.tgz"]
    (downloads / "benchmark.tgz").write_bytes(CONTENT["benchmark.tgz"])  # by hand
    check(rows(tmp_path, OWN, data()))
    assert len(server.paths) == 6


def test_a_conversion_that_is_interrupted_leaves_nothing_and_is_made_again(tmp_path, data, downloads, monkeypatch):
    def interrupt(_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Stream, "finish", interrupt)
        with pytest.raises(KeyboardInterrupt):
            rows(tmp_path, OWN, data())
    assert not list(downloads.glob("*.zip"))
    assert not list(downloads.glob(".*.part"))
    check(rows(tmp_path, OWN, data()))


def test_archives_together_lack_a_part(tmp_path, data):
    changed = data().plain() | {"masks": ["SegmentationClass", "SBD", "SegmentationClassAug"]}
    with pytest.raises(Fault, match="voc.tar, benchmark.tgz lack SegmentationClassAug/$"):
        rows(tmp_path, OWN, Params(changed))
    assert not (tmp_path / "raw.zip").exists()


def test_a_file_in_two_archives(tmp_path, data):
    first, _ = data().plain()["archives"]
    with pytest.raises(Fault, match="voc2.tar has .*, which an archive before it has too"):
        rows(tmp_path, OWN, Params(VOC | {"archives": [first, first | {"file": "voc2.tar"}]}))


def test_a_tags_file_beside_the_archives(tmp_path, server, data):
    (tmp_path / "tags.txt").write_text("2007_000000 cat\n")
    name = str(tmp_path / "tags.txt")
    found = rows(tmp_path, OWN, Params(data().plain() | {"tags": "file", "tags_file": name}))
    assert {row["name"]: row["location"] for row in found}[name] == name
    server.asked.clear()
    with pytest.raises(Fault, match=r"^data set mine needs /gone\.txt, which does not exist"):
        rows(tmp_path, OWN, Params(data().plain() | {"tags": "file", "tags_file": "/gone.txt"}))
    assert server.asked == []  # before anything is downloaded


def test_hostile_archives_leave_nothing(tmp_path, server, data, downloads):
    content = tar(voc_files() | {"../../escaped": b"x"})
    server.files["/voc.tar"] = content
    with pytest.raises(Fault, match=r"voc\.tar is refused \(2 faults\):\n.*\n.*'../../escaped': its path leads out"):
        rows(tmp_path, OWN, data(checksum=md5(content), size=len(content)))
    assert {path.name for path in tmp_path.iterdir()} == {"downloads"}
    assert not (tmp_path / "raw.zip").exists()


def test_zips_as_coco_has_them(tmp_path, monkeypatch, folder, data):
    """`annotations/*.json` and a folder of images, stored as COCO's are, from two zips."""
    monkeypatch.setitem(source_module.PARTS, "voc", lambda _: (["train2017/", "annotations/a.json"], []))
    zips = {"images.zip": {"train2017/1.jpg": b"one"}, "annotations.zip": {"annotations/a.json": b"{}" * 9000}}
    archives = []
    for file, members in zips.items():
        with zipfile.ZipFile(folder / file, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.mkdir(next(iter(members)).partition("/")[0])
            for name, content in members.items():
                archive.writestr(name, content)
        changes = {"file": file, "checksum": md5((folder / file).read_bytes()), "size": "none", "strip": "none"}
        archives.append(data(**changes).plain()["archives"][0])
    found = rows(tmp_path, folder, Params(VOC | {"archives": archives}))
    assert {row["name"]: read_location(row["location"]) for row in found} == {
        "train2017/1.jpg": b"one",
        "annotations/a.json": b"{}" * 9000,
    }


def test_what_to_type(tmp_path, data, folder):
    with pytest.raises(Fault, match=r"has no archives to download; set source .*-S source=/abs/path/VOC2012"):
        rows(tmp_path, OWN, Params(VOC))
    words = r"is a module; set -S source=/abs/path, .* or one with voc\.tar, benchmark\.tgz, or -S source=stages/downl"
    with pytest.raises(Fault, match=words):
        rows(tmp_path, OWN.with_name("fetch.py"), data())
    with pytest.raises(Fault, match=f"voc.tar .*is a file, not a folder; set -S source={folder}, where it lies"):
        rows(tmp_path, folder / "voc.tar", data())


@pytest.mark.skipif("SIZEWISE_REAL_DATA" not in os.environ, reason="SIZEWISE_REAL_DATA is not set")
def test_real_images_from_a_tar(tmp_path, real_data, data):
    root = real_data / "voc_sample/VOC2012"
    with tarfile.open(tmp_path / "voc.tar", "w") as archive:
        archive.add(root, "VOCdevkit/VOC2012")
    lists = {"train": "train", "val": "val"}
    plain = VOC | {"lists": lists, "masks": ["SegmentationClass"], "instances": "none", "tags": "masks"}
    first = data(checksum=md5((tmp_path / "voc.tar").read_bytes()), size="none").plain()["archives"][0]
    found = rows(tmp_path, tmp_path, Params(plain | {"archives": [first]}))
    expected = rows(tmp_path, root, Params(plain))
    assert len(found) > 300
    assert [(row["name"], row["md5"]) for row in found] == [(row["name"], row["md5"]) for row in expected]
    for row, other in zip(found, expected, strict=True):
        assert read_location(row["location"]) == read_location(other["location"])
