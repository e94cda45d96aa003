"""Relative sizes from a file: those that people estimated, or any others.

A CSV file with a header and the columns image, class, and either `percent` or `fraction`: the header says the unit, and
nothing is guessed from the numbers. A size is a share of the whole image. Not every class of every image needs a line
(see `missing`); one of 0 for a class that the image is not tagged with, or of no class, says what the tags say. A
person who estimates one class after the other may end with more than the image; such sizes are scaled down to 1 - FLOOR
of it, which standard error counts.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from stages.core.dataset import Dataset
from stages.core.faults import Fault
from stages.size_targets.corrupt import FLOOR
from stages.size_targets.size_file import Lines, finish, number_of, read_lines

WHOLE = {"percent": 100.0, "fraction": 1.0}
ROUNDING = 1e-6  # by which the sizes of an image may exceed the image


def read_sizes(path: Path, dataset: Dataset, ids: list[str]) -> np.ndarray:
    """Sizes (N, C) float64, NaN where the file has none; those of an image sum to at most 1.

    Raises:
        Fault: the file cannot be read, states no unit, or has faulty lines, which are listed together: a size that is
            no number over 0 and up to the whole, a class that is unknown, untagged or the background, two sizes
            for one class of an image; or it has no line of these images.
    """
    lines = read_lines(path, (), dataset, ids, says_none)
    units = [name for name in WHOLE if name in lines.columns]
    if len(units) != 1:
        raise Fault(
            f"size_file: {path} must have one of the columns percent (0 to 100) and fraction (0 to 1), which says the "
            f"unit of its sizes; it has {', '.join(lines.columns)}"
        )
    sizes = fill(lines, units[0], len(ids), dataset.num_classes)
    finish(path, lines, ids)
    total = np.nansum(sizes, axis=1, keepdims=True)
    over = total > 1 + ROUNDING
    if over.any():
        worst = int(total.argmax())
        sys.stderr.write(
            f"sizewise size_targets: the sizes of {int(over.sum())} images come to more than the image and are scaled "
            f"down, most those of {ids[worst]} with {100 * total[worst, 0]:.4g} %\n"
        )
    return sizes / np.where(over, total / (1 - FLOOR), np.maximum(total, 1))


def says_none(cells: dict[str, str]) -> bool:
    """Whether a line says that there is nothing of the class: no size, or 0."""
    sizes = [cells[name] for name in WHOLE if name in cells]
    return all(size == "" if not cells["class"] else number_of(size) == 0 for size in sizes)


def fill(lines: Lines, unit: str, images: int, classes: int) -> np.ndarray:
    """The sizes of the good lines, (images, classes); adds what is wrong with numbers and doubles to the faults."""
    sizes = np.full((images, classes), np.nan)
    first: dict[tuple[int, int], int] = {}
    for line in lines.good:
        place = (line.row, line.label)
        value = number_of(line.cells[unit])
        if not 0 < value <= WHOLE[unit]:
            rule = f"must be a number over 0 and up to {WHOLE[unit]:g}"
            lines.faults.append(f"line {line.number}: {unit} {rule}, is {line.cells[unit]!r}")
        elif place in first:
            lines.faults.append(f"line {line.number}: the same image and class as in line {first[place]}")
        else:
            first[place] = line.number
            sizes[place] = value / WHOLE[unit]
    return sizes
