"""ACDC's slices from the archive of the challenge's page: the same bytes as from the unpacked folder."""

from __future__ import annotations

import hashlib
import zipfile
from pathlib import Path

import pytest

from stages.core import fetch
from stages.core.faults import Fault
from stages.core.params import Params
from stages.download import source as source_module
from stages.download.acdc import write_slices
from tests.download.test_acdc import DATA, patients

OWN = Path(source_module.__file__)


@pytest.fixture
def unpacked(tmp_path):
    """The folder that the archive holds."""
    return patients(tmp_path / "ACDC" / "database")


@pytest.fixture
def archive(unpacked, tmp_path):
    """ACDC.zip in a folder of its own."""
    path = tmp_path / "zips/ACDC.zip"
    path.parent.mkdir()
    pack(path, unpacked)
    return path


def pack(path: Path, unpacked: Path, **more: bytes) -> None:
    """A zip with ACDC/database/..., without some files where `more` names them."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as target:
        for file in sorted(unpacked.rglob("*.*")):
            target.write(file, f"ACDC/database/{file.relative_to(unpacked)}")
        target.writestr("ACDC/database/MANDATORY_CITATION.md", "cite")
        for name, content in more.items():
            target.writestr(name, content)


def section(archive: Path, url: str) -> Params:
    """The data set's section of params.yaml."""
    entry = {"file": archive.name, "url": url, "mirrors": [], "size": "none", "confirmed": False, "under": "none"}
    checksum = "sha256:" + hashlib.sha256(archive.read_bytes()).hexdigest()
    return Params(DATA | {"archives": [entry | {"checksum": checksum, "strip": "ACDC/database/"}]})


def slices(tmp_path: Path, source: Path, data: Params) -> bytes:
    """The bytes of raw.zip."""
    write_slices(tmp_path / "raw.zip", "heart", source, data)
    return (tmp_path / "raw.zip").read_bytes()


def test_the_archive_gives_what_its_folder_gives(unpacked, archive, server, tmp_path, monkeypatch):
    monkeypatch.setenv("SIZEWISE_DOWNLOADS", str(tmp_path / "downloads"))
    server.files["/download"] = archive.read_bytes()
    data = section(archive, server.at("/download"))
    wanted = slices(tmp_path, unpacked.parent, data)
    assert slices(tmp_path, archive.parent, data) == wanted
    assert server.paths == []
    assert slices(tmp_path, OWN, data) == wanted
    assert server.paths == ["/download"]
    assert [path.name for path in (tmp_path / "downloads").iterdir() if path.suffix != ".lock"] == ["ACDC.zip"]


def test_faults_name_the_archive_and_the_file(unpacked, archive, tmp_path):
    (unpacked / "training/patient001/Info.cfg").unlink()
    (unpacked / "training/patient002/patient002_frame12.nii.gz").write_bytes(b"nothing")
    (unpacked / "training/patient003/patient003_frame12_gt.nii.gz").unlink()
    pack(archive, unpacked)
    with pytest.raises(Fault) as caught:
        slices(tmp_path, archive.parent, section(archive, "http://127.0.0.1/none"))
    for line in (
        f"{archive}: training/patient001/Info.cfg: it is missing",
        f"{archive}: training/patient002/patient002_frame12.nii.gz: no whole NIfTI volume",
        f"{archive}: training/patient003/patient003_frame12_gt.nii.gz is missing; Info.cfg says that it is ES",
    ):
        assert line in str(caught.value)
    assert not (tmp_path / "raw.zip").exists()


def test_hostile_or_empty_archives(unpacked, archive, tmp_path):
    pack(archive, unpacked, **{"../escaped": b"x"})
    with pytest.raises(Fault, match="escaped': its path leads out of its folder"):
        slices(tmp_path, archive.parent, section(archive, "http://127.0.0.1/none"))
    with zipfile.ZipFile(archive, "w") as target:
        target.writestr("ACDC/readme.txt", "nothing")
    with pytest.raises(Fault, match="has archives without training/patient001"):
        slices(tmp_path, archive.parent, section(archive, "http://127.0.0.1/none"))


def test_what_to_do_when_it_cannot_be_had(archive, server, tmp_path, monkeypatch):
    monkeypatch.setenv("SIZEWISE_DOWNLOADS", str(tmp_path / "downloads"))
    monkeypatch.setattr(fetch.time, "sleep", lambda _: None)
    with pytest.raises(Fault, match=r"(?s)gave other bytes.*by hand: .*ACDC\.zip; .*rests on one source"):
        slices(tmp_path, OWN, section(archive, server.url))
    with pytest.raises(Fault, match="no folder training/patient001 or .*, and no ACDC.zip"):
        slices(tmp_path, tmp_path, section(archive, server.url))
    with pytest.raises(Fault, match="has no archives to download; set source"):
        slices(tmp_path, OWN, Params(DATA))
