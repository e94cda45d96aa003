"""What the CSV files of sizes and of boxes have in common: lines that name an image and a class of it.

image is the image's id, or its file's name, whose ending is then left out; class is the name of the class, or its
label: the name alone for a data set without some of its source's classes, whose labels are others. Lines about images
that are not trained on, or about classes that are left out, are counted and otherwise ignored; a size of 0 for a class
that the image is not tagged with says nothing but that, and is left out.
"""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from stages.core.dataset import Dataset
from stages.core.faults import Fault, combine

ENDINGS = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff")


@dataclass(frozen=True)
class Line:
    """A line of a file about an image that is trained on.

    number: in the file, the header is line 1.
    row: index of the image in the list of training images.
    label: of its class; one of the image's tags.
    cells: by column.
    """

    number: int
    row: int
    label: int
    cells: dict[str, str]


@dataclass
class Lines:
    """The good lines of a file, the columns of its header, what is wrong with the others, and how many are ignored."""

    columns: tuple[str, ...]
    good: list[Line]
    faults: list[str]
    ignored: int = 0


def read_lines(
    path: Path,
    columns: Sequence[str],
    dataset: Dataset,
    ids: list[str],
    denies: Callable[[dict[str, str]], bool] = lambda cells: False,
) -> Lines:
    """The lines of a CSV file with at least the columns image, class and `columns`; names are compared in lower case.

    denies: whether the cells of a line say that the class is not in the image. Where the tags agree, or no class is
        named, such a line says nothing else and is left out.

    Raises:
        Fault: the file cannot be read or lacks a column.
    """
    rows = rows_of(path)
    number, header = next(rows, (1, []))
    names = tuple(cell.strip().lower() for cell in header)
    missing = [name for name in ("image", "class", *columns) if name not in names]
    if missing:
        raise Fault(
            f"size_file: {path} has no column {', '.join(missing)}; its first line must name the columns, separated by "
            f"commas, and names {', '.join(names) or 'nothing'}"
        )
    if len(set(names)) < len(names):
        raise Fault(f"size_file: {path}: two columns have the same name in {', '.join(names)}")
    position = {image_id: row for row, image_id in enumerate(ids)}
    labels = labels_by_text(dataset)
    found = Lines(names, [], [])
    for number, values in rows:
        if len(values) != len(names):
            found.faults.append(f"line {number}: {len(values)} cells, the header has {len(names)}")
            continue
        cells = dict(zip(names, map(str.strip, values), strict=True))
        row = position.get(cells["image"], position.get(without_ending(cells["image"])))
        if row is None or cells["class"] in dataset.info.left_out:
            found.ignored += 1
            continue
        label = labels.get(cells["class"])
        agreed = not cells["class"] or (label in dataset.foreground and label not in dataset.tags(ids[row]))
        if agreed and denies(cells):
            continue
        fault = fault_of(cells, label, dataset, ids[row])
        if fault:
            found.faults.append(f"line {number}: {fault}")
        else:
            found.good.append(Line(number, row, label, cells))
    return found


def rows_of(path: Path) -> Iterator[tuple[int, list[str]]]:
    """The rows of a CSV file that are not empty, with the number of the line on which each ends.

    Raises:
        Fault: it cannot be read.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")  # spreadsheets begin a file with a byte order mark
    except (OSError, UnicodeDecodeError) as error:
        raise Fault(f"size_file: {path} cannot be read as UTF-8 text: {error}") from None
    reader = csv.reader(io.StringIO(text, newline=""))
    try:
        for values in reader:
            if any(map(str.strip, values)):
                yield reader.line_num, values
    except csv.Error as error:
        raise Fault(f"size_file: {path}: line {reader.line_num}: {error}") from None


def labels_by_text(dataset: Dataset) -> dict[str, int]:
    """Each class's label by its number and its name; where a class is called by a number, the name counts.

    By its name alone where classes are left out: a number may be that of the source.
    """
    classes, left_out = dataset.info.classes, dataset.info.left_out
    numbers = {} if left_out else {str(label): label for label in range(len(classes))}
    return numbers | {name: label for label, name in enumerate(classes)}


def fault_of(cells: dict[str, str], label: int | None, dataset: Dataset, image_id: str) -> str:
    """What is wrong with the class of a line, or nothing."""
    if label is None:
        return f"no class {cells['class']!r}; there are {', '.join(dataset.info.classes)}"
    if label not in dataset.foreground:
        return f"{cells['class']!r} is the background, whose size is what the objects leave; take the line out"
    if label not in dataset.tags(image_id):
        return f"image {image_id} is not tagged {dataset.info.classes[label]!r}"
    return ""


def without_ending(name: str) -> str:
    """The name of an image file without its ending; any other text unchanged."""
    return next((name[: -len(ending)] for ending in ENDINGS if name.lower().endswith(ending)), name)


def number_of(text: str) -> float:
    """A finite number, NaN for any other text."""
    try:
        value = float(text)
    except ValueError:
        return float("nan")
    return value if abs(value) < float("inf") else float("nan")


def finish(path: Path, lines: Lines, ids: list[str]) -> None:
    """Raises the faults of a file, and says on standard error what was ignored.

    Raises:
        Fault: there are any, or no line is about a training image.
    """
    if lines.faults:
        raise combine(f"size_file: {path} does not fit the data set", lines.faults)
    if not lines.good:
        raise Fault(f"size_file: {path} has no line about any of the {len(ids)} training images, such as {ids[0]}")
    if lines.ignored:
        sys.stderr.write(
            f"sizewise size_targets: {lines.ignored} lines of {path} are about images that are not trained on, or "
            "classes that are left out; they are ignored\n"
        )
