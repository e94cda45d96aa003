"""Image tags from where a data set keeps them: XML annotations, a list of tags or of sizes."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable
from xml.etree import ElementTree

from stages.core.faults import Fault
from stages.prepare.layout import Index, read
from stages.prepare.tag_arrays import tags_from_arrays

SIZE = re.compile(r"(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?")


def taggable(classes: tuple[str, ...], background: bool) -> dict[str, int]:
    """Label of each class name; the background, label 0 where there is one, is no tag."""
    return {name: label for label, name in enumerate(classes) if label >= int(background)}


def tags_from_xml(index: Index, ids: Iterable[str], labels: dict[str, int], faults: list[str]) -> dict[str, list[int]]:
    """The classes of the objects in Annotations/ID.xml (VOC's `annotation/object/name`), difficult ones too.

    Parts of objects have names of their own and are left out. `faults` gets what is missing, broken or unknown.
    """
    tags = {}
    for image_id in ids:
        name = f"Annotations/{image_id}.xml"
        if name not in index.files:
            faults.append(f"{name} is missing; tags: xml needs one per image")
            continue
        try:
            names = object_names(read(index.raw, index.files[name]))
        except ValueError as error:
            faults.append(f"{name}: {error}")
            continue
        unknown = sorted(set(names) - set(labels))
        if unknown:
            faults.append(f"{name}: unknown class {', '.join(unknown)}; known are {', '.join(labels)}")
        tags[image_id] = sorted({labels[name] for name in names if name in labels})
    return tags


def object_names(content: bytes) -> list[str]:
    """The text of each `object/name` of an annotation.

    Raises:
        ValueError: not XML, or XML that defines entities: an annotation needs none, and they can grow without bound or
            read other files.
    """
    upper = content.upper()
    if b"<!DOCTYPE" in upper or b"<!ENTITY" in upper or b"\0" in content:
        raise ValueError("an annotation may have no DOCTYPE and no entities, and must be UTF-8 or another 8-bit text")
    try:
        root = ElementTree.fromstring(content)  # noqa: S314 - without a DOCTYPE there is nothing to expand
    except (ElementTree.ParseError, LookupError, ValueError) as error:
        raise ValueError(f"not XML: {error}") from None
    return [(element.text or "").strip() for element in root.findall("object/name")]


def tags_from_file(
    index: Index, name: str, ids: Iterable[str], labels: dict[str, int], faults: list[str]
) -> dict[str, list[int]]:
    """The tags in a text file: an id per line, then class names or label numbers; or in an .npy, see `tag_arrays`.

    Cells are divided by commas if the line has one, else by spaces; a cell that is no class name may itself hold
    several, divided by spaces or semicolons. Lines of images that the data set does not use, and a header, are left
    out. `faults` gets images without a line and what is not known.
    """
    wanted = dict.fromkeys(ids)
    if name.endswith(".npy") and name in index.files:
        try:
            return tags_from_arrays(read(index.raw, index.files[name]), name, wanted, labels, faults)
        except ValueError as error:
            faults.append(f"{name}: {error}")
            return {}
    try:
        lines = index.lines(name)
    except Fault as fault:
        faults.append(str(fault))
        return {}
    numbers = {str(label): label for label in labels.values()}
    known = numbers | labels  # a class may be called by a number
    tags: dict[str, list[int]] = {}
    for number, line in lines:
        try:
            first, *cells = cells_of(line) if "," in line else line.split()
        except csv.Error as error:
            faults.append(f"{name} line {number}: {error}")
            continue
        if first not in wanted:
            continue
        if first in tags:
            faults.append(f"{name} line {number}: {first} stands there twice")
            continue
        names = [part for cell in cells for part in ([cell] if cell in known else re.split(r"[\s;]+", cell)) if part]
        unknown = [part for part in names if part not in known]
        if unknown:
            faults.append(
                f"{name} line {number}: unknown class {', '.join(unknown)} of image {first}; known are "
                f"{', '.join(labels)}, or {min(labels.values())} to {max(labels.values())}"
            )
        tags[first] = sorted({known[part] for part in names if part in known})
    faults += [f"{name} has no line for image {image_id}" for image_id in wanted if image_id not in tags]
    return tags


def cells_of(line: str) -> list[str]:
    """The cells of a line of CSV, stripped.

    Raises:
        csv.Error: a cell is longer than any name.
    """
    return [cell.strip() for cell in next(csv.reader([line]))]


def tags_from_sizes(
    index: Index, name: str, ids: Iterable[str], labels: dict[str, int], faults: list[str]
) -> dict[str, list[int]]:
    """The classes that have a size above 0 in the file that `size_targets.source: file` reads too.

    A CSV with the columns image, class (name or label) and percent or fraction. A line of an image without a class says
    that it has no object. Lines of images that the data set does not use are left out. `faults` gets images without a
    line, and what is not known or no size.
    """
    wanted = dict.fromkeys(ids)
    try:
        lines = index.lines(name)
    except Fault as fault:
        faults.append(str(fault))
        return {}
    known = {str(label): label for label in labels.values()} | labels
    number, header = lines[0] if lines else (1, "")
    try:
        columns = [cell.lower() for cell in cells_of(header)] if header else []
    except csv.Error as error:
        faults.append(f"{name} line {number}: {error}")
        return {}
    unit = next((unit for unit in ("percent", "fraction") if unit in columns), None)
    if unit is None or not {"image", "class"} <= set(columns):
        faults.append(f"{name} line {number} must name the columns image, class and percent or fraction, is {header!r}")
        return {}
    tags: dict[str, set[int]] = {}
    for number, line in lines[1:]:
        try:
            values = cells_of(line)
        except csv.Error as error:
            faults.append(f"{name} line {number}: {error}")
            continue
        cells = dict.fromkeys(columns, "") | dict(zip(columns, values, strict=False))
        image_id, named, size = cells["image"], cells["class"], cells[unit]
        if image_id not in wanted:
            continue
        found = tags.setdefault(image_id, set())
        if not named and not size:
            continue
        if named not in known:
            faults.append(
                f"{name} line {number}: unknown class {named} of image {image_id}; known are {', '.join(labels)}, "
                f"or {min(labels.values())} to {max(labels.values())}"
            )
        elif not SIZE.fullmatch(size):
            faults.append(f"{name} line {number}: {unit} must be a number not below 0, is {size!r}")
        elif float(size) > 0:
            found.add(known[named])
    faults += [f"{name} has no row for image {image_id}" for image_id in wanted if image_id not in tags]
    return {image_id: sorted(found) for image_id, found in tags.items()}
