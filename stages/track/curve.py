"""`python -m stages.track.curve`: how wrong size targets may be, as a queue of experiments and a picture.

    queue  queues the experiments of a data set's curve that have not finished, running and queued ones left out
    draw   metrics/curve_DATASET.csv, a row per experiment, docs/curve_DATASET.png, and where there are experiments with
           few masks beside sizes docs/frontier_DATASET.png
    all    queue, then runs everything that is queued, then draw

The settings are in `stages.track.curve_points`, and where an experiment has finished before, under whatever name, its
row in metrics/experiments.csv counts.
"""

from __future__ import annotations

import argparse
import re
import shlex
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from stages.core.command import exit_on_fault
from stages.core.experiment import git
from stages.core.faults import Fault
from stages.core.files import atomic, write_csv
from stages.core.params import parse_yaml, read_yaml
from stages.track.curve_figure import LEVELS, figure
from stages.track.curve_points import CURVES, FROM_FILE, NO_RESULT, SIZE_FILE, Point, rows_of
from stages.track.frontier_figure import FRONTIER, frontier
from stages.track.ledger import FILE, Row, gather

PARAMS, EXPERIMENTS = Path("params.yaml"), Path("metrics") / FILE
OWN = ("experiment", "commit", "seed", "size_error", "miou", "ia_miou", "dice")
COLUMNS = ("series", "setting", *OWN)
READ = (FROM_FILE, "size_targets.source=boxes")  # where a file of sizes, or one of boxes, is read
WAITING = ("Queued", "Running")  # as `dvc queue status` says it


def dvc(*arguments: str, read: bool = False) -> str:
    """Runs a DVC command; with `read` gives its output, which else goes where this program's goes.

    Raises:
        Fault: it fails.
    """
    done = subprocess.run(  # noqa: S603 - no shell, and the arguments are ours
        ["dvc", *arguments],  # noqa: S607 - the environment's own
        stdout=subprocess.PIPE if read else None,
        text=True,
        check=False,
    )
    if done.returncode:
        raise Fault(f"{shlex.join(['dvc', *arguments])} failed with exit status {done.returncode}; see above")
    return done.stdout or ""


def points(dataset: str, changes: Sequence[str]) -> list[Point]:
    """The points of a data set's curve with further `KEY=VALUE` changes.

    `size_file` is for the points that read one.

    Raises:
        Fault: there is no curve of it.
    """
    if dataset not in CURVES:
        there = ", ".join(CURVES)
        raise Fault(f"stages/track/curve_points.py has no curve of data set {dataset!r}; there are: {there}")
    of_all = [change for change in changes if not change.startswith(f"{SIZE_FILE}=")]

    def changed(point: Point) -> Point:
        reads = any(text in READ for text in (*point.changes, *changes))
        return replace(point, changes=(*point.changes, *(changes if reads else of_all)))

    return [changed(point) for point in CURVES[dataset]]


@cache
def params_at(commit: str) -> dict[str, Any] | None:
    """The content of params.yaml at a commit; None where this clone does not have it, which is printed once."""
    content = git(Path(), "show", f"{commit.rstrip('+')}:./{PARAMS}")  # +: with uncommitted code, see `ledger`
    if content is None:
        print(f"commit {commit} is not in this clone: its rows count as made with the present params.yaml")  # noqa: T201
        return None
    return parse_yaml(content, f"{commit}:{PARAMS}")


def experiment_name(point: Point, dataset: str, seed: int) -> str:
    """A name of what the experiment is, so that two of different settings never share it."""
    parted = (change.partition("=") for change in point.changes)
    told = [f"{key.split('.')[-1]}-{value}" for key, _, value in parted if key not in NO_RESULT]
    return re.sub(r"[^\w.]+", "-", "-".join(["curve", dataset, point.method, *told, f"seed{seed}"]))


def missing(
    chosen: Iterable[Point], dataset: str, rows: Sequence[Row], params: Mapping[str, Any]
) -> Iterator[tuple[Point, int]]:
    """The points and seeds that no row has."""
    for point in chosen:
        finished = rows_of(point, dataset, rows, params, params_at)
        yield from ((point, seed) for seed in point.seeds if seed not in finished)


def waiting() -> set[str]:
    """The names of the experiments that are queued or running."""
    lines = (line.split() for line in dvc("queue", "status", read=True).splitlines())
    return {words[1] for words in lines if len(words) > 2 and words[-1] in WAITING}


def queue(dataset: str, changes: Sequence[str], at_most: int | None, dry: bool) -> None:
    """Queues what is missing, in the order of the table, or only prints the commands."""
    wanted = []
    for point, seed in missing(points(dataset, changes), dataset, gather(EXPERIMENTS), read_yaml(PARAMS)):
        if FROM_FILE in point.changes and not any(text.startswith(f"{SIZE_FILE}=") for text in point.changes):
            print(f"left out: {point.series}, {point.name}, which needs -S {SIZE_FILE}=/abs/sizes.csv")  # noqa: T201
        else:
            wanted.append((point, seed))
    named = [(experiment_name(point, dataset, seed), point, seed) for point, seed in wanted]
    there = waiting()
    left = [entry for entry in named if entry[0] not in there]
    for name, point, seed in left[:at_most]:
        values = (f"dataset={dataset}", f"method={point.method}", f"seed={seed}", *point.changes)
        arguments = ["exp", "run", "--queue", "-n", name, *(word for value in values for word in ("-S", value))]
        print(shlex.join(["dvc", *arguments]))  # noqa: T201 - the command's output
        if not dry:
            dvc(*arguments)
    count = len(left[:at_most])
    print(  # noqa: T201 - the command's output
        f"{count} experiments {'to queue' if dry else 'queued'}, {len(named) - len(left)} were waiting, "
        f"{len(left) - count} left for later; `dvc queue start` runs them, `dvc queue status` shows them"
    )


def draw(dataset: str, changes: Sequence[str]) -> None:
    """Writes metrics/curve_DATASET.csv and the pictures under docs, and says what is missing.

    Raises:
        Fault: nothing has finished.
    """
    chosen, rows, params = points(dataset, changes), gather(EXPERIMENTS), read_yaml(PARAMS)
    raw = [
        {"series": point.series, "setting": point.name, **{key: row[key] for key in OWN}}
        for point in chosen
        for row in rows_of(point, dataset, rows, params, params_at).values()
    ]
    if not raw:
        raise Fault(f"no experiment of the curve of {dataset} has finished; `python -m stages.track.curve queue` first")
    write_csv(EXPERIMENTS.with_name(f"curve_{dataset}.csv"), raw, COLUMNS)
    pictures = {"curve": figure(raw)}
    if any(row["series"] in FRONTIER.keys() - LEVELS.keys() for row in raw):
        pictures["frontier"] = frontier(raw)
    for name, content in pictures.items():
        with atomic(Path("docs") / f"{name}_{dataset}.png") as temporary:
            temporary.write_bytes(content)
    for point, seed in missing(chosen, dataset, rows, params):
        print(f"not there yet: {point.series}, {point.name}, seed {seed}")  # noqa: T201 - the command's output


def main(arguments: Sequence[str] | None = None) -> None:
    """Reads the command line."""
    parser = argparse.ArgumentParser(prog="python -m stages.track.curve", description=__doc__.split("\n")[0])
    parser.add_argument("action", choices=("queue", "draw", "all"))
    parser.add_argument("--dataset", default="shapes", help="of %(default)s and others with a table of settings")
    parser.add_argument(
        "-S", dest="changes", action="append", default=[], metavar="KEY=VALUE", help="a param of all experiments"
    )
    parser.add_argument("--at-most", type=int, metavar="N", help="queue the first N of the missing ones")
    parser.add_argument("--dry", action="store_true", help="print what would be queued, and leave it at that")
    options = parser.parse_args(arguments)
    if options.action != "draw":
        queue(options.dataset, options.changes, options.at_most, options.dry)
    if options.action == "all" and not options.dry:
        dvc("exp", "run", "--run-all")
    if options.action == "draw" or (options.action == "all" and not options.dry):
        draw(options.dataset, options.changes)


if __name__ == "__main__":
    with exit_on_fault("curve"):
        main()
