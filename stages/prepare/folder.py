"""The project's own layout for a person's data.

images/ (jpg, jpeg, png), masks/ (PNG, same stem), classes.txt (line n is label n, from 0), splits/NAME.txt (one stem
per line: the id), and optionally instances/ (PNG, same stem), tags.csv (id, then class names) and sizes.csv (id, class
name, size). Masks may be there for the evaluated splits alone, or for none.
"""

from __future__ import annotations

from pathlib import PurePosixPath

from stages.core.dataset import VOID
from stages.core.faults import Fault
from stages.core.params import Params
from stages.prepare.layout import Entry, Index, Layout, RawFile
from stages.prepare.splits import evaluated, read_splits
from stages.prepare.tags import taggable, tags_from_file, tags_from_sizes

SUFFIXES = (".jpg", ".jpeg", ".png")
TAGS = {"file": ("tags.csv", tags_from_file), "sizes": ("sizes.csv", tags_from_sizes)}


def read_folder(index: Index, data: Params, faults: list[str]) -> Layout:
    """The data set that `data` (format folder) declares; `faults` gets everything that is missing.

    Masks of splits that `data.masks` leaves out are not looked at, even where there are some.

    Raises:
        Fault: classes.txt is missing or wrong; without it nothing else can be checked.
    """
    classes = read_classes(index)
    images = by_stem(index, "images", SUFFIXES, faults)
    masks = by_stem(index, "masks", (".png",), faults)
    instances = by_stem(index, "instances", (".png",), faults)
    lists = {PurePosixPath(file.name).stem: file.name for file in index.in_folder("splits")}
    splits = read_splits(index, lists, data.headline, faults)
    entries = []
    for image_id, names in splits.items():
        judged = bool(evaluated(data.headline) & set(names))
        masked = data.masks == "all" or (data.masks == "evaluated" and judged)
        needed = [(images, f"images/{image_id} ({', '.join(suffix[1:] for suffix in SUFFIXES)})")]
        if masked:
            needed.append((masks, f"masks/{image_id}.png"))
        if masked and instances and judged:
            needed.append((instances, f"instances/{image_id}.png"))
        missing = [name for files, name in needed if image_id not in files]
        faults += [f"{name} is missing; {lists[names[0]]} lists the image" for name in missing]
        if not missing:
            found = (masks[image_id], instances.get(image_id)) if masked else (None, None)
            entries.append(Entry(image_id, names, images[image_id], *found))
    tags = None
    if data.tags in TAGS:
        name, read_tags = TAGS[data.tags]
        tags = read_tags(index, name, splits, taggable(classes, data.background), faults)
    used = bool(instances) and data.masks != "none"
    return Layout(classes, data.background, entries, used, tags, data.untrained, own=True)


def read_classes(index: Index) -> tuple[str, ...]:
    """The class names of classes.txt.

    Raises:
        Fault: a line in the middle is empty, a name stands twice, or there are too few or too many for uint8 labels.
    """
    lines = index.lines("classes.txt")
    classes = tuple(line for _, line in lines)
    for label, (number, _) in enumerate(lines):
        if number != label + 1:
            raise Fault(f"classes.txt line {label + 1} is empty; line n names label n, from 0")
    twice = sorted({name for name in classes if classes.count(name) > 1})
    if twice:
        raise Fault(f"classes.txt names {', '.join(twice)} twice")
    if not 2 <= len(classes) <= VOID:
        raise Fault(f"classes.txt has {len(classes)} names; allowed are 2 to {VOID}, the background included")
    return classes


def by_stem(index: Index, folder: str, suffixes: tuple[str, ...], faults: list[str]) -> dict[str, RawFile]:
    """The files of `folder` by file name without suffix; `faults` gets two files with the same one."""
    files: dict[str, RawFile] = {}
    for file in index.in_folder(folder):
        path = PurePosixPath(file.name)
        if path.suffix.lower() not in suffixes:
            continue
        if path.stem in files:
            faults.append(f"{files[path.stem].name} and {file.name} have the same id; keep one")
        files.setdefault(path.stem, file)
    return files
