"""The scores in README.md's text about results are those of its tables, which are made from the metrics."""

from __future__ import annotations

import csv
import re

from stages.track.table import HEADINGS
from tests.structure.closure import ROOT

RESULTS, AFTER = "## Results", "Training speed against"
SCORE = re.compile(r"(?<![\d.])\d\.\d{3}(?!\d)")


def test_every_score_of_the_text_stands_in_a_table_or_is_one_of_a_curve():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    lines = readme[readme.index(RESULTS) : readme.index(AFTER)].splitlines()
    tables = [line for line in lines if line.startswith("|")]
    known = set(SCORE.findall("\n".join(tables)))
    for path in [*(ROOT / "metrics").glob("curve_*.csv"), ROOT / "metrics" / "experiments.csv"]:
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        known |= {f"{float(row[key]):.3f}" for row in rows for key in HEADINGS.keys() & row.keys() if row[key]}
    told = {number: line for line in lines if not line.startswith("|") for number in SCORE.findall(line)}
    assert len(told) > 50
    assert {number: line for number, line in told.items() if number not in known} == {}
