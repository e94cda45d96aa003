"""Which pairs of an image and a class are asked: the folder's images, the tags, and the masks of the training phase."""

from __future__ import annotations

import csv
import hashlib
import io
import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from stages.core.faults import Fault, combine
from stages.core.label_files import BadMap, LabelFiles, as_labels, find_maps

SUFFIXES = (".jpg", ".jpeg", ".png")
TYPES = {"JPEG": "image/jpeg", "PNG": "image/png"}
ORIENTATION = 0x0112  # the EXIF tag

Pair = tuple[str, str]  # image, class


@dataclass(frozen=True)
class Picture:
    """An image file as a browser shows it: pixels, media type, and how EXIF turns it (1 as stored, 5..8 sideways)."""

    width: int
    height: int
    type: str
    orientation: int = 1

    @property
    def stored(self) -> tuple[int, int]:
        """Height and width of the pixels as stored, which are those of the mask."""
        return (self.width, self.height) if self.orientation > 4 else (self.height, self.width)


@dataclass(frozen=True)
class Question:
    """One image and one class; `truth` is the true percentage in the training phase and None in the real one."""

    image: str
    name: str
    picture: Picture
    truth: float | None = None

    @property
    def pair(self) -> Pair:
        """Image and class."""
        return self.image, self.name


def find_images(folder: Path, ids: Collection[str] | None = None) -> tuple[LabelFiles, dict[str, Picture]]:
    """The images of a folder or a zip by id, which is the path without its suffix; sub-folders are looked into.

    ids: the only ones to look at.

    Raises:
        Fault: there are none, two have one id, some cannot be read or have a name that is no UTF-8 text, all listed.
    """
    files = find_maps(folder, None if ids is None else set(ids), SUFFIXES)
    if files.twice:
        raise combine(f"{folder} has two images of one id; keep one", list(files.twice))
    pictures, faults = {}, []
    for image_id in files.members if ids is None else [name for name in files.members if name in ids]:
        try:
            image_id.encode()  # else its answer could not be written
            pictures[image_id] = picture_of(files, image_id)
        except UnicodeEncodeError:
            faults.append(f"{files.members[image_id]!a}: the name is no UTF-8 text; rename it")
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            reason = "no permission to read it" if isinstance(error, PermissionError) else error
            faults.append(f"{files.members[image_id]}: {reason}")
    if faults:
        raise combine(f"{folder} has images that cannot be read; mend or remove", faults)
    return files, pictures


def picture_of(files: LabelFiles, image_id: str) -> Picture:
    """What the head of an image file says.

    Raises:
        OSError, ValueError: it cannot be read, or is neither JPEG nor PNG.
    """
    source = io.BytesIO(files.content(image_id)) if files.archive else files.path / files.members[image_id]
    with Image.open(source) as image:
        if image.format not in TYPES:
            raise ValueError(f"a {image.format} file; the browser is shown JPEG and PNG")
        orientation = image.getexif().get(ORIENTATION, 1) if image.format == "JPEG" else 1
        size = image.size[::-1] if orientation in range(5, 9) else image.size
        return Picture(*size, TYPES[image.format], orientation if orientation in range(1, 9) else 1)


def read_class_list(path: Path) -> tuple[str, ...]:
    """The names of classes.txt: line n is label n, from 0.

    Raises:
        Fault: it cannot be read, or is empty.
    """
    try:
        names = tuple(line.strip() for line in path.read_text(encoding="utf-8").splitlines())
    except (OSError, UnicodeDecodeError) as error:
        raise Fault(f"{path} cannot be read: {error}") from None
    if not any(names):
        raise Fault(f"{path} names no class; line n names label n, from 0")
    return names


def read_tags(path: Path, class_list: Sequence[str], chosen: Sequence[str] = ()) -> dict[str, list[str]]:
    """The class names of each line of tags.csv: an id, then class names, or labels where there is a class list.

    Cells are divided by commas if the line has one, else by spaces; a cell that is no class name may itself hold
    several, divided by spaces or semicolons. A header (`id` or `image`) is left out.

    Args:
        path: the file.
        class_list: all classes, where they are known.
        chosen: some of them; a name with a space is known by one of the two.

    Raises:
        Fault: it cannot be read, an id stands twice, or a class is unknown, all listed.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise Fault(f"{path} cannot be read: {error}") from None
    known = {str(label): name for label, name in enumerate(class_list)}
    known |= {name: name for name in (*class_list, *chosen)}  # a class may be called by a number
    tags: dict[str, list[str]] = {}
    faults = []
    for number, line in enumerate(lines, 1):
        try:
            cells = [cell.strip() for cell in (next(csv.reader([line])) if "," in line else line.split())]
        except csv.Error as error:
            faults.append(f"line {number}: {error}")
            continue
        if not any(cells) or (number == 1 and cells[0] in ("id", "image")):
            continue
        names = [part for cell in cells[1:] for part in ([cell] if cell in known else re.split(r"[\s;]+", cell))]
        names = [name for name in names if name]
        unknown = [name for name in names if class_list and name not in known]
        if unknown:
            faults.append(f"line {number}: unknown class {', '.join(unknown)}; known are {', '.join(class_list)}")
        if cells[0] in tags:
            faults.append(f"line {number}: {cells[0]} stands there twice")
        tags[cells[0]] = list(dict.fromkeys(known.get(name, name) for name in names))
    if faults:
        raise combine(f"{path} is wrong", faults)
    return tags


def asked_classes(chosen: Sequence[str], class_list: Sequence[str], tags: dict[str, list[str]] | None) -> list[str]:
    """The classes to ask, in order: those `chosen`, else those of the tags.

    Raises:
        Fault: one is not known, or none is left.
    """
    tagged = dict.fromkeys(name for names in (tags or {}).values() for name in names)
    known = list(class_list) or list(tagged)
    unknown = [name for name in chosen if known and name not in known]
    if unknown:
        raise Fault(f"unknown class {', '.join(unknown)}; known are {', '.join(filter(None, known))}")
    if chosen:
        return list(dict.fromkeys(chosen))
    found = [name for name in known if name in tagged]
    if not found:
        raise Fault("no class to ask about: name them with --classes a,b, or give --tags with a line per image")
    return found


def asked_pairs(images: Iterable[str], classes: Sequence[str], tags: dict[str, list[str]] | None) -> list[Pair]:
    """All images of the first class by id, then those of the second; with tags, only those that have the class."""
    ordered = sorted(images)
    return [(image, name) for name in classes for image in ordered if tags is None or name in tags.get(image, ())]


def training_pairs(
    pairs: Iterable[Pair],
    count: int,
    masks: LabelFiles,
    pictures: dict[str, Picture],
    class_list: Sequence[str],
    taken: Collection[Pair],
) -> dict[Pair, float]:
    """Pairs for the training phase and their true percentages: up to `count` of each class, in a mixed, fixed order.

    A true size is a share of all pixels, void ones too, as in github.com/XFan2018/size-estimation-experiment.

    Args:
        pairs: to choose from.
        count: of each class.
        masks: the true label maps.
        pictures: sizes that the masks must have.
        class_list: line n of classes.txt, the name of label n.
        taken: pairs that are not chosen.

    Raises:
        Fault: a class has no label or no pair with a mask, or masks are wrong, all listed.
    """
    chosen: dict[Pair, float] = {}
    numbers: dict[str, int] = {}
    faults: list[str] = []
    mixed = sorted(pairs, key=lambda pair: hashlib.sha256("/".join(pair).encode()).digest())
    for image, name in mixed:
        enough = numbers.setdefault(name, 0) >= count
        if enough or (image, name) in taken or image not in masks.members or name not in class_list:
            continue
        try:
            mask = read_mask(masks, image, pictures[image])
        except BadMap as error:
            faults.append(f"{masks.members[image]}: {error}")
            continue
        share = float(np.mean(mask == class_list.index(name)))
        if share:
            chosen[image, name] = 100 * share
            numbers[name] += 1
    faults += [f"{name} is not in classes.txt" for name in numbers if name not in class_list]
    faults += [
        f"no image to train {name} with: none has a mask with label {class_list.index(name)}"
        for name, number in numbers.items()
        if not number and name in class_list and not any(pair[1] == name for pair in taken)
    ]
    if faults:
        raise combine(f"the masks of {masks.path} cannot be used for training", faults)
    return chosen


def read_mask(masks: LabelFiles, image: str, picture: Picture) -> np.ndarray:
    """The true label map of an image, (H, W) uint8.

    Raises:
        BadMap: it is no label map, or has another size than the image.
    """
    mask = as_labels(masks.read(image))
    if mask.shape != picture.stored:
        height, width = picture.stored
        raise BadMap("size", f"{mask.shape[1]} x {mask.shape[0]} pixels; the image has {width} x {height}")
    return mask
