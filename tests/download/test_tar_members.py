"""Every member of a tar where tarfile says it is, and every hostile one refused by name."""

from __future__ import annotations

import gzip
import io
import tarfile
from itertools import pairwise

import numpy as np
import pytest

from stages.core.archives import Archive
from stages.core.faults import Fault
from stages.core.locations import read_location
from stages.download.archive_index import index_archive, restore
from stages.download.members import BrokenArchiveError, Stream
from stages.download.tar_members import BLOCK, tar_members

ARCHIVE = Archive("a.tar", "http://127.0.0.1/a.tar", (), None, "md5:" + "0" * 32, True, "top/", "")
PARTS = ["x/", "list.txt"]


def entry(name: str, content: bytes = b"", **changes) -> tuple[tarfile.TarInfo, bytes]:
    """A member with the fields that `changes` sets."""
    info = tarfile.TarInfo(name)
    info.size = len(content)
    for key, value in changes.items():
        setattr(info, key, value)
    return info, content


def write(path, *entries, kind=tarfile.PAX_FORMAT, encoding="utf-8"):
    """A tar at `path`."""
    with tarfile.open(path, "w", format=kind, encoding=encoding, errors="surrogateescape") as tar:
        for info, content in entries:
            tar.addfile(info, io.BytesIO(content))
    return path


def fault(tmp_path, *entries, **options) -> str:
    """The message with which an archive is refused, as it is and packed; nothing may be written."""
    path = write(tmp_path / "a.tar", *entries, **options)
    with pytest.raises(Fault) as caught:
        index_archive(path, ARCHIVE, PARTS)
    packed = tmp_path / "a.tgz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    before = sorted(tmp_path.iterdir())
    with pytest.raises(Fault) as other:
        restore(packed, tmp_path / "a.zip", ARCHIVE, PARTS)
    assert str(other.value) == str(caught.value).replace(str(path), str(packed))
    assert sorted(tmp_path.iterdir()) == before
    return str(caught.value)


@pytest.mark.parametrize("kind", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_members_are_where_tarfile_finds_them(tmp_path, kind):
    generator = np.random.default_rng(kind)
    long = 90 if kind == tarfile.USTAR_FORMAT else 400
    entries = [entry("top/x", type=tarfile.DIRTYPE)]
    for number in range(100):
        size = int(generator.choice([0, 1, 511, 512, 513, 1024, 70_000]))
        name = f"top/x/{number:03d}" + "ä" * int(generator.integers(0, 2)) + "n" * int(generator.integers(0, long))
        entries.append(entry(name, generator.bytes(size)))
    path = write(tmp_path / "a.tar", *entries, kind=kind)
    with tarfile.open(path) as tar:
        truth = [(info.name, info.isfile(), info.offset_data, info.size) for info in tar]
    with path.open("rb") as file:
        found = list(tar_members(Stream(file, seekable=True)))
    assert [(member.name, member.kind == "file", member.offset, member.size) for member in found] == truth
    with gzip.open(io.BytesIO(gzip.compress(path.read_bytes()))) as file:
        assert list(tar_members(Stream(file, seekable=False))) == found
    rows = index_archive(path, ARCHIVE, PARTS)
    assert {row["name"]: read_location(row["location"]) for row in rows} == {
        info.name.removeprefix("top/"): content for info, content in entries[1:]
    }


def test_only_what_is_needed_is_read(tmp_path):
    path = write(
        tmp_path / "a.tar",
        entry("top/list.txt", b"list"),
        entry("./top/x/dot.jpg", b"dot"),
        entry("top/x/.hidden", b"hidden"),
        entry("top/x/deeper/a.jpg", b"deeper"),
        entry("top/other.txt", b"other"),
        entry("top/other", type=tarfile.SYMTYPE, linkname="/etc"),
        entry("elsewhere/link", type=tarfile.SYMTYPE, linkname="/etc"),
        entry("list.txt", b"not below top"),
    )
    rows = index_archive(path, ARCHIVE, PARTS)
    assert {row["name"]: read_location(row["location"]) for row in rows} == {"list.txt": b"list", "x/dot.jpg": b"dot"}


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (entry("/top/x/a.jpg"), "member '/top/x/a.jpg': its path is absolute"),
        (entry("top/x/../../../etc/passwd"), "its path leads out of its folder (..)"),
        (entry("../a"), "member '../a': its path leads out"),
        (entry("top/x/a\\b.jpg"), "holds a backslash or a control character"),
        (entry("top/x/a\nb.jpg"), "member 'top/x/a\\nb.jpg': its name holds"),
        (entry("top/x/a.jpg", type=tarfile.SYMTYPE, linkname="/etc/passwd"), "'top/x/a.jpg' is a symbolic link, not"),
        (entry("top/x/a.jpg", type=tarfile.LNKTYPE, linkname="/etc/passwd"), "'top/x/a.jpg' is a hard link, not"),
        (entry("top/x/a.jpg", type=tarfile.CHRTYPE, devmajor=1, devminor=5), "'top/x/a.jpg' is a device, not a file"),
        (entry("top/x/a.jpg", type=tarfile.BLKTYPE), "'top/x/a.jpg' is a device, not a file"),
        (entry("top/x/a.jpg", type=tarfile.FIFOTYPE), "'top/x/a.jpg' is a pipe, not a file"),
        (entry("top/x/a.jpg", type=b"Z"), "'top/x/a.jpg' is of the unknown type b'Z', not a file"),
        (entry("top/x/a.jpg", pax_headers={"GNU.sparse.major": "1"}), "'top/x/a.jpg' is a sparse file, not a file"),
        (entry("top/x/good.jpg", b"other"), "member 'top/x/good.jpg' stands there twice"),
    ],
)
def test_hostile_members_are_refused_by_name(tmp_path, bad, words):
    message = fault(tmp_path, entry("top/x/good.jpg", b"good"), bad, entry("top/x/better.jpg", b"better"))
    assert f"archive {tmp_path / 'a.tar'} is refused (1 fault)" in message
    assert words in message


def test_all_faults_are_told_together(tmp_path):
    message = fault(tmp_path, entry("/a"), entry("../b"), entry("top/x/c", type=tarfile.SYMTYPE, linkname="d"))
    assert "(3 faults)" in message


def test_a_name_that_is_not_utf8(tmp_path):
    bad = entry("top/x/\udcff.jpg", b"bytes")
    for kind in (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT):
        assert "member 'top/x/\\udcff.jpg': its name is not UTF-8" in fault(tmp_path, bad, kind=kind)


def test_a_member_that_is_too_large(tmp_path):
    path = write(tmp_path / "a.tar", entry("top/x/a.jpg"))
    info = tarfile.TarInfo("top/x/a.jpg")
    info.size = 2**31 + 1
    with path.open("wb") as file:
        file.write(info.tobuf())
        file.truncate(2**31 + 2 * BLOCK + 3 * BLOCK)  # a hole
    with pytest.raises(Fault, match="'top/x/a.jpg' claims 2147483649 bytes; at most 2147483648 are read"):
        index_archive(path, ARCHIVE, PARTS)


def test_an_extension_may_not_fill_the_memory(tmp_path):
    info = tarfile.TarInfo("././@LongLink")
    info.type, info.size = tarfile.GNUTYPE_LONGNAME, 10**9
    (tmp_path / "a.tar").write_bytes(info.tobuf(tarfile.GNU_FORMAT) + bytes(10 * BLOCK))
    with pytest.raises(Fault, match="has a header of 1000000000 bytes at byte 0"):
        index_archive(tmp_path / "a.tar", ARCHIVE, PARTS)


@pytest.mark.parametrize(
    "record", [b"path=x\n", b"999 path=x\n", b"9 path\n", b"11 path=abcd", b"99999999999 path=x\n", b"5 a=b"]
)
def test_a_malformed_pax_header(tmp_path, record):
    info = tarfile.TarInfo("pax")
    info.type, info.size = tarfile.XHDTYPE, len(record)
    blocks = info.tobuf() + record.ljust(BLOCK, b"\0") + tarfile.TarInfo("top/x/a.jpg").tobuf() + bytes(2 * BLOCK)
    (tmp_path / "a.tar").write_bytes(blocks)
    with pytest.raises(Fault, match="has a malformed pax header at byte 0"):
        index_archive(tmp_path / "a.tar", ARCHIVE, PARTS)


def test_a_pax_header_may_not_rename_everything_or_give_a_wrong_size(tmp_path):
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT, pax_headers={"path": "top/x/all.jpg"}) as tar:
        tar.addfile(tarfile.TarInfo("top/x/a.jpg"))
    with pytest.raises(Fault, match="at byte 0 that changes path of all members"):
        index_archive(path, ARCHIVE, PARTS)
    for size, words in (("-5", "has a pax header with size '-5'"), ("99999", "is cut off")):
        write(path, entry("top/x/a.jpg", pax_headers={"size": size}))
        with pytest.raises(Fault, match=words):
            index_archive(path, ARCHIVE, PARTS)


def test_a_tar_that_is_cut_off_anywhere_is_refused(tmp_path):
    entries = [entry(f"top/x/{number}.jpg", bytes([number]) * 700) for number in range(3)]
    whole = write(tmp_path / "a.tar", *entries).read_bytes()
    end = 3 * 3 * BLOCK
    for length in sorted({*range(0, end + 1, 128), 1, 511, 513, end + BLOCK - 1}):
        (tmp_path / "cut.tar").write_bytes(whole[:length])
        with pytest.raises(Fault, match=f"is cut off at byte {length}"):
            index_archive(tmp_path / "cut.tar", ARCHIVE, PARTS)
    (tmp_path / "cut.tar").write_bytes(whole[: end + BLOCK])
    assert len(index_archive(tmp_path / "cut.tar", ARCHIVE, PARTS)) == 3


def test_a_damaged_header_in_the_middle_is_no_end(tmp_path):
    path = write(tmp_path / "a.tar", *(entry(f"top/x/{number}.jpg", b"x") for number in range(3)))
    content = bytearray(path.read_bytes())
    content[2 * BLOCK + 5] ^= 1
    path.write_bytes(content)
    with pytest.raises(Fault, match=f"has a damaged header at byte {2 * BLOCK}"):
        index_archive(path, ARCHIVE, PARTS)


def test_random_bytes_never_end_in_anything_but_a_refusal(tmp_path):
    generator = np.random.default_rng(0)
    entries = [entry(f"top/x/{number}.jpg", b"x" * 600, pax_headers={"comment": "é" * 80}) for number in range(4)]
    whole = np.frombuffer(write(tmp_path / "a.tar", *entries).read_bytes(), np.uint8)
    for _ in range(300):
        content = whole.copy()
        content[generator.integers(0, 8 * BLOCK, 3)] = generator.integers(0, 256, 3)
        try:
            members = list(tar_members(Stream(io.BytesIO(content.tobytes()), seekable=True)))
        except BrokenArchiveError:
            continue
        assert all(first.offset + first.size <= second.offset for first, second in pairwise(members))
        assert all(member.offset + member.size <= len(content) for member in members)


def test_a_packed_tar_becomes_a_zip_of_what_is_needed(tmp_path):
    generator = np.random.default_rng(0)
    content = {f"top/x/{number}.mat": generator.bytes(3000 + number) for number in range(20)}
    content |= {"top/list.txt": b"a\n", "top/img/0.jpg": bytes(5000)}
    tar = write(tmp_path / "a.tar", *(entry(name, data) for name, data in content.items()))
    packed = tmp_path / "a.tgz"
    packed.write_bytes(gzip.compress(tar.read_bytes()))
    restore(packed, tmp_path / "a.zip", ARCHIVE, PARTS)
    first = (tmp_path / "a.zip").read_bytes()
    rows = {row["name"]: row for row in index_archive(tmp_path / "a.zip", ARCHIVE, PARTS)}
    plain = {row["name"]: row for row in index_archive(tar, ARCHIVE, PARTS)}
    assert {name: (row["size"], row["md5"]) for name, row in rows.items()} == {
        name: (row["size"], row["md5"]) for name, row in plain.items()
    }
    assert "img/0.jpg" not in rows
    assert {name: read_location(row["location"]) for name, row in rows.items()} == {
        name.removeprefix("top/"): data for name, data in content.items() if "img" not in name
    }
    packed.write_bytes(gzip.compress(tar.read_bytes(), 1))
    restore(packed, tmp_path / "a.zip", ARCHIVE, PARTS)
    assert (tmp_path / "a.zip").read_bytes() == first  # whatever the packing


@pytest.mark.parametrize("damage", ["cut", "bytes", "plain"])
def test_a_packed_tar_that_is_broken(tmp_path, damage):
    tar = write(tmp_path / "a.tar", entry("top/x/a.jpg", np.random.default_rng(0).bytes(100_000)))
    content = bytearray(gzip.compress(tar.read_bytes()))
    if damage == "bytes":
        content[50_000:50_100] = bytes(100)
    broken = {"cut": content[:50_000], "bytes": content, "plain": b"no gzip at all" * 100}[damage]
    (tmp_path / "a.tgz").write_bytes(broken)
    with pytest.raises(Fault, match=r"a\.tgz is refused"):
        restore(tmp_path / "a.tgz", tmp_path / "a.zip", ARCHIVE, PARTS)
    assert not (tmp_path / "a.zip").exists()
