"""The bytes of a download: as many as were announced, and room for them on the disk."""

from __future__ import annotations

import errno
import os
import subprocess
from types import SimpleNamespace

import pytest

from stages.core import fetch as module
from stages.core.faults import Fault
from tests.core.test_fetch import fetch, part_of


def test_an_answer_of_another_length_is_not_read(server, target):
    with pytest.raises(Fault, match="it offers a file of 1024000 bytes instead of 5"):
        fetch(server.url, target, server.checksum, size=5)
    assert len(server.asked) == 1
    assert not part_of(target).exists()


def test_a_file_of_another_size_is_replaced_without_reading_it(server, target, monkeypatch):
    target.parent.mkdir()
    target.write_bytes(b"old")
    digest = module.digest
    monkeypatch.setattr(module, "digest", lambda path, kind: digest(path, kind) if path != target else pytest.fail())
    fetch(server.url, target, server.checksum, size=len(server.content))
    assert target.read_bytes() == server.content


def test_a_part_that_is_longer_than_the_file_is_begun_anew(server, target):
    target.parent.mkdir()
    part_of(target).write_bytes(server.content + b"more")
    fetch(server.url, target, server.checksum, size=len(server.content))
    assert server.asked == [None]


def test_an_address_whose_file_is_shorter_than_the_part_is_wrong_and_the_part_is_kept(server, target):
    server.files = {"/file.bin": b"an error page"}
    target.parent.mkdir()
    part_of(target).write_bytes(server.content[:500_000])
    with pytest.raises(Fault, match="it offers a file of 13 bytes instead of 1024000"):
        fetch(server.url, target, server.checksum, size=len(server.content))
    assert part_of(target).read_bytes() == server.content[:500_000]
    fetch(server.url, target, server.checksum, mirrors=[server.at("/mirror.bin")], size=len(server.content))
    assert target.read_bytes() == server.content
    assert server.paths == ["/file.bin", "/file.bin", "/mirror.bin"]
    assert set(server.asked) == {"bytes=500000-"}


@pytest.mark.parametrize("size", [None, 1024000])
def test_a_whole_part_is_the_file_though_the_server_does_not_tell_its_length(server, target, size):
    server.codes = [416]  # without Content-Range
    target.parent.mkdir()
    part_of(target).write_bytes(server.content)
    assert fetch(server.url, target, server.checksum, size=size).read_bytes() == server.content
    assert len(server.asked) == 1


def test_a_wrong_part_of_the_right_length_is_fetched_anew(server, target):
    target.parent.mkdir()
    part_of(target).write_bytes(bytes(len(server.content)))
    fetch(server.url, target, server.checksum, size=len(server.content))
    assert server.asked == [f"bytes={len(server.content)}-", None]


def test_a_disk_that_is_too_small_is_told_before_the_first_byte(server, target, monkeypatch):
    monkeypatch.setattr(module.shutil, "disk_usage", lambda _: SimpleNamespace(free=700_000))
    with pytest.raises(Fault, match=r"has 0\.00 GB free, but file\.bin needs 0\.00 GB more; .*SIZEWISE_DOWNLOADS"):
        fetch(server.url, target, server.checksum)
    assert not part_of(target).exists()
    part_of(target).write_bytes(server.content[:500_000])  # the rest fits
    assert fetch(server.url, target, server.checksum).read_bytes() == server.content


def test_a_disk_that_fills_up_keeps_what_came(server, target, monkeypatch):
    save = module.requests.Response.iter_content

    def some(answer, size):
        yield next(save(answer, size))
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(module.requests.Response, "iter_content", some)
        with pytest.raises(Fault, match=r"the disk is full: .*file\.bin\.part has 262144 of 1024000 bytes, .*kept"):
            fetch(server.url, target, server.checksum, mirrors=[server.at("/unasked.bin")])
    assert part_of(target).read_bytes() == server.content[: module.CHUNK]
    assert fetch(server.url, target, server.checksum).read_bytes() == server.content
    assert server.asked == [None, f"bytes={module.CHUNK}-"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a small disk")
def test_a_real_disk_that_fills_up(server, target, monkeypatch):
    target.parent.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", target.parent]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("this machine mounts no tmpfs")
    try:
        with pytest.raises(Fault, match="GB free, but file.bin needs"):
            fetch(server.url, target, server.checksum)
        with monkeypatch.context() as patch:
            patch.setattr(module, "check_space", lambda *_: None)
            with pytest.raises(Fault, match=r"the disk is full: .* of 1024000 bytes, which are kept"):
                fetch(server.url, target, server.checksum)
        kept = part_of(target).read_bytes()
        assert len(kept) > 0
        assert server.content.startswith(kept)
        assert not target.exists()
        subprocess.run(["mount", "-o", "remount,size=4m", target.parent], check=True)
        assert fetch(server.url, target, server.checksum).read_bytes() == server.content
        assert server.asked[-1] == f"bytes={len(kept)}-"
    finally:
        subprocess.run(["umount", "-l", target.parent], check=True)
