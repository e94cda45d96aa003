"""`python -m stages.track.table`: the README's result tables, from metrics/experiments.csv.

Between `<!-- table:NAME -->` and `<!-- /table:NAME -->` stands one line per method and change of params on data set
NAME: the mean over seeds and, for two seeds or more, the sample standard deviation; of mIoU also the 95 % t interval of
the mean, for three or more. `<!-- table:NAME baseline:METHOD -->` adds the difference of mIoU to that method with the
params of params.yaml, over the seeds that both have, with its interval. Where several experiments share method, params
and seed, the last row counts, as the newest code's.
"""

from __future__ import annotations

import re
import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path

from stages.core.command import exit_on_fault
from stages.core.faults import Fault
from stages.core.files import atomic
from stages.track.curve_points import essential, split_changes
from stages.track.intervals import differences, half_interval
from stages.track.ledger import FILE, Row, gather

README = Path("README.md")
EXPERIMENTS = Path("metrics") / FILE
HEADINGS = {
    "miou": "mIoU",
    "ia_miou": "IA-mIoU",
    "ia_s": "IA small",
    "ia_m": "IA medium",
    "ia_l": "IA large",
    "balanced_ia_miou": "balanced IA-mIoU",
    "pseudo_mask_miou": "pseudo mask mIoU",
    "size_error": "size error",
    "dice": "Dice",
    "train_minutes": "min",
    "train_memory_gb": "GB",
}
DECIMALS = {"train_minutes": 1, "train_memory_gb": 1}  # of the others: 3
START = re.compile(r"<!-- table:([\w.-]+)(?: baseline:([\w.-]+))? -->\n")
Group = dict[str, Row]  # by seed


def mean_and_deviation(values: Iterable[str], decimals: int = 3) -> str:
    """`0.612`, or `0.612 ± 0.010` (sample standard deviation) of two or more; a dash without a value.

    Args:
        values: cells of one column; empty ones are left out.
        decimals: of both numbers.
    """
    numbers = [float(value) for value in values if value]
    if not numbers:
        return "–"
    mean = f"{statistics.fmean(numbers):.{decimals}f}"
    return mean if len(numbers) == 1 else f"{mean} ± {statistics.stdev(numbers):.{decimals}f}"


def interval(values: Sequence[float], signed: bool = False) -> str:
    """`0.590 to 0.634`, the 95 % t interval of the mean of three values or more; a dash for fewer."""
    half = half_interval(values)
    if half is None:
        return "–"
    mean, sign = statistics.fmean(values), "+" if signed else ""
    return f"{mean - half:{sign}.3f} to {mean + half:{sign}.3f}"


def difference(own: Group, baseline: Group) -> str:
    """`+0.120 (+0.098 to +0.142)`: the mean difference of mIoU of the same seeds, and its interval where it has one."""
    if own is baseline:
        return "–"
    values = differences(scores(own), scores(baseline))
    if not values:
        return "–"
    mean, limits = f"{statistics.fmean(values):+.3f}", interval(values, signed=True)
    return mean if limits == "–" else f"{mean} ({limits})"


def scores(group: Group) -> dict[str, float]:
    """mIoU by seed, where it is known."""
    return {seed: float(row["miou"]) for seed, row in group.items() if row["miou"]}


def command(dataset: str, method: str, params: str) -> str:
    """What `dvc exp run` was given, without the seed."""
    changes = [f"dataset={dataset}", f"method={method}", *split_changes(params)]
    quoted = (f"'{change}'" if {"{", " "} & {*change} else change for change in changes)  # a shell would part them
    return "`" + " ".join(f"-S {change}" for change in quoted) + "`"


def table(rows: Iterable[Row], dataset: str, baseline: str | None = None) -> str:
    """The table of a data set as Markdown, best mIoU first.

    Args:
        rows: the rows of all experiments, oldest first.
        dataset: only its rows count.
        baseline: the method that the others are compared with, by its rows without changes but for `source`.

    Raises:
        Fault: no experiment of the baseline has finished.
    """
    groups: dict[tuple[str, str], Group] = {}
    for row in rows:
        if row["dataset"] == dataset:
            groups.setdefault((row["method"], row["params"]), {})[row["seed"]] = row
    if not groups:
        return f"No experiment on {dataset} has finished yet.\n"
    plain = (group for (method, params), group in groups.items() if method == baseline and not essential(params))
    other = next(plain, None)
    if baseline and other is None:
        raise Fault(f"{README} compares {dataset} with {baseline}, of which no experiment has finished; run it first")

    def order(item: tuple[tuple[str, str], Group]) -> tuple[float, tuple[str, str]]:
        numbers = list(scores(item[1]).values())
        return -statistics.fmean(numbers) if numbers else float("inf"), item[0]

    used = [key for key in HEADINGS if any(row[key] for seeds in groups.values() for row in seeds.values())]
    extra = {"miou": ["95 %", *([f"− {baseline}"] if baseline else [])]}
    headings = [heading for key in used for heading in (HEADINGS[key], *extra.get(key, []))]
    lines = [["method", "`dvc exp run`", "seeds", *headings], ["---", "---", "---", *("---:" for _ in headings)]]
    for (method, params), seeds in sorted(groups.items(), key=order):
        cells = []
        for key in used:
            cells.append(mean_and_deviation((row[key] for row in seeds.values()), DECIMALS.get(key, 3)))
            if key == "miou":
                cells.append(interval(list(scores(seeds).values())))
                cells += [difference(seeds, other)] if other else []
        lines.append([method, command(dataset, method, params), str(len(seeds)), *cells])
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def fill(readme: str, rows: list[Row]) -> str:
    """The README's text with every table made anew.

    Raises:
        Fault: there is no table, or a table has no end.
    """
    parts, position = [], 0
    for match in START.finditer(readme):
        end = readme.find(f"<!-- /table:{match[1]} -->", match.end())
        if end < 0:
            raise Fault(f"{README} has <!-- table:{match[1]} --> without <!-- /table:{match[1]} -->; add the end")
        if match.start() < position:
            raise Fault(f"{README} has <!-- table:{match[1]} --> inside another table; move it out")
        parts += [readme[position : match.end()], table(rows, match[1], match[2])]
        position = end
    if not parts:
        raise Fault(f"{README} has no <!-- table:NAME --> ... <!-- /table:NAME -->, where NAME is a data set")
    return "".join(parts) + readme[position:]


def main() -> None:
    """Gathers the rows of all experiments and rewrites the README where a table changed.

    Raises:
        Fault: the README or a marker is missing.
    """
    if not README.exists():
        raise Fault(f"{README} is missing; run the command in the project's folder")
    readme = README.read_text(encoding="utf-8")
    filled = fill(readme, gather(EXPERIMENTS))
    if filled != readme:
        with atomic(README) as temporary:
            temporary.write_text(filled, encoding="utf-8")


if __name__ == "__main__":
    with exit_on_fault("table"):
        main()
