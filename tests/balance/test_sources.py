"""The annotations of LVIS and COCO: given as JSON or zip, or downloaded, and read inside the zips."""

from __future__ import annotations

import hashlib
import json
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from stages.balance import sources as module
from stages.balance.annotations import read_json
from stages.balance.pascal_b import main
from stages.balance.sources import jsons, sources
from stages.core import fetch
from stages.core.faults import Fault
from tests.balance.lvis_files import Files
from tests.file_server import Server

VAL, TRAIN, COCO = "lvis_v1_val.json.zip", "lvis_v1_train.json.zip", "annotations_trainval2017.zip"


def packed(path: Path, members: dict[str, str | bytes], **options: int) -> Path:
    """A zip of some members."""
    with zipfile.ZipFile(path, "w", **({"compression": zipfile.ZIP_DEFLATED} | options)) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


@pytest.fixture
def files(tmp_path: Path) -> Files:
    """Six images of COCO's val and two of its train, each with a dog."""
    result = Files(tmp_path)
    for number in range(1, 9):
        result.image(number, "val2017" if number < 7 else "train2017")
        result.add_lvis(number, "dog.n.01", 10, 10, 10 * number, 30)
    return result


@pytest.fixture
def zips(files: Files, tmp_path: Path) -> dict[str, Path]:
    """The archives as LVIS and COCO have them; COCO's training images are those from 7 on."""
    files.write()
    folder = tmp_path / "zips"
    folder.mkdir()
    lvis, coco = files.lvis_path.read_text(), files.coco
    halves = {
        split: json.dumps(coco | {"images": [image for image in coco["images"] if (image["id"] > 6) is train]})
        for split, train in (("val", False), ("train", True))
    }
    members = {f"annotations/instances_{split}2017.json": text for split, text in halves.items()}
    members |= {"annotations/captions_val2017.json": "{}"}
    return {
        VAL: packed(folder / VAL, {"lvis_v1_val.json": lvis, "__MACOSX/._lvis_v1_val.json": b"\0"}),
        TRAIN: packed(folder / TRAIN, {"lvis_v1_train.json": lvis}),
        COCO: packed(folder / COCO, members),
    }


@pytest.fixture
def served(zips: dict[str, Path], server: Server, tmp_path: Path, monkeypatch) -> Callable[..., list[str]]:
    """A params.yaml whose archives the server has, in the present folder; the function gives the downloaded files."""
    entries = []
    for name, path in zips.items():
        server.files[f"/{name}"] = server.files[f"/mirror/{name}"] = path.read_bytes()
        entries.append({
            "file": name,
            "url": server.at(f"/{name}"),
            "mirrors": [server.at(f"/mirror/{name}")],
            "size": path.stat().st_size,
            "checksum": "sha256:" + hashlib.sha256(path.read_bytes()).hexdigest(),
            "confirmed": name != TRAIN,
            "strip": "none",
            "under": "none",
        })  # fmt: skip
    (tmp_path / "params.yaml").write_text(json.dumps({"pascal_b": {"archives": entries}}))
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    monkeypatch.setenv("SIZEWISE_DOWNLOADS", str(tmp_path / "downloads"))
    monkeypatch.setattr(fetch.time, "sleep", lambda _: None)
    return lambda: sorted(path.name for path in (tmp_path / "downloads").iterdir() if path.suffix != ".lock")


def contents(folder: Path) -> dict[Path, bytes]:
    """Every file of a result but the note, which names the sources."""
    found = {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*.*")}
    found.pop(Path("NOTE.md"))
    return found


def test_zips_and_downloads_give_what_their_json_gives(files, zips, served, server, tmp_path):
    options = ["--images", "4"]
    main([*files.write(), "--out", "a", *options])
    main(["--lvis", str(zips[VAL]), "--coco", str(zips[COCO]), "--out", "b", *options])
    assert server.paths == []
    main(["--out", "c", *options])
    assert contents(Path("a")) == contents(Path("b")) == contents(Path("c"))
    assert len((tmp_path / "c/list.txt").read_text().split()) == 4
    assert served() == [COCO, VAL]  # nothing is unpacked, and of LVIS only what is wanted
    assert server.paths == [f"/{VAL}", f"/{COCO}"]
    note = (tmp_path / "c/NOTE.md").read_text()
    for name in (VAL, COCO):
        assert f"| {name} | {hashlib.sha256(zips[name].read_bytes()).hexdigest()} |" in note
    main(["--out", "d", *options])
    assert len(server.paths) == 2  # what is there is not fetched again


def test_training_images_come_from_the_same_zip_of_coco(zips, served, tmp_path):
    main(["--out", "a", "--images", "8", "--keep-train-images"])
    assert len((tmp_path / "a/list.txt").read_text().split()) == 8
    assert served() == [COCO, VAL]
    main(["--lvis", "train", "--out", "b", "--images", "8", "--keep-train-images"])
    assert served() == [COCO, TRAIN, VAL]
    assert (tmp_path / "a/list.txt").read_bytes() == (tmp_path / "b/list.txt").read_bytes()


def test_a_download_is_resumed_and_has_mirrors(zips, served, server, tmp_path):
    (tmp_path / "downloads").mkdir()
    (tmp_path / "downloads" / f"{VAL}.part").write_bytes(zips[VAL].read_bytes()[:100])
    server.missing = {f"/{COCO}"}
    lvis, [coco] = sources("val", [], False)
    assert server.asked == ["bytes=100-", None, None]
    assert server.paths == [f"/{VAL}", f"/{COCO}", f"/mirror/{COCO}"]
    assert (lvis.name, coco.name) == ("lvis_v1_val.json", "instances_val2017.json")
    assert [module.file_of(source).read_bytes() for source in (lvis, coco)] == [
        zips[VAL].read_bytes(), zips[COCO].read_bytes()
    ]  # fmt: skip


def test_downloads_that_fail_are_told_together_and_nothing_is_written(served, server, tmp_path, capsys):
    server.missing = {f"{mirror}/{TRAIN}" for mirror in ("", "/mirror")}
    server.files[f"/{COCO}"] = server.files[f"/mirror/{COCO}"] = server.files[f"/{COCO}"][::-1]
    with pytest.raises(SystemExit) as end:
        main(["--lvis", "train", "--out", "a"])
    assert end.value.code == 2
    message = capsys.readouterr().err
    assert "sizewise pascal_b: annotations are missing (2 faults):" in message
    assert f"{server.at(f'/{TRAIN}')}: the server answered 404" in message
    assert "put the file there by hand: " + str(tmp_path / "downloads" / TRAIN) in message
    assert message.count("rests on one source") == 1  # that of LVIS's train, in this params.yaml
    assert "it gave other bytes" in message
    assert message.endswith("nothing was written\n")
    assert served() == []
    assert not list(tmp_path.glob("*a*.part"))
    assert not (tmp_path / "a").exists()


def test_params_without_the_archives(served, tmp_path):
    (tmp_path / "params.yaml").write_text("pascal_b: {archives: []}\n")
    with pytest.raises(Fault, match=rf"2 faults.*\n.*archives of params.yaml has no {VAL}; name the file on the comm"):
        sources("val", [], False)
    (tmp_path / "params.yaml").write_text("seed: 0\n")
    with pytest.raises(Fault, match=r"params\.yaml has no 'pascal_b'"):
        sources("val", [], False)


def test_zips_that_hold_no_such_json(tmp_path):
    cases = {
        "must hold one .*json; it holds a.json, b/c.json": {"a.json": "{}", "b/c.json": "{}"},
        "must hold one .*json; it holds no JSON": {"a.txt": "{}", "__MACOSX/._a.json": "{}"},
    }
    for number, (words, members) in enumerate(cases.items()):
        with pytest.raises(Fault, match=words):
            jsons(packed(tmp_path / f"{number}.zip", members), [])
    with pytest.raises(Fault, match=r"must hold one instances_train2017\.json; it holds instances_val2017\.json"):
        jsons(packed(tmp_path / "coco.zip", {"instances_val2017.json": "{}"}), ["instances_train2017.json"])
    with pytest.raises(Fault, match=r"none\.zip cannot be read as a zip: .*No such file"):
        jsons(tmp_path / "none.zip", [])
    (tmp_path / "text.zip").write_text("<html>")
    with pytest.raises(Fault, match=r"text\.zip cannot be read as a zip: File is not a zip file"):
        jsons(tmp_path / "text.zip", [])


def changed(path: Path, place: int, form: str, value: int) -> Path:
    """The zip of one member with another value in its entry of the directory."""
    content = bytearray(path.read_bytes())
    struct.pack_into(form, content, content.index(b"PK\1\2") + place, value)
    path.write_bytes(content)
    return path


def test_hostile_zips(tmp_path, monkeypatch):
    path = changed(packed(tmp_path / "large.zip", {"a.json": "[]"}), 24, "<I", 2**31 + 1)
    with pytest.raises(Fault, match="a.json claims 2147483649 bytes; at most 2147483648 are read"):
        jsons(path, [])
    path = packed(tmp_path / "../escape.zip", {"../../a.json": "[]"})
    [source] = jsons(path, [])  # a name leads nowhere: nothing is unpacked
    assert source.open("rb").read() == b"[]"


@pytest.mark.parametrize(
    ("place", "form", "value", "words"),
    [(8, "<H", 1, "encrypted"), (10, "<H", 99, "compression"), (16, "<I", 5, "CRC"), (24, "<I", 1, "CRC")],
)
def test_a_zip_that_cannot_be_unpacked_is_named(tmp_path, place, form, value, words):
    [source] = jsons(changed(packed(tmp_path / "a.zip", {"a.json": "[1, 2]"}), place, form, value), [])
    with pytest.raises(Fault, match=rf"a\.zip/a\.json cannot be read: .*{words}"):
        read_json(source)
