"""Entries of params.yaml as archives, and how one is had."""

from __future__ import annotations

import pytest

from stages.core import fetch as fetching
from stages.core.archives import Archive, archives_of, fetch_archive
from stages.core.faults import Fault
from stages.core.params import Params

ENTRY = {
    "file": "a.tar",
    "url": "https://example.org/a.tar",
    "mirrors": ["http://example.org/a.tar"],
    "size": 5,
    "checksum": "md5:" + "0" * 32,
    "confirmed": True,
    "strip": "A/",
    "under": "none",
}


def test_entries_of_params():
    second = ENTRY | {"file": "b.zip", "size": "none", "strip": "none", "under": "B/", "confirmed": False}
    first, other = archives_of(Params({"archives": [ENTRY, second]}))
    mirrors, checksum = ("http://example.org/a.tar",), "md5:" + "0" * 32
    assert first == Archive("a.tar", "https://example.org/a.tar", mirrors, 5, checksum, True, "A/", "")
    assert (other.size, other.strip, other.under, other.confirmed) == (None, "", "B/", False)
    assert archives_of(Params({"format": "voc"})) == []


@pytest.mark.parametrize("confirmed", [True, False])
def test_an_archive_that_cannot_be_had(server, tmp_path, monkeypatch, confirmed):
    monkeypatch.setattr(fetching.time, "sleep", lambda _: None)
    entry = ENTRY | {"url": server.url, "mirrors": [], "size": "none", "confirmed": confirmed}
    [archive] = archives_of(Params({"archives": [entry]}))
    with pytest.raises(Fault, match=r"it gave other bytes.* by hand: .*/a\.tar; the checksum decides") as caught:
        fetch_archive("mine", archive, tmp_path)
    assert ("rests on one source" in str(caught.value)) is not confirmed


def test_where_it_comes_from_is_said_once(server, tmp_path, capsys):
    entry = ENTRY | {"url": server.url, "size": "none", "checksum": server.checksum}
    [archive] = archives_of(Params({"archives": [entry]}))
    for _ in range(2):
        assert fetch_archive("mine", archive, tmp_path).read_bytes() == server.content
    assert capsys.readouterr().out == f"mine: a.tar comes from {server.url} to {tmp_path}/a.tar\n"
