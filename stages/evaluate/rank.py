"""`python -m stages.evaluate.rank A.json B.json C.json ...`: do two scores put prediction sets in the same order?

Spearman's rank correlation of every pair of scores over several prediction sets, as arXiv 2309.14117 reports it: 1
where two scores order the sets alike, -1 where they order them in reverse. The files are those that
`stages.evaluate.score --json` writes.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path

import numpy as np
from scipy.stats import spearmanr

from stages.core.command import exit_on_fault
from stages.core.faults import Fault
from stages.core.files import read_json

METRICS = ("miou", "ia_miou", "ia_s", "ia_m", "ia_l")


def rank_correlations(
    sets: Sequence[Mapping[str, float | None]], metrics: Sequence[str]
) -> dict[tuple[str, str], float]:
    """Spearman's rho of each pair of metrics over the prediction sets; ties get their mean rank.

    NaN where a metric is the same for all sets: it has no order then.

    Args:
        sets: the scores of each prediction set, by name.
        metrics: two names or more.

    Raises:
        Fault: there are fewer than three sets, or one lacks a metric.
    """
    if len(sets) < 3:
        raise Fault(f"a rank correlation over {len(sets)} prediction sets says nothing; give at least 3")
    for number, scores in enumerate(sets, 1):
        missing = [name for name in metrics if scores.get(name) is None]
        if missing:
            raise Fault(f"prediction set {number} has no {', '.join(missing)}; choose others with --metrics")
    values = {name: np.array([scores[name] for scores in sets]) for name in metrics}
    return {
        (one, other): float(spearmanr(values[one], values[other]).statistic)
        if np.ptp(values[one]) and np.ptp(values[other])
        else float("nan")
        for one, other in combinations(metrics, 2)
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints a line per pair of metrics."""
    parser = argparse.ArgumentParser(prog="python -m stages.evaluate.rank", description=__doc__.splitlines()[0])
    parser.add_argument("results", nargs="+", type=Path, metavar="JSON", help="results of stages.evaluate.score --json")
    parser.add_argument("--metrics", nargs="+", default=METRICS, help=f"default: {' '.join(METRICS)}")
    options = parser.parse_args(arguments)
    with exit_on_fault("rank", code=2):
        missing = [str(path) for path in options.results if not path.is_file()]
        if missing:
            raise Fault(f"not found: {', '.join(missing)}")
        found = rank_correlations([read_json(path) for path in options.results], options.metrics)
    sys.stdout.write(f"Spearman's rank correlation over {len(options.results)} prediction sets\n")
    for (one, other), value in found.items():
        sys.stdout.write(f"{one:>14} {other:<14} {value:6.3f}\n")


if __name__ == "__main__":
    main()
