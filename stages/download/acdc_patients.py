"""The folders of ACDC's patients and where their files lie: unpacked, or in the archive of the challenge's page."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from stages.core.archives import archives_of
from stages.core.faults import Fault
from stages.core.fetch import downloads_folder
from stages.core.locations import archive_of
from stages.core.params import Params
from stages.core.stage import SCRATCH
from stages.download.archives import downloaded, found
from stages.download.source import archive_rows, check_source, holds_archives, is_own

FOLDERS = ("training", "testing")
MOST_PATIENTS = 999  # three digits; ACDC has 150


@dataclass(frozen=True)
class Patient:
    """A patient.

    name: as patient001.
    folder: which of FOLDERS it is in.
    title: the patient's folder, for messages.
    files: locations (see `stages.core.locations`) by file name.
    """

    name: str
    folder: str
    title: str
    files: dict[str, str]


def find_patients(name: str, source: Path, data: Params) -> list[Patient]:
    """The patients of data set `name`, those to train on first, sorted by name.

    Args:
        name: the data set's name.
        source: the folder that holds training/ and perhaps testing/, or database/ with these, or the archives of
            `data`; the module that stands for downloading them.
        data: the data set's section of params.yaml.

    Raises:
        Fault: there are no patients, or the archives are missing or refused.
    """
    archives = archives_of(data)
    check_source(name, source, archives)
    if not is_own(source) and not holds_archives(source, archives, [f"{FOLDERS[0]}/", f"database/{FOLDERS[0]}/"]):
        patients = in_folder(source.absolute())
        lacks = "has no folder training/patient001 or database/training/..."
        lacks += f", and no {' or '.join(archive.file for archive in archives)}" if archives else ""
    else:
        parts = [f"{folder}/patient{number:03d}/" for folder in FOLDERS for number in range(1, MOST_PATIENTS + 1)]
        folder = downloads_folder(SCRATCH)
        own = is_own(source)
        paths = downloaded(name, archives, folder, parts) if own else found(name, archives, source, folder, parts)
        rows = archive_rows(name, archives, paths, [], parts)
        patients = in_archives((row["name"], row["location"]) for row in rows)
        lacks = "has archives without training/patient001"
    if not patients:
        raise Fault(f"source {source} of data set {name} {lacks}")
    return sorted(patients, key=lambda patient: (FOLDERS.index(patient.folder), patient.name))


def in_folder(source: Path) -> list[Patient]:
    """The patients in an unpacked source."""
    roots = [root for root in (source, source / "database") if (root / FOLDERS[0]).is_dir()]
    return [
        Patient(path.name, folder, str(path), {file.name: str(file) for file in path.iterdir() if file.is_file()})
        for folder in FOLDERS
        for root in roots[:1]
        for path in (root / folder).glob("patient*")
        if path.is_dir()
    ]


def in_archives(files: Iterable[tuple[str, str]]) -> list[Patient]:
    """The patients in archives, of names as training/patient001/Info.cfg and locations."""
    patients: dict[str, Patient] = {}
    for path, location in files:
        folder, name, file = path.split("/")
        title = f"{archive_of(location)}: {folder}/{name}"
        patients.setdefault(f"{folder}/{name}", Patient(name, folder, title, {})).files[file] = location
    return list(patients.values())
