"""The archives of a data set: what an entry may say, and which source goes with them."""

from __future__ import annotations

from pathlib import Path

import pytest

from stages.check import relations
from stages.core.params import read_yaml

ROOT = Path(__file__).parents[2]
ARCHIVE = {
    "file": "a.tar",
    "url": "https://example.org/a.tar",
    "mirrors": ["http://example.org/a.tar"],
    "size": "none",
    "checksum": "md5:" + "0" * 32,
    "confirmed": False,
    "strip": "VOCdevkit/VOC2012/",
    "under": "none",
}
KEY = "datasets.pascal.archives"


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"file": "b.tar.gz", "size": 1999639040, "under": "SBD/", "strip": "none", "mirrors": []},
        {"file": "benchmark.tgz", "checksum": "sha256:" + "af" * 32, "confirmed": True},
        {"file": "train2017.zip"},
    ],
)
def test_what_an_entry_may_say(faults, changes):
    assert faults({KEY: [ARCHIVE | changes]}) == []


FILE = "must be a file name that ends in .tar, .tgz, .tar.gz or .zip, is "
DIGEST = "must be md5: and 32, or sha256: and 64, of the digits 0 to 9 and a to f, is "
ADDRESS = "must be an address that begins with http:// or https://, is "
PREFIX = "must be none or a relative folder that ends with a slash, is "


@pytest.mark.parametrize(
    ("key", "value", "rule"),
    [
        *(("file", name, FILE) for name in ("../a.tar", "/a.tar", "a.rar", ".tar", ".a.tar", "a/b.zip", "a.tar\n")),
        *(("checksum", text, DIGEST) for text in ("md5:00", "0" * 32, "crc:" + "0" * 32, "md5:" + "G" * 32)),
        *(("url", text, ADDRESS) for text in ("ftp://a/b", "file:///etc/passwd", "https://", "a.tar", "http://a/b c")),
        *((key, text, PREFIX) for key in ("strip", "under") for text in ("SBD", "/SBD/", "../", "a/../b/", "")),
        *(("size", value, "must be none or a whole number > 0, is ") for value in (0, -1)),
    ],
)
def test_a_wrong_value_is_one_line(faults, key, value, rule):
    assert faults({KEY: [ARCHIVE, ARCHIVE | {"file": "b.tar"} | {key: value}]}) == [f"{KEY}[1].{key}: {rule}{value!r}"]


def test_other_faults_of_archives(faults):
    assert faults({KEY: "none"}) == [f"{KEY}: must be a list, is 'none'"]
    assert faults({KEY: [ARCHIVE | {"mirrors": ["x"]}]}) == [f"{KEY}[0].mirrors[0]: {ADDRESS}'x'"]
    assert faults({KEY: [ARCHIVE | {"size": True}]}) == [f"{KEY}[0].size: must be none or a whole number > 0, is true"]
    [line] = faults({KEY: [ARCHIVE, ARCHIVE]})
    assert line.startswith(f"{KEY}: must not name a file twice, is ")
    entry = dict(ARCHIVE)
    del entry["checksum"]
    assert faults({KEY: [entry]}) == [f"{KEY}[0].checksum: is missing"]
    [line] = faults({KEY: [ARCHIVE | {"mirror": []}]})
    assert line.endswith("did you mean 'mirrors'?")


def test_the_annotations_of_pascal_b_are_archives_too(faults):
    assert faults({"pascal_b.archives": [ARCHIVE]}) == []
    [line] = faults({"pascal_b.archives": [ARCHIVE | {"checksum": "none"}]})
    assert line == f"pascal_b.archives[0].checksum: {DIGEST}'none'"
    assert faults({"pascal_b": ...}) == ["pascal_b: is missing"]


def test_a_file_that_two_sections_name_is_the_same_file():
    """All share one downloads folder."""
    tree = read_yaml(ROOT / "params.yaml")
    entries: dict[str, dict] = {}
    for section in (*tree["datasets"].values(), tree["pascal_b"]):
        for entry in section.get("archives", []):
            assert entries.setdefault(entry["file"], entry) == entry
    assert "lvis_v1_val.json.zip" in entries


@pytest.mark.parametrize("source", ["absent.py", "VOC2012", "/abs/generator.py"])
def test_a_data_set_with_archives_is_downloaded_or_has_an_absolute_source(faults, tmp_path, source):
    chosen = {"dataset": "pascal", KEY: [ARCHIVE]}
    line = (
        "source: must be stages/download/source.py, which downloads data set 'pascal', or the absolute path of a "
        f"folder with the data or their archives, as in -S source=/abs/path, is {source!r}"
    )
    assert faults(chosen | {"source": source}) == [line]
    assert faults(chosen | {"source": "generator.py"}) == []
    assert faults(chosen | {"source": str(tmp_path)}) == []
    gone = f"source: {tmp_path}/absent does not exist; it must be where the raw data of 'pascal' lie"
    assert faults(chosen | {"source": f"{tmp_path}/absent"}) == [gone]


def test_messages_name_the_source_that_params_yaml_has():
    assert read_yaml(ROOT / "params.yaml")["source"] == relations.OWN_SOURCE
    assert (ROOT / relations.OWN_SOURCE).is_file()
