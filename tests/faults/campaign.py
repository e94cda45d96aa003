"""A count of what was tried and what was lost; `python -m tests.faults.campaign` writes the counts into README.md.

A test tries one kind of fault many times: each trial under `Tally.trial`, so that a loss does not end the others. With
`pytest tests/faults --whole` the counts go into counts.csv beside this file, a row per kind.
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

COUNTS = Path(__file__).with_name("counts.csv")
COLUMNS = ("fault", "tried", "survived", "lost")
BEGIN, END = "<!-- faults -->", "<!-- /faults -->"


@dataclass
class Tally:
    """The trials of one kind of fault.

    fault: what is tried, as a person would say it; the row of the table.
    """

    fault: str
    tried: int = 0
    losses: list[str] = field(default_factory=list)

    @contextmanager
    def trial(self, what: object) -> Iterator[None]:
        """One trial, lost if an assertion fails or a test's command runs out of time; `what` names it in the report.

        One that Ctrl-C ends is none.
        """
        try:
            yield
        except Exception as error:
            self.losses.append(f"{what}: {error}")
        self.tried += 1

    def row(self) -> dict[str, str]:
        """The row of counts.csv."""
        lost = len(self.losses)
        return dict(zip(COLUMNS, (self.fault, str(self.tried), str(self.tried - lost), str(lost)), strict=True))


def read() -> dict[str, dict[str, str]]:
    """The rows of counts.csv, by kind of fault."""
    if not COUNTS.exists():
        return {}
    with COUNTS.open(newline="", encoding="utf-8") as file:
        return {row["fault"]: row for row in csv.DictReader(file)}


def save(tally: Tally) -> None:
    """Writes a kind's row in the place of its former one; kinds are sorted, so that runs can be compared."""
    rows = read() | {tally.fault: tally.row()}
    with COUNTS.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows[fault] for fault in sorted(rows))


def table() -> str:
    """The counts as a Markdown table."""
    lines = ["| fault | tried | survived | lost |", "|---|---:|---:|---:|"]
    return "\n".join(lines + ["| " + " | ".join(row.values()) + " |" for row in read().values()])


if __name__ == "__main__":
    readme = Path("README.md")
    before, begin, rest = readme.read_text(encoding="utf-8").partition(BEGIN)
    _, end, after = rest.partition(END)
    if not end:
        sys.exit(f"README.md has no {BEGIN} and {END}: put them on lines of their own where the table should stand")
    readme.write_text(f"{before}{begin}\n{table()}\n{end}{after}", encoding="utf-8")
