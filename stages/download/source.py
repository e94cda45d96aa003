"""A data set in a folder, in archives on disk, or in archives to download: read in place, never copied.

Only an index with a checksum per file is written.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from tqdm import tqdm

from stages.core.archives import Archive, archives_of
from stages.core.faults import Fault, combine
from stages.core.fetch import downloads_folder
from stages.core.files import csv_text, md5, write_zip
from stages.core.params import Params
from stages.core.pool import workers
from stages.core.stage import SCRATCH
from stages.download.archive_index import index_archive
from stages.download.archives import downloaded, found

INDEX_COLUMNS = ("name", "location", "size", "md5")
LISTS = "ImageSets/Segmentation"
SBD = "SBD"  # an entry of a VOC set's masks, and the folder that its files are named after
UNPACKED = {f"{SBD}/": "benchmark_RELEASE/dataset/"}  # where they lie as their archive unpacks, if not there
TAGS = {"file": "tags.csv", "sizes": "sizes.csv"}  # of format folder


def voc_parts(data: Params) -> tuple[list[str], list[str]]:
    """What a VOC folder must have and what is used if it is there; a folder ends with a slash.

    SBD's part is that of its `benchmark_RELEASE/dataset` without the pictures, which VOC has too. With it there need be
    no train_aug.txt: it is made of the lists of both.
    """
    with_sbd, lists = SBD in data.masks, list(data.lists.values())
    needed = ["JPEGImages/", f"{LISTS}/"]
    needed += [f"{LISTS}/{name}.txt" for name in lists if not (with_sbd and name == "train_aug")]
    needed += [f"{folder}/" for folder in data.masks if folder != SBD]
    if with_sbd:
        needed.append(f"{SBD}/cls/")
    if data.instances != "none":
        needed += [f"{data.instances}/", *([f"{SBD}/inst/"] if with_sbd else [])]
    if data.tags == "xml":
        needed.append("Annotations/")
    if data.tags == "file":
        needed.append(data.tags_file)
    optional = ["Annotations/"]
    if with_sbd and "train_aug" in lists:
        optional += [f"{LISTS}/{name}.txt" for name in ("train_aug", "train", "val")]
        optional += [f"{SBD}/train.txt", f"{SBD}/val.txt"]
    return list(dict.fromkeys(needed)), optional


def folder_parts(data: Params) -> tuple[list[str], list[str]]:
    """What a data set of format `folder` must have and what is used if it is there; a folder ends with a slash."""
    needed = ["images/", "classes.txt", "splits/"]
    if data.masks != "none":
        needed.insert(1, "masks/")
    if data.tags in TAGS:
        needed.append(TAGS[data.tags])
    return needed, ["instances/", *TAGS.values()]


def coco_parts(data: Params) -> tuple[list[str], list[str]]:
    """What a data set of format `coco` must have; a folder ends with a slash."""
    return [*data.annotations.values(), *(f"{folder}/" for folder in dict.fromkeys(data.images.values()))], []


PARTS: dict[str, Callable[[Params], tuple[list[str], list[str]]]] = {
    "voc": voc_parts,
    "folder": folder_parts,
    "coco": coco_parts,
}


def own_source() -> str:
    """The `source` that stands for data which the pipeline makes or downloads itself."""
    return "/".join(Path(__file__).parts[-3:])


def is_own(source: Path) -> bool:
    """Whether `source` is this module: it stands for data that the pipeline makes or downloads itself."""
    return source.absolute() == Path(__file__).absolute()


def write_index(path: Path, name: str, source: Path, data: Params) -> None:
    """Writes the zip `path` with index.csv: one row per file of `source` that the format uses, sorted by name.

    Columns: name (path inside the source; of a tags file elsewhere, its own path), location (see
    `stages.core.locations`), size in bytes, md5. The names of files in archives are those of an unpacked source.

    Args:
        path: the zip to write.
        name: the data set's name.
        source: this module, to download the data set's archives; a folder that holds them; or one with the data.
        data: the data set's section of params.yaml.

    Raises:
        Fault: the source or a part of it is missing, or files cannot be read; all of them are named.
    """
    needed, optional = PARTS[data.format](data)
    archives = archives_of(data)
    check_source(name, source, archives)
    parts = [*needed, *optional]
    if is_own(source) or holds_archives(source, archives, needed):
        gone = [part for part in needed if part.startswith("/") and not Path(part).is_file()]
        if gone:
            raise Fault(f"data set {name} needs {', '.join(gone)}, which does not exist")
        folder = downloads_folder(SCRATCH)
        if is_own(source):
            paths = downloaded(name, archives, folder, parts)
        else:
            paths = found(name, archives, source, folder, parts)
        rows = archive_rows(name, archives, paths, needed, optional)
    else:
        check_parts(name, source, data.format, needed, archives)
        rows = file_rows(name, source.absolute(), parts)
    with write_zip(path) as archive:
        archive.text("index.csv", csv_text(sorted(rows, key=lambda row: row["name"]), INDEX_COLUMNS))


def check_source(name: str, source: Path, archives: Sequence[Archive]) -> None:
    """Refuses to download a data set that names no archives, and a module that is another than this one.

    Raises:
        Fault: says what to type.
    """
    if is_own(source) and not archives:
        raise Fault(
            f"data set {name} has no archives to download; set source to the data's folder, as in "
            f"-S source=/abs/path/VOC2012"
        )
    if source.suffix == ".py" and not is_own(source):
        raise Fault(f"source {source} of data set {name} is a module; {ways(archives)}")


def ways(archives: Sequence[Archive]) -> str:
    """What a person may type for `source`."""
    if not archives:
        return "set -S source=/abs/path, the data's folder"
    files = ", ".join(archive.file for archive in archives)
    return (
        f"set -S source=/abs/path, the data's folder or one with {files}, or -S source={own_source()} to download them"
    )


def holds_archives(source: Path, archives: Sequence[Archive], needed: list[str]) -> bool:
    """Whether a folder has archives of the data set and none of its data."""
    return any((source / archive.file).is_file() for archive in archives) and not any(
        has(source, part) for part in needed if not part.startswith("/")
    )


def archive_rows(
    name: str, archives: Sequence[Archive], paths: Sequence[Path], needed: list[str], optional: list[str]
) -> list[dict[str, Any]]:
    """The index of archives; a part with an absolute path is a file beside them.

    Raises:
        Fault: the archives together lack a needed part, or two of them have the same file.
    """
    rows: dict[str, dict[str, Any]] = {}
    faults = []
    parts = [part for part in [*needed, *optional] if not part.startswith("/")]
    for archive, path in zip(archives, paths, strict=True):
        for row in index_archive(path, archive, parts):
            if row["name"] in rows:
                faults.append(f"{archive.file} has {row['name']}, which an archive before it has too")
            rows[row["name"]] = row
    folders = {file.rpartition("/")[0] + "/" for file in rows}
    missing = [part for part in needed if part in parts and part not in rows and part not in folders]
    if missing:
        faults.append(
            f"{', '.join(archive.file for archive in archives)} lack{'s' if len(archives) == 1 else ''} "
            f"{', '.join(missing)}"
        )
    if faults:
        raise combine(f"archives of data set {name} cannot be used", faults)
    beside = [part for part in needed if part.startswith("/")]
    return [*rows.values(), *file_rows(name, Path("/"), beside)]


def file_rows(name: str, source: Path, parts: list[str]) -> list[dict[str, Any]]:
    """The index of the files that belong to `parts`, in a folder on disk.

    Raises:
        Fault: files cannot be read; all of them are named.
    """
    files: dict[str, Path] = {}
    for part in parts:
        files |= files_of(source, part)
    names = sorted(files)
    rows, faults = [], []
    with ThreadPoolExecutor(workers()) as pool:
        results = pool.map(checksum, (files[file] for file in names))
        for file, result in zip(names, tqdm(results, "checksums", len(names), disable=None), strict=True):
            if isinstance(result, OSError):
                faults.append(f"{files[file]}: {result.strerror}")
            else:
                rows.append({"name": file, "location": str(files[file]), "size": result[0], "md5": result[1]})
    if faults:
        raise combine(f"files of data set {name} cannot be read", faults)
    return rows


def checksum(path: Path) -> tuple[int, str] | OSError:
    """Size in bytes and md5 of a file, or why it cannot be read."""
    try:
        if path.exists() and not path.is_file():
            raise OSError(errno.EINVAL, "a device, pipe or folder, and no file")
        return path.stat().st_size, md5(path)
    except OSError as error:
        return error


def files_of(source: Path, part: str) -> dict[str, Path]:
    """The files right inside folder `part`, or `part` itself if it is a file, by name; hidden files are left out."""
    path = place(source, part)
    if not part.endswith("/"):
        return {part: path} if path.exists() else {}
    if not path.is_dir():
        return {}
    files = [file for file in path.iterdir() if not file.name.startswith(".") and not file.is_dir()]
    return {f"{part}{file.name}": file for file in files}


def check_parts(name: str, source: Path, layout: str, needed: list[str], archives: Sequence[Archive] = ()) -> None:
    """Refuses a source that lacks a needed part.

    Raises:
        Fault: names the source, what it lacks, what the format needs, and a folder inside that has it all.
    """
    wanted = f"format {layout} needs {', '.join(needed)}"
    if archives:
        wanted += f", or the archives {', '.join(archive.file for archive in archives)}"
    if not source.exists():
        raise Fault(f"source {source} of data set {name} does not exist; {wanted}")
    if not source.is_dir():
        known = any(archive.file == source.name for archive in archives)
        advice = f"set -S source={source.absolute().parent}, where it lies" if known else f"unpack it: {wanted}"
        raise Fault(f"source {source} of data set {name} is a file, not a folder; {advice}")
    missing = [part for part in needed if not has(source, part)]
    if not missing:
        return
    first = needed[0].rstrip("/")
    inside = [
        folder.absolute()
        for pattern in (f"*/{first}", f"*/*/{first}")
        for folder in sorted(path.parents[first.count("/")] for path in source.glob(pattern))
        if all(has(folder, part) for part in needed)
    ]
    hint = f"; the data lies in {inside[0]}: set -S source={inside[0]}" if inside else ""
    raise Fault(f"source {source} of data set {name} lacks {', '.join(missing)}; {wanted}{hint}")


def has(source: Path, part: str) -> bool:
    """Whether `part`, a folder if it ends with a slash and else a file, is in `source`."""
    path = place(source, part)
    return path.is_dir() if part.endswith("/") else path.is_file()


def place(source: Path, part: str) -> Path:
    """Where a part lies: in the source under its name, in the folder that its archive unpacks to, or absolutely."""
    path = source / part  # an absolute part replaces the source
    for prefix, folder in UNPACKED.items():
        if part.startswith(prefix) and not path.exists():
            return source / folder / part.removeprefix(prefix)
    return path
