"""Every member of a zip where zipfile says it is, and every hostile one refused by name."""

from __future__ import annotations

import stat
import struct
import warnings
import zipfile
from dataclasses import replace

import numpy as np
import pytest

from stages.core.faults import Fault
from stages.core.locations import read_location, split_span
from stages.download.archive_index import index_archive
from tests.download.test_tar_members import ARCHIVE as TAR

ARCHIVE = replace(TAR, file="a.zip")
PARTS = ["x/", "list.txt"]
CENTRAL = b"PK\1\2"


def write(path, members, method=zipfile.ZIP_DEFLATED):
    """A zip at `path` of names, or ZipInfos, and contents."""
    with warnings.catch_warnings(), zipfile.ZipFile(path, "w", method) as archive:
        warnings.simplefilter("ignore")  # that a name stands there twice
        for name, content in members:
            archive.writestr(name, content)
    return path


def fault(path) -> str:
    """The message with which an archive is refused."""
    with pytest.raises(Fault) as caught:
        index_archive(path, ARCHIVE, PARTS)
    return str(caught.value)


def patch(path, place: int, values: str, *numbers: int, local: int | None = None) -> None:
    """Writes numbers at a place of the last central header and, at `local`, of the last local one."""
    content = bytearray(path.read_bytes())
    struct.pack_into(values, content, content.rindex(CENTRAL) + place, *numbers)
    if local is not None:
        struct.pack_into(values, content, content.rindex(b"PK\3\4") + local, *numbers)
    path.write_bytes(content)


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize("prefix", [b"", b"bytes before the zip"])
def test_members_are_where_zipfile_finds_them(tmp_path, method, prefix):
    generator = np.random.default_rng(0)
    members = {"top/x/": b"", "top/list.txt": b"list"}
    for number in range(100):
        size = int(generator.choice([0, 1, 2000, 70_000]))
        members[f"top/x/{number}{'ä' * (number % 2)}"] = generator.integers(0, 3, size, dtype=np.uint8).tobytes()
    path = write(tmp_path / "a.zip", members.items(), method)
    path.write_bytes(prefix + path.read_bytes())
    rows = index_archive(path, ARCHIVE, PARTS)
    assert {row["name"]: read_location(row["location"]) for row in rows} == {
        name.removeprefix("top/"): content for name, content in members.items() if name != "top/x/"
    }
    assert all(("size" in split_span(row["location"])) == (method == zipfile.ZIP_DEFLATED) for row in rows)


def test_large_members_are_read_in_pieces(tmp_path):
    content = np.random.default_rng(0).integers(0, 2, 5_000_000, dtype=np.uint8).tobytes()
    path = write(tmp_path / "a.zip", [("top/x/a.json", content), ("top/x/zeros", bytes(9_000_000))])
    rows = index_archive(path, ARCHIVE, PARTS)
    assert [read_location(row["location"]) for row in rows] == [content, bytes(9_000_000)]


def linked(name: str, mode: int) -> zipfile.ZipInfo:
    """A member with the mode of a Unix file."""
    info = zipfile.ZipInfo(name)
    info.create_system, info.external_attr = 3, (mode | 0o777) << 16
    return info


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        ("/top/x/a.jpg", "member '/top/x/a.jpg': its path is absolute"),
        ("top/x/../../../etc/passwd", "its path leads out of its folder (..)"),
        ("top/x/a\\b", "holds a backslash or a control character"),
        (linked("top/x/a.jpg", stat.S_IFLNK), "'top/x/a.jpg' is a symbolic link, not a file"),
        (linked("top/x/a.jpg", stat.S_IFCHR), "'top/x/a.jpg' is a device or pipe, not a file"),
        (linked("top/x/a.jpg", stat.S_IFIFO), "'top/x/a.jpg' is a device or pipe, not a file"),
        ("top/x/good.jpg", "member 'top/x/good.jpg' stands there twice"),
    ],
)
def test_hostile_members_are_refused_by_name(tmp_path, bad, words):
    path = write(tmp_path / "a.zip", [("top/x/good.jpg", b"good"), (bad, b"bad"), ("top/x/better.jpg", b"better")])
    message = fault(path)
    assert f"archive {path} is refused (1 fault)" in message
    assert words in message


def test_other_members_are_left_alone(tmp_path):
    path = write(tmp_path / "a.zip", [("top/x/a.jpg", b"a"), (linked("other/b", stat.S_IFLNK), b"/etc")])
    assert [row["name"] for row in index_archive(path, ARCHIVE, PARTS)] == ["x/a.jpg"]


def test_encrypted(tmp_path):
    path = write(tmp_path / "a.zip", [("top/x/a.jpg", b"secret")])
    patch(path, 8, "<H", 1, local=6)
    assert "'top/x/a.jpg' is encrypted, not a file" in fault(path)


def test_other_packing(tmp_path):
    path = write(tmp_path / "a.zip", [("top/x/a.jpg", bytes(100))], zipfile.ZIP_LZMA)
    assert "'top/x/a.jpg' is packed by method 14, not a file" in fault(path)


@pytest.mark.parametrize("size", [5, 99_999, 100_001, 2**31 + 1])
def test_a_bomb_whose_size_is_a_lie(tmp_path, size):
    path = write(tmp_path / "a.zip", [("top/x/good.jpg", b"good"), ("top/x/bomb.jpg", bytes(100_000))])
    patch(path, 24, "<I", size)
    message = fault(path)
    assert "member 'top/x/bomb.jpg' " in message
    assert "claim" in message
    assert "good" not in message


def test_a_stored_member_of_two_sizes(tmp_path):
    path = write(tmp_path / "a.zip", [("top/x/a.jpg", bytes(100))], zipfile.ZIP_STORED)
    patch(path, 24, "<I", 50)
    assert "'top/x/a.jpg' is stored with two different sizes" in fault(path)


def test_members_that_overlap(tmp_path):
    path = write(tmp_path / "a.zip", [("top/x/a.jpg", bytes(100)), ("top/x/b.jpg", bytes(100))], zipfile.ZIP_STORED)
    content = bytearray(path.read_bytes())
    struct.pack_into("<2I", content, content.index(CENTRAL) + 20, 200, 200)
    path.write_bytes(content)
    assert "a member 'top/x/a.jpg' whose bytes reach into the next one" in fault(path)
    path = write(tmp_path / "a.zip", [("top/x/a.jpg", bytes(100)), ("top/x/a.jpg", bytes(100))], zipfile.ZIP_STORED)
    patch(path, 42, "<I", 0)  # both at the same place
    assert "whose bytes reach into the next one" in fault(path)


def test_wrong_content(tmp_path):
    path = write(tmp_path / "a.zip", [("top/x/a.jpg", b"content"), ("top/x/b.jpg", b"right")], zipfile.ZIP_STORED)
    path.write_bytes(path.read_bytes().replace(b"content", b"CONTENT"))
    message = fault(path)
    assert "member 'top/x/a.jpg' has the CRC" in message
    assert "b.jpg" not in message


def test_a_name_that_differs_between_the_headers(tmp_path):
    path = write(tmp_path / "a.zip", [("top/x/a.jpg", b"a")])
    path.write_bytes(path.read_bytes().replace(b"top/x/a.jpg", b"top/x/b.jpg", 1))
    assert "calls member 'top/x/a.jpg' otherwise in its header" in fault(path)


def test_names_that_are_not_utf8(tmp_path):
    path = write(tmp_path / "a.zip", [("top/x/a.jpg", b"a")])
    plain = path.read_bytes()
    path.write_bytes(plain.replace(b"top/x/a.jpg", b"top/x/\xff.jpg"))
    assert "member 'top/x/\\udcff.jpg': its name is not UTF-8" in fault(path)
    patch(path, 8, "<H", 0x800, local=6)
    assert "a name in it is not UTF-8: b'top/x/\\xff.jpg'" in fault(path)


@pytest.mark.parametrize("content", [b"", b"no zip", bytes(1000)])
def test_no_zip(tmp_path, content):
    (tmp_path / "a.zip").write_bytes(content)
    assert "cannot be read as a zip" in fault(tmp_path / "a.zip")


def test_damage_anywhere_never_ends_in_anything_but_a_refusal(tmp_path):
    generator = np.random.default_rng(0)
    contents = {f"x/{number}": generator.integers(0, 3, 400, dtype=np.uint8).tobytes() for number in range(4)}
    path = write(tmp_path / "a.zip", [("top/" + name, content) for name, content in contents.items()])
    whole = np.frombuffer(path.read_bytes(), np.uint8)
    for _ in range(300):
        damaged = whole.copy()
        damaged[generator.integers(0, len(whole), 2)] = generator.integers(0, 256, 2)
        path.write_bytes(damaged.tobytes())
        try:
            rows = index_archive(path, ARCHIVE, PARTS)
        except Fault:
            continue
        for row in rows:  # the damage is in a part that says nothing of these
            assert read_location(row["location"]) in contents.values()
