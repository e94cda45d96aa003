"""A location gives back the bytes that were put there, from any process, or says why it cannot."""

from __future__ import annotations

import multiprocessing
import zlib

import numpy as np
import pytest

from stages.core.faults import Fault
from stages.core.files import ZipReader, write_zip
from stages.core.locations import archive_of, packed_span, read_location, span, split_span


def deflate(content: bytes) -> bytes:
    """A raw deflate stream, as zips have them."""
    engine = zlib.compressobj(6, zlib.DEFLATED, -zlib.MAX_WBITS)
    return engine.compress(content) + engine.flush()


@pytest.fixture
def archive(tmp_path):
    """A file of 100 stretches, every second one packed, and their locations and contents."""
    generator = np.random.default_rng(0)
    path = tmp_path / "odd:name 7:8:.tar"
    places = []
    with path.open("wb") as file:
        for number, size in enumerate([0, 1, *generator.integers(1, 5000, 98).tolist()]):
            content = generator.integers(0, 4, size, dtype=np.uint8).tobytes()
            packed = deflate(content)
            offset = file.tell()
            if number % 2:
                places.append((packed_span(path, offset, len(packed), size), content))
            else:
                places.append((span(path, offset, size), content))
            file.write((packed if number % 2 else content) + b"between")
    return path, places


def test_every_stretch_in_any_order(archive):
    path, places = archive
    for number in np.random.default_rng(1).permutation(len(places)).tolist():
        location, content = places[number]
        assert read_location(location) == content
        assert archive_of(location) == str(path)


@pytest.mark.parametrize("way", ["fork", "spawn"])
def test_worker_processes_read_the_same(archive, way):
    _, places = archive
    read_location(places[5][0])  # nothing of this may stay open over a fork
    with multiprocessing.get_context(way).Pool(2) as pool:
        assert pool.map(read_location, [location for location, _ in places]) == [content for _, content in places]


def test_files_and_raw_zip(tmp_path):
    path = tmp_path / "deflate:1:2:3:.png"
    path.write_bytes(b"plain")
    with write_zip(tmp_path / "raw.zip") as raw:
        raw.bytes("a/b.png", b"inside")
    assert read_location(str(path)) == b"plain"
    assert read_location("raw:a/b.png", ZipReader(tmp_path / "raw.zip")) == b"inside"
    assert archive_of(str(path)) is None
    assert archive_of("raw:a/b.png") is None
    with pytest.raises(OSError, match=r"raw\.zip, which was not given"):
        read_location("raw:a/b.png")
    with pytest.raises(Fault, match="has no member 'c'"):
        read_location("raw:c", ZipReader(tmp_path / "raw.zip"))


def test_parts_of_a_location(tmp_path):
    assert split_span("bytes:1:2:/a:b") == {"offset": "1", "length": "2", "archive": "/a:b"}
    assert split_span("deflate:1:2:3:/a") == {"offset": "1", "length": "2", "size": "3", "archive": "/a"}
    for text in ("/bytes:1:2:/a", "bytes:1:/a", "bytes:-1:2:/a", "bytes:1:2:a", "raw:x"):
        assert split_span(text) is None


def test_an_archive_that_is_gone_or_changed(archive):
    path, places = archive
    (plain, _), (packed, _) = places[-2:]
    content = path.read_bytes()
    changed = "changed since it was indexed; `dvc repro -f download`"
    path.write_bytes(content[: len(content) // 2])
    for location in (plain, packed):
        with pytest.raises(OSError, match=changed):
            read_location(location)
    path.write_bytes(b"\xff" * len(content))
    with pytest.raises(OSError, match=changed):
        read_location(packed)
    path.unlink()
    with pytest.raises(FileNotFoundError, match=r"the archive is gone; put .*odd:name 7:8:\.tar there again"):
        read_location(plain)


@pytest.mark.parametrize("claimed", [0, 999, 1001, 10**6])
def test_a_stretch_that_unpacks_to_another_size(tmp_path, claimed):
    packed = deflate(bytes(1000))
    path = tmp_path / "a.zip"
    path.write_bytes(packed)
    assert read_location(packed_span(path, 0, len(packed), 1000)) == bytes(1000)
    with pytest.raises(OSError, match="changed since"):
        read_location(packed_span(path, 0, len(packed), claimed))
