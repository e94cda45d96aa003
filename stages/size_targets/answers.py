"""People's own answers: how wrong they are, and the file that size_targets.source: file reads.

python -m stages.size_targets.answers human_sizes_cat_1000.csv --class cat --out /abs/cat_sizes.csv

reads answers as github.com/XFan2018/size-estimation-experiment publishes them, a CSV file with the columns Image File,
Response and GT: a file name, the answer and the truth in percent of the image, all about one class. The 1000 answers
about cats that are public there have a mean relative error of 12.3 %. With --others data/NAME/size_targets.csv the file
also gets the true sizes of all other objects of the data set NAME, so that a training on it differs from one on exact
sizes by these answers alone.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from stages.core.command import exit_on_fault
from stages.core.faults import Fault, combine
from stages.core.files import write_csv
from stages.size_targets.errors import COLUMNS, divergence, group_rows, share_groups
from stages.size_targets.size_file import number_of, rows_of, without_ending

ANSWER_COLUMNS = ("Image File", "Response", "GT")
FILE_COLUMNS = ("image", "class", "percent")
TARGET_COLUMNS, BACKGROUND = ("id", "name", "true"), "background"  # of size_targets.csv


def read_answers(path: Path) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Image ids, the answers and the true sizes, both (N,) percent.

    Raises:
        Fault: the file cannot be read, lacks a column, or has a line without two percentages over 0, or two lines
            about one image; all are listed.
    """
    names, missing, lines = cells_of(path, ANSWER_COLUMNS)
    if missing:
        raise Fault(f"{path} has no column {', '.join(missing)}; it has {', '.join(names) or 'none'}")
    ids: list[str] = []
    numbers, faults, seen = [], [], set()
    for line, (image, *cells) in lines:
        pair = [number_of(cell) for cell in cells]
        if not all(0 < value <= 100 for value in pair):
            faults.append(f"line {line}: Response and GT must be over 0 and up to 100 percent, are {', '.join(cells)}")
        if image in seen:
            faults.append(f"line {line}: a second answer about {image}")
        seen.add(image)
        ids.append(without_ending(image))
        numbers.append(pair)
    if faults or not ids:
        raise combine(f"{path} holds no usable answers", faults or ["it has no line but its header"])
    answers, true = np.array(numbers).T
    return ids, answers, true


def cells_of(path: Path, columns: Sequence[str]) -> tuple[list[str], list[str], Iterator[tuple[int, list[str]]]]:
    """The columns of a CSV file, those of `columns` that it lacks, and per line its number and the cells of `columns`.

    Raises:
        Fault: see `rows_of`.
    """
    rows = rows_of(path)
    _, header = next(rows, (1, []))
    names = [cell.strip() for cell in header]
    missing = [name for name in columns if name not in names]
    at = [names.index(name) for name in columns if name in names]
    lines = ((line, [values[index].strip() if index < len(values) else "" for index in at]) for line, values in rows)
    return names, missing, lines


def answer_table(answers: np.ndarray, true: np.ndarray) -> list[dict[str, Any]]:
    """`errors.group_rows` over all answers and by true share of the image; `kl` is that of object and background.

    Args:
        answers: (N,) percent.
        true: (N,) percent.
    """
    groups = {"all": np.ones(len(true), bool)} | share_groups(true / 100)
    kl = divergence(*(np.stack([1 - size / 100, size / 100], axis=1) for size in (answers, true)))
    return group_rows(groups, true / 100, answers / 100, kl, np.arange(len(true)))


def true_sizes(path: Path, beside: set[tuple[str, str]]) -> list[dict[str, Any]]:
    """The true sizes in a size_targets.csv of the stage, as lines of FILE_COLUMNS.

    Args:
        path: of the file, with the columns id, class, name and true, a share of the image.
        beside: pairs of image and class name that are left out, as is the background.

    Raises:
        Fault: the file cannot be read, or is no such file.
    """
    _, missing, lines = cells_of(path, TARGET_COLUMNS)
    if missing:
        raise Fault(f"{path} is no size_targets.csv of this pipeline: it has no column {', '.join(missing)}")
    found = []
    for line, (image, name, true) in lines:
        size = number_of(true)
        if not 0 <= size <= 1:
            raise Fault(f"{path}, line {line}: true must be a share of the image, 0 to 1, is {true!r}")
        if size and name != BACKGROUND and (image, name) not in beside:
            found.append({"image": image, "class": name, "percent": 100 * size})
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints the table of errors; with --out writes the answers as a file of sizes."""
    parser = argparse.ArgumentParser(prog="python -m stages.size_targets.answers", description=__doc__.splitlines()[0])
    parser.add_argument("answers", type=Path, metavar="CSV", help="columns Image File, Response, GT, in percent")
    parser.add_argument("--class", dest="name", metavar="NAME", help="the class that the answers are about")
    parser.add_argument("--out", type=Path, metavar="CSV", help="the file to write, for size_file; needs --class")
    parser.add_argument(
        "--others", type=Path, metavar="CSV", help="a size_targets.csv, for the true sizes of what has no answer"
    )
    options = parser.parse_args(arguments)
    if options.others and not options.out:
        parser.error("--others needs --out: it is for the file that is written")
    if options.out and not options.name:
        parser.error("--out needs --class: the answers do not name the class that they are about")
    with exit_on_fault("answers", code=2):
        ids, answers, true = read_answers(options.answers)
        if options.out:
            rows = [
                {"image": key, "class": options.name, "percent": size} for key, size in zip(ids, answers, strict=True)
            ]
            if options.others:
                rows += true_sizes(options.others, {(row["image"], row["class"]) for row in rows})
            write_csv(options.out, rows, FILE_COLUMNS)
    sys.stdout.write(table_text(answer_table(answers, true)))


def table_text(rows: Sequence[dict[str, Any]]) -> str:
    """The table in columns."""
    shown = [[row["group"], str(row["n"]), *(f"{row[name]:.4f}" for name in COLUMNS[2:])] for row in rows]
    widths = [max(map(len, column)) for column in zip(COLUMNS, *shown, strict=True)]
    lines = (
        "  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)) for line in (COLUMNS, *shown)
    )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
