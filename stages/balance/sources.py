"""Where the annotations of LVIS and COCO are: JSON files, or the zips that they come in, given or downloaded.

A zip is read in place, its JSON never unpacked to the disk.
"""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path

from stages.core.archives import archives_of, fetch_archive
from stages.core.faults import Fault, combine
from stages.core.fetch import downloads_folder
from stages.core.params import freeze, look_up, read_yaml
from stages.core.stage import SCRATCH

Source = Path | zipfile.Path
LVIS = {split: f"lvis_v1_{split}.json.zip" for split in ("val", "train")}
COCO = "annotations_trainval2017.zip"
SECTION = "pascal_b"  # of params.yaml
LARGEST = 2**31  # bytes of a JSON, unpacked; LVIS's training annotations have half of it


def sources(lvis: str, coco: Sequence[Path], with_train: bool) -> tuple[Source, list[Source]]:
    """The file of LVIS and those of COCO.

    Args:
        lvis: `val` or `train` of LVIS v1, which is downloaded; or the path of a JSON, or of a zip that holds one.
        coco: JSON files, or zips that hold instances_val2017.json; if empty, COCO's annotations are downloaded.
        with_train: of a zip, instances_train2017.json is wanted too.

    Raises:
        Fault: a file cannot be had, or is no zip of such a JSON; all of them are named.
    """
    wanted = [LVIS[lvis]] if lvis in LVIS else []
    there = downloaded([*wanted, *([] if coco else [COCO])])
    names = [f"instances_{split}2017.json" for split in ("val", "train")[: 1 + with_train]]
    found = [source for path in coco or [there[COCO]] for source in jsons(path, names)]
    [first] = jsons(there[LVIS[lvis]] if lvis in LVIS else Path(lvis), [])
    return first, found


def downloaded(files: Sequence[str]) -> dict[str, Path]:
    """The paths of archives of params.yaml, by their file names, after fetching those that are not there.

    Raises:
        Fault: some could not be had, or params.yaml does not name them; all are told.
    """
    if not files:
        return {}
    known = {one.file: one for one in archives_of(freeze(look_up(read_yaml(Path("params.yaml")), SECTION), SECTION))}
    paths, faults = {}, []
    for file in files:
        if file not in known:
            faults.append(f"{SECTION}.archives of params.yaml has no {file}; name the file on the command line instead")
            continue
        try:
            paths[file] = fetch_archive(SECTION, known[file], downloads_folder(SCRATCH))
        except Fault as fault:
            faults.append(str(fault))
    if faults:
        raise combine("annotations are missing", faults)
    return paths


def jsons(path: Path, names: Sequence[str]) -> list[Source]:
    """A JSON file itself; of a zip, the members that are called as `names` say, or the only JSON in it.

    Raises:
        Fault: the zip is broken, or has no or several such members, or larger ones than are read.
    """
    if path.suffix != ".zip":
        return [path]
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    except (OSError, zipfile.BadZipFile, NotImplementedError, UnicodeDecodeError) as error:
        raise Fault(f"{path} cannot be read as a zip: {error}") from None
    named = {entry.filename: entry for entry in entries if entry.filename.endswith(".json")}
    shown = {name: entry for name, entry in named.items() if not name.rpartition("/")[2].startswith(".")}
    result: list[Source] = []
    for wanted in names or ["*.json"]:
        found = [name for name in shown if not names or name.rpartition("/")[2] == wanted]
        if len(found) != 1:
            raise Fault(f"{path} must hold one {wanted}; it holds {', '.join(found or shown) or 'no JSON'}")
        if shown[found[0]].file_size > LARGEST:
            raise Fault(f"{path}: {found[0]} claims {shown[found[0]].file_size} bytes; at most {LARGEST} are read")
        result.append(zipfile.Path(path, found[0]))
    return result


def file_of(source: Source) -> Path:
    """The file on the disk: the JSON or its zip."""
    return Path(source.root.filename) if isinstance(source, zipfile.Path) else source
