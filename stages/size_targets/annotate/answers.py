"""The CSV of the answers: each is on the disk before the next is taken, and none stands there twice."""

from __future__ import annotations

import csv
import io
import math
import os
from dataclasses import dataclass
from pathlib import Path

from stages.core.faults import Fault, combine
from stages.core.files import csv_text, write_csv

COLUMNS = ("image", "class", "percent", "seconds")

Pair = tuple[str, str]  # image, class


@dataclass(frozen=True)
class Answer:
    """Percent of the image's area, 0..100, or None for `cannot tell`; seconds that it took."""

    percent: float | None
    seconds: float


class AnswerFile:
    """The answers in the file at `path`, which is made at once if it is absent.

    A new pair is appended; a changed one rewrites the file atomically. Where a pair stands twice in the file, its last
    line counts. A last line that a crash cut off is dropped: the answer had not been confirmed.

    Args:
        path: the CSV.
        blank: its percentages are blank, for a list of pairs that nobody could tell.

    Raises:
        Fault: the file cannot be read or written, has other columns, or has rows that are no answers, all listed.
    """

    def __init__(self, path: Path, blank: bool = False) -> None:
        self.path = path
        self.answers: dict[Pair, Answer] = {}
        try:
            if not path.exists():
                self._rewrite()
                return
            text = path.read_text(encoding="utf-8")
            with path.open("r+b"):  # it can be written
                pass
        except (OSError, UnicodeDecodeError) as error:
            raise Fault(f"{path} cannot be read and written: {error}") from None
        if self._parse(text, blank):
            self._rewrite()

    def _parse(self, text: str, blank: bool) -> bool:
        """Fills `answers`; whether the file should be written anew."""
        try:
            header, *rows = list(csv.reader(io.StringIO(text, newline=""))) or [[]]
        except csv.Error as error:
            raise Fault(f"{self.path} is no CSV file ({error}), so name another --out") from None
        if tuple(header) != COLUMNS:
            raise Fault(
                f"{self.path} has the columns {','.join(header) or '(none)'} and not {','.join(COLUMNS)}; "
                "it is no file of this tool, so name another --out"
            )
        cut_off = bool(rows) and not text.endswith("\n")
        faults = []
        for number, row in enumerate(rows[:-1] if cut_off else rows, 2):
            try:
                image, name, percent, seconds = row
                self.answers[image, name] = Answer(number_in(percent, 100, blank), number_in(seconds, math.inf))
            except ValueError:
                faults.append(f"row {number}: {','.join(row)}")
        if faults:
            raise combine(f"{self.path} has rows that are no answers ({','.join(COLUMNS)}); mend or remove", faults)
        return cut_off or len(self.answers) < len(rows)

    def put(self, pair: Pair, answer: Answer) -> None:
        """Saves an answer, in place of an earlier one to the same pair.

        Raises:
            OSError: it could not be saved, and neither the file nor `answers` has changed.
        """
        before = dict(self.answers)
        self.answers[pair] = answer
        try:
            if pair in before or not self.path.exists():
                self._rewrite()
            else:
                append(self.path, csv_text([row_of(pair, answer)], COLUMNS).partition("\n")[2])
        except OSError:
            self.answers = before
            raise

    def drop(self, pair: Pair) -> None:
        """Removes the answer to a pair, if there is one.

        Raises:
            OSError: the file could not be written, and has not changed.
        """
        if pair in self.answers:
            before = dict(self.answers)
            del self.answers[pair]
            try:
                self._rewrite()
            except OSError:
                self.answers = before
                raise

    def _rewrite(self) -> None:
        write_csv(self.path, [row_of(pair, answer) for pair, answer in self.answers.items()], COLUMNS)


def number_in(text: str, highest: float, blank: bool = False) -> float | None:
    """A cell as a number in 0..highest; None for an empty cell, which it must be if `blank`.

    Raises:
        ValueError: it is something else.
    """
    if blank:
        if text:
            raise ValueError(text)
        return None
    value = float(text)
    if not 0 <= value <= highest or not math.isfinite(value):
        raise ValueError(text)
    return value


def row_of(pair: Pair, answer: Answer) -> dict[str, object]:
    """A row of the CSV."""
    percent = "" if answer.percent is None else answer.percent
    return {"image": pair[0], "class": pair[1], "percent": percent, "seconds": answer.seconds}


def append(path: Path, text: str) -> None:
    """Adds text to a file, on the disk when it returns, and all of it or nothing.

    Raises:
        OSError: it could not be written; the file has its old length.
    """
    with path.open("ab", buffering=0) as file:
        before = os.fstat(file.fileno()).st_size
        try:
            content = text.encode()
            while content:
                content = content[file.write(content) :]
            os.fsync(file.fileno())
        except OSError:
            os.ftruncate(file.fileno(), before)
            raise
