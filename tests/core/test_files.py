"""Files that are whole or absent, and the same bytes for the same content."""

from __future__ import annotations

import io
import multiprocessing
import os
import pickle
import zipfile

import numpy as np
import pytest
from PIL import Image

from stages.core import files
from stages.core.faults import Fault

PALETTE = ((0, 0, 0), (128, 0, 0), *((7, 8, 9),) * 254)


def test_atomic_makes_the_folder_and_leaves_no_other_file(tmp_path):
    path = tmp_path / "a" / "b.txt"
    with files.atomic(path) as temporary:
        temporary.write_text("new")
        assert not path.exists()
    assert path.read_text() == "new"
    assert [entry.name for entry in path.parent.iterdir()] == ["b.txt"]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit])
def test_atomic_keeps_what_was_there_when_it_fails(tmp_path, error):
    path = tmp_path / "b.txt"
    path.write_text("old")
    with pytest.raises(error), files.atomic(path) as temporary:
        temporary.write_text("half")
        raise error
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["b.txt"]


def test_atomic_leaves_a_linked_original_alone(tmp_path):
    """DVC links a workspace file to its cache: writing through the link would destroy the cache."""
    cache, path = tmp_path / "cache", tmp_path / "out.csv"
    cache.write_text("cached")
    os.link(cache, path)
    with files.atomic(path) as temporary:
        temporary.write_text("new")
    assert (cache.read_text(), path.read_text()) == ("cached", "new")


def test_md5(tmp_path):
    path = tmp_path / "x"
    path.write_bytes(b"hello\n")
    assert files.md5(path) == "b1946ac92492d2347c6235b4d2611184"  # md5sum


def test_json_and_csv(tmp_path):
    files.write_json(tmp_path / "x.json", {"b": [1, 2.5], "a": None})
    assert (tmp_path / "x.json").read_text() == '{\n  "b": [\n    1,\n    2.5\n  ],\n  "a": null\n}\n'
    assert files.read_json(tmp_path / "x.json") == {"b": [1, 2.5], "a": None}
    rows = [{"id": "a,b", "v": 1 / 3, "n": np.int64(4)}, {"id": "c", "v": float("nan"), "n": np.float32(0.1)}]
    files.write_csv(tmp_path / "x.csv", rows, ("id", "v", "n"))
    assert (tmp_path / "x.csv").read_bytes() == b'id,v,n\n"a,b",0.333333,4\nc,,0.1\n'
    assert files.read_csv(tmp_path / "x.csv")[0] == {"id": "a,b", "v": "0.333333", "n": "4"}


def write_some(path, order=("a", "b")):
    """A zip with two members and a mask."""
    with files.write_zip(path) as archive:
        for name in order:
            archive.text(f"{name}.txt", name * 3)
        archive.array("x.npy", np.arange(6, dtype=np.uint8).reshape(2, 3))
        archive.png("m.png", np.array([[0, 1], [255, 0]], np.uint8), PALETTE)


def test_a_zip_is_the_same_bytes_for_the_same_content(tmp_path, monkeypatch):
    write_some(tmp_path / "1.zip")
    monkeypatch.setattr("time.time", lambda: 2e9)
    old = os.umask(0o077)
    write_some(tmp_path / "2.zip")
    os.umask(old)
    assert (tmp_path / "1.zip").read_bytes() == (tmp_path / "2.zip").read_bytes()


def test_a_zip_is_stored_and_keeps_its_order(tmp_path):
    write_some(tmp_path / "x.zip", ("b", "a"))
    with zipfile.ZipFile(tmp_path / "x.zip") as archive:
        infos = archive.infolist()
    assert {info.compress_type for info in infos} == {zipfile.ZIP_STORED}
    assert {info.external_attr >> 16 for info in infos} == {0o644}
    reader = files.ZipReader(tmp_path / "x.zip")
    assert reader.names() == ["b.txt", "a.txt", "x.npy", "m.png"]
    assert "a.txt" in reader
    assert "c.txt" not in reader


def test_a_zip_gives_back_what_was_written(tmp_path):
    write_some(tmp_path / "x.zip")
    reader = files.ZipReader(tmp_path / "x.zip")
    assert reader.text("a.txt") == "aaa"
    assert reader.array("x.npy").tolist() == [[0, 1, 2], [3, 4, 5]]
    assert reader.png("m.png").tolist() == [[0, 1], [255, 0]]


def test_a_zip_that_failed_is_absent(tmp_path):
    with pytest.raises(RuntimeError), files.write_zip(tmp_path / "x.zip") as archive:
        archive.text("a", "a")
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_read_from_a_zip(tmp_path):
    write_some(tmp_path / "x.zip")
    (tmp_path / "no.zip").write_text("no zip")
    with pytest.raises(Fault, match=r"x\.zip has no member 'c\.txt'$"):
        files.ZipReader(tmp_path / "x.zip").text("c.txt")
    with pytest.raises(
        Fault, match=r"no\.zip is damaged \(File is not a zip file\); remove it and run `dvc repro`, or put"
    ):
        files.ZipReader(tmp_path / "no.zip").names()
    with pytest.raises(Fault, match=r"absent\.zip cannot be read"):
        files.ZipReader(tmp_path / "absent.zip").names()


def test_a_damaged_zip_names_itself_and_the_member(tmp_path):
    path = tmp_path / "x.zip"
    with files.write_zip(path) as archive:
        archive.text("a.txt", "a" * 100)
        archive.text("b.txt", "b" * 100)
    content = path.read_bytes()
    place = content.index(b"b" * 100)
    path.write_bytes(content[:place] + b"?" + content[place + 1 :])
    assert files.ZipReader(path).text("a.txt") == "a" * 100
    with pytest.raises(Fault, match=r"x\.zip is damaged at member 'b\.txt' \(Bad CRC-32.*\); remove it and run"):
        files.ZipReader(path).text("b.txt")


def test_a_member_whose_name_is_damaged_is_not_taken_for_absent(tmp_path):
    path = tmp_path / "x.zip"
    with files.write_zip(path) as archive:
        archive.text("a.txt", "a")
    content = path.read_bytes()
    place = content.rindex(b"a.txt")  # in the directory; the other one is before the member
    path.write_bytes(content[:place] + b"?" + content[place + 1 :])
    with pytest.raises(Fault, match=r"x\.zip is damaged"):
        "a.txt" in files.ZipReader(path)  # noqa: B015 - what is asked is the test


def read_members(reader, names, queue):
    """In another process: the text of each member."""
    queue.put([reader.text(name) for name in names])


def test_a_reader_that_is_open_before_a_fork_reads_well_after_it(tmp_path):
    """Processes that share one handle share its position in the file: they would read each other's bytes."""
    names = [f"{number}.txt" for number in range(200)]
    with files.write_zip(tmp_path / "x.zip") as archive:
        for name in names:
            archive.text(name, name * 50)
    reader = files.ZipReader(tmp_path / "x.zip")
    assert reader.text(names[0]) == names[0] * 50  # opens the file
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    processes = [context.Process(target=read_members, args=(reader, names, queue)) for _ in range(3)]
    for process in processes:
        process.start()
    assert [reader.text(name) for name in names] == [name * 50 for name in names]
    for _ in processes:
        assert queue.get(timeout=60) == [name * 50 for name in names]
    for process in processes:
        process.join()
    handle = reader._zip
    reader._pid = -1  # as a fork leaves it
    reader.names()
    assert reader._zip is not handle


def test_a_reader_travels_without_its_handle(tmp_path):
    write_some(tmp_path / "x.zip")
    reader = files.ZipReader(tmp_path / "x.zip")
    reader.names()
    assert pickle.loads(pickle.dumps(reader)).text("b.txt") == "bbb"  # noqa: S301 - our own


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_png_of_labels(kind):
    array = np.array([[0, 1, 255], [np.iinfo(kind).max, 3, 200]], kind)
    back = files.decode_image(files.encode_png(array))
    assert back.dtype == kind
    assert np.array_equal(back, array)


def test_a_bilevel_png_holds_0_and_1():
    array = np.array([[0, 1, 1], [1, 0, 0]], np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(array.astype(bool)).save(buffer, "PNG")
    back = files.decode_image(buffer.getvalue())
    assert back.dtype == np.uint8
    assert np.array_equal(back, array)


def test_png_with_a_palette_holds_labels_and_shows_colours():
    array = np.array([[0, 1], [255, 1]], np.uint8)
    content = files.encode_png(array, PALETTE)
    assert np.array_equal(files.decode_image(content), array)
    shown = np.array(Image.open(io.BytesIO(content)).convert("RGB"))
    assert shown[0].tolist() == [[0, 0, 0], [128, 0, 0]]


def test_png_of_a_colour_image_and_of_a_view():
    image = np.random.default_rng(0).integers(0, 256, (4, 6, 3), dtype=np.uint8)
    assert np.array_equal(files.decode_image(files.encode_png(image)), image)
    assert np.array_equal(files.decode_image(files.encode_png(image[::-1, ::2])), image[::-1, ::2])


def test_bytes_that_are_no_image():
    for content in (b"", b"text", files.encode_png(np.zeros((40, 40), np.uint8))[:-30]):
        with pytest.raises(OSError):  # noqa: PT011 - Pillow's messages differ
            files.decode_image(content)
