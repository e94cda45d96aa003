"""A download is whole and verified, or absent; what came is not asked for twice."""

from __future__ import annotations

import hashlib
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

from stages.core import fetch as module
from stages.core.faults import Fault
from stages.core.fetch import downloads_folder

ROOT = Path(__file__).parents[2]
fetch = partial(module.fetch, pause=0, timeout=5)


def part_of(target: Path) -> Path:
    """Where bytes gather."""
    return target.with_name("file.bin.part")


def test_whole_file(server, target):
    assert fetch(server.url, target, server.checksum) == target
    assert target.read_bytes() == server.content
    assert not part_of(target).exists()


@pytest.mark.parametrize("kind", ["prefix", "md5", "upper"])
def test_kinds_of_checksum(server, target, kind):
    md5 = "md5:" + hashlib.md5(server.content, usedforsecurity=False).hexdigest()
    checksum = {"prefix": server.checksum[:15], "md5": md5, "upper": "sha256:" + server.checksum[7:].upper()}[kind]
    assert fetch(server.url, target, checksum).read_bytes() == server.content


@pytest.mark.parametrize("checksum", ["sha256:1234", "crc32:12345678", "12345678", "sha256:nothexno"])
def test_malformed_checksum_is_our_own_defect(server, target, checksum):
    with pytest.raises(ValueError, match="is no checksum"):
        fetch(server.url, target, checksum)


def test_right_file_is_not_fetched_again(server, target):
    target.parent.mkdir()
    target.write_bytes(server.content)
    fetch(server.url, target, server.checksum)
    assert server.asked == []
    assert list(target.parent.iterdir()) == [target]  # no lock either: the folder may be read-only


def test_wrong_file_is_replaced(server, target):
    target.parent.mkdir()
    target.write_bytes(b"old")
    assert fetch(server.url, target, server.checksum).read_bytes() == server.content


def test_resumes_what_an_earlier_run_kept(server, target):
    target.parent.mkdir()
    part_of(target).write_bytes(server.content[:1000])
    assert fetch(server.url, target, server.checksum).read_bytes() == server.content
    assert server.asked == ["bytes=1000-"]


def test_server_without_ranges(server, target):
    server.ranges = False
    target.parent.mkdir()
    part_of(target).write_bytes(server.content[:1000])
    assert fetch(server.url, target, server.checksum).read_bytes() == server.content
    assert len(server.asked) == 1


def test_whole_part_of_an_earlier_run(server, target):
    target.parent.mkdir()
    part_of(target).write_bytes(server.content)
    assert fetch(server.url, target, server.checksum).read_bytes() == server.content
    assert server.asked == [f"bytes={len(server.content)}-"]


def test_broken_connection_goes_on_where_it_stopped(server, target):
    server.cut = [300_000, 500_000]
    assert fetch(server.url, target, server.checksum).read_bytes() == server.content
    assert len(server.asked) == 3
    assert server.asked[0] is None
    assert [int(asked[6:-1]) > 0 for asked in server.asked[1:]] == [True, True]


def test_what_came_is_kept_after_the_last_attempt(server, target):
    server.cut = [300_000]
    with pytest.raises(Fault):
        fetch(server.url, target, server.checksum, attempts=1)
    assert not target.exists()
    kept = part_of(target).read_bytes()
    assert kept
    assert server.content.startswith(kept)


def test_wrong_bytes_are_refused_and_removed(server, target):
    found = server.checksum
    with pytest.raises(Fault) as caught:
        fetch(server.url, target, "sha256:" + "0" * 64)
    assert not target.exists()
    assert not part_of(target).exists()
    assert len(server.asked) == 1
    for word in (server.url, str(target), "0" * 64, found, "by hand"):
        assert word in str(caught.value)


def test_wrong_part_is_fetched_anew(server, target):
    target.parent.mkdir()
    part_of(target).write_bytes(b"x" * 1000)
    assert fetch(server.url, target, server.checksum).read_bytes() == server.content
    assert server.asked == ["bytes=1000-", None]


def test_wrong_bytes_leave_a_persons_file(server, target):
    target.parent.mkdir()
    target.write_bytes(b"put here by hand")
    with pytest.raises(Fault, match="the file that is there now has another"):
        fetch(server.url, target, "sha256:" + "0" * 64)
    assert target.read_bytes() == b"put here by hand"


def test_404_is_final(server, target):
    server.codes = [404] * 9
    with pytest.raises(Fault, match="the server answered 404 Not Found") as caught:
        fetch(server.url, target, server.checksum)
    assert len(server.asked) == 1
    assert server.url in str(caught.value)
    assert str(target) in str(caught.value)


def test_busy_server_is_asked_again(server, target):
    server.codes = [503, 429]
    assert fetch(server.url, target, server.checksum).read_bytes() == server.content


def test_no_server(target):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # taken, but nobody listens
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/file.bin"
        with pytest.raises(Fault, match="Connection refused") as caught:
            fetch(url, target, "sha256:" + "0" * 64, attempts=2)
    assert url in str(caught.value)
    assert str(target) in str(caught.value)


def test_silent_server_times_out(target):
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/file.bin"
        with pytest.raises(Fault, match="(?i)timed out"):
            fetch(url, target, "sha256:" + "0" * 64, attempts=1, timeout=0.2)


def test_two_at_once_take_turns(server, target):
    with ThreadPoolExecutor(2) as pool:
        paths = list(pool.map(lambda _: fetch(server.url, target, server.checksum), range(2)))
    assert paths == [target, target]
    assert target.read_bytes() == server.content
    assert len(server.asked) == 1


def test_pauses_double(server, target, monkeypatch):
    pauses = []
    monkeypatch.setattr(module.time, "sleep", pauses.append)
    server.codes = [503] * 4
    with pytest.raises(Fault, match="503"):
        module.fetch(server.url, target, server.checksum, pause=1)
    assert pauses == [1, 2, 4]


def test_404_then_mirror(server, target):
    server.missing = {"/file.bin"}
    fetch(server.url, target, server.checksum, mirrors=[server.at("/mirror/file.bin"), server.at("/unasked.bin")])
    assert target.read_bytes() == server.content
    assert server.paths == ["/file.bin", "/mirror/file.bin"]


def test_a_mirror_goes_on_where_the_first_address_broke_off(server, target):
    server.cut = [300_000, 0, 0, 0]
    fetch(server.url, target, server.checksum, mirrors=[server.at("/mirror.bin")])
    assert target.read_bytes() == server.content
    assert server.paths == ["/file.bin"] * 4 + ["/mirror.bin"]
    assert int(server.asked[-1].removeprefix("bytes=").rstrip("-")) > 0


def test_wrong_bytes_then_mirror(server, target):
    server.files = {"/file.bin": bytes(len(server.content))}
    fetch(server.url, target, server.checksum, mirrors=[server.at("/mirror.bin")], size=len(server.content))
    assert target.read_bytes() == server.content
    assert server.paths == ["/file.bin", "/mirror.bin"]


def test_every_address_that_failed_is_named_with_its_reason(server, target):
    server.missing = {"/file.bin"}
    server.files = {"/wrong.bin": b""}
    server.cut = [0, 100]
    urls = [server.at(path) for path in ("/wrong.bin", "/short.bin")]
    with pytest.raises(Fault) as caught:
        fetch(server.url, target, server.checksum, mirrors=urls, attempts=1)
    message = str(caught.value)
    assert f"{server.url}: the server answered 404 Not Found" in message
    assert f"{urls[0]}: it gave other bytes, sha256:e3b0c442" in message
    assert f"{urls[1]}: " in message
    assert message.count("by hand") == 1


def test_a_slow_server_is_waited_for_and_a_stalled_one_asked_again(server, target):
    server.pauses = [0.3]
    fetch(server.url, target, server.checksum, timeout=5)
    assert len(server.asked) == 1
    target.unlink()
    server.pauses = [3]
    assert fetch(server.url, target, server.checksum, timeout=0.3).read_bytes() == server.content
    assert len(server.asked) == 3
    assert server.asked[2] == f"bytes={module.CHUNK}-"  # whole chunks are kept


def test_a_killed_download_goes_on(server, target):
    server.pauses = [60]
    code = (
        "import sys; from pathlib import Path; from stages.core.fetch import fetch; "
        "fetch(sys.argv[1], Path(sys.argv[2]), sys.argv[3])"
    )
    process = subprocess.Popen([sys.executable, "-c", code, server.url, target, server.checksum], cwd=ROOT)
    deadline = time.monotonic() + 60
    while not part_of(target).exists() or part_of(target).stat().st_size < module.CHUNK:
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.02)
    process.kill()
    process.wait()
    kept = part_of(target).stat().st_size
    assert fetch(server.url, target, server.checksum).read_bytes() == server.content
    assert server.asked == [None, f"bytes={kept}-"]


def test_downloads_folder(monkeypatch):
    monkeypatch.delenv("SIZEWISE_DOWNLOADS", raising=False)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    assert downloads_folder(Path("scratch")) == Path("scratch/downloads")
    monkeypatch.setenv("DVC_ROOT", "/repository")
    assert downloads_folder(Path("scratch")) == Path("/repository/scratch/downloads")
    monkeypatch.setenv("SIZEWISE_DOWNLOADS", "/mine")
    assert downloads_folder(Path("scratch")) == Path("/mine")
