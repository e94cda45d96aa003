"""metrics/experiments.csv: one row per finished experiment, kept by git: experiments are not in a clone.

The file is tracked by git and no out of DVC, which would delete it before each run. What that means with DVC 3:

- `dvc exp run` commits every tracked file that changed, so an experiment's commit holds its own row, and `dvc exp
  branch`, `apply`, `push` and `pull` carry it along.
- A `--temp` or queued experiment writes the row into its own temporary workspace only. It leaves the file in the
  user's workspace alone: DVC stashes and restores that workspace whenever another experiment is queued, and rows
  written meanwhile would be lost (10 of 100 in a trial).
- `dvc exp apply` sets every tracked file to what it was in that experiment, so rows that were added later and are not
  committed vanish from the file.

Therefore the rows of all experiments that DVC knows are gathered again, from their commits under refs/exps, whenever
`track` runs in the user's workspace and by `make table`. To remove a row for good, remove its line and, if it is still
there, the experiment (`dvc exp remove NAME`).

An experiment that is run again (same name, same commit) replaces its row where it stands.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from filelock import FileLock
from ruamel.yaml import YAML

from stages.core.experiment import Experiment, git, main_repository, relevant, text
from stages.core.faults import Fault
from stages.core.files import csv_text, format_cell, write_csv
from stages.core.stage import SCRATCH

FILE = "experiments.csv"  # beside summary.json; no entry of dvc.yaml, since a stage appends to it
METRICS = ("miou", "ia_miou", "ia_s", "ia_m", "ia_l", "balanced_ia_miou", "pseudo_mask_miou", "size_error", "dice")
COST = ("train_minutes", "train_memory_gb")  # as MLflow has them; empty where the segmenter came from the cache
COLUMNS = ("experiment", "commit", "dataset", "method", "seed", "params", *METRICS, *COST)
BEFORE_DICE = tuple(column for column in COLUMNS if column != "dice")  # files and experiments that know none
OWN_COLUMN = ("dataset", "method", "seed")
COMMIT_DIGITS = 10
MODIFIED = "+"  # after the commit: the code was not the commit's
EXPERIMENT_REF = re.compile(r"refs/exps/[0-9a-f]{2}/[0-9a-f]{38}/(.+)")
Row = dict[str, str]


def portable(value: Any) -> str:
    """A param as text; an absolute path becomes `.../NAME`, since the rest means nothing on another machine."""
    return f".../{Path(value).name}" if isinstance(value, str) and value.startswith("/") else text(value)


def changed_params(experiment: Experiment) -> str:
    """The params that differ from params.yaml at the experiment's commit: `key=value` as for `-S`, joined by spaces.

    Data set, method and seed have their own columns. Empty where the commit holds no readable params.yaml.
    """
    committed = git(main_repository(), "show", f"{experiment.base}:./params.yaml")
    tree = YAML(typ="safe").load(committed) if committed else None
    if not isinstance(tree, dict):
        return ""
    before = relevant(tree | {key: experiment.params.get(key) for key in OWN_COLUMN})
    missing = object()
    changed: dict[str, Any] = {}
    for key, value in experiment.params.items():
        if before.get(key, missing) != value:
            section = section_of(key, before)
            if section:  # `-S` cannot set a key of what was no section, only the whole of it
                nest(changed.setdefault(section, {}), key.removeprefix(f"{section}.").split("."), value)
            else:
                changed[key] = value
    return " ".join(f"{key}={inline(value)}" for key, value in changed.items())


def section_of(key: str, before: Mapping[str, Any]) -> str:
    """The part of a dotted key that was a single value, such as `none`, before; empty where there was none."""
    parts = key.split(".")
    return next((name for n in range(1, len(parts)) if (name := ".".join(parts[:n])) in before), "")


def nest(tree: dict[str, Any], keys: list[str], value: Any) -> None:
    """Sets a value in nested mappings, in place."""
    for key in keys[:-1]:
        tree = tree.setdefault(key, {})
    tree[keys[-1]] = value


def inline(value: Any) -> str:
    """A param, or a whole section, as `-S` takes it, without spaces."""
    if isinstance(value, dict):
        return "{" + ",".join(f"{key}:{inline(part)}" for key, part in value.items()) + "}"
    return portable(value)


def code_commit(experiment: Experiment) -> str:
    """The start of the experiment's commit, with a `+` where the code in the present folder is not that commit's."""
    here = Path()
    edited = git(here, "diff", "--name-only", experiment.base, "--", "stages", "dvc.yaml")
    added = git(here, "ls-files", "--others", "--exclude-standard", "--", "stages")
    return experiment.base[:COMMIT_DIGITS] + (MODIFIED if edited or added else "")


def row_of(experiment: Experiment, summary: Mapping[str, float | None], cost: Mapping[str, float]) -> Row:
    """The row of a finished experiment; what the data set cannot have, or nobody measured, is an empty cell.

    Args:
        experiment: gives name, commit and params.
        summary: the metrics of summary.json and `dice`, see `mean_dice`, by the names in `METRICS`.
        cost: time and memory, by the names in `COST`.

    Raises:
        ValueError: the summary holds a metric without a column.
    """
    unknown = set(summary) - set(METRICS)
    if unknown:
        raise ValueError(f"metrics without a column in the table of experiments: {', '.join(sorted(unknown))}")
    row = {"experiment": experiment.name, "commit": code_commit(experiment), "params": changed_params(experiment)}
    row |= {key: text(experiment.params.get(key)) for key in OWN_COLUMN}
    numbers = {**summary, **cost}
    row |= {key: "" if numbers.get(key) is None else str(format_cell(float(numbers[key]))) for key in METRICS + COST}
    return {key: row[key] for key in COLUMNS}


def mean_dice(experiment: Experiment, scores: Iterable[Row]) -> float:
    """Mean Dice coefficient of the classes without the background on the headline split; NaN where it is undefined.

    scores: the rows of miou.csv.
    """
    headline = experiment.params[f"datasets.{experiment.params['dataset']}.headline"]
    return next(float(row["dice"] or "nan") for row in scores if row["split"] == headline)


def parse(content: str, where: str) -> list[Row]:
    """The rows of the file's text; where it has no column `dice`, that is empty.

    Raises:
        Fault: the header or a row is not what `track` writes, as after a merge with conflicts.
    """
    reader = csv.reader(io.StringIO(content))
    rows = [cells for cells in reader if cells]
    if not rows:
        return []
    columns = BEFORE_DICE if tuple(rows[0]) == BEFORE_DICE else COLUMNS
    for number, cells in enumerate(rows[1:], start=2):
        if len(cells) != len(columns):
            raise Fault(f"{where}: row {number} has {len(cells)} cells, not {len(columns)}: mend or remove it")
    if tuple(rows[0]) != columns:
        raise Fault(f"{where}: the header must be {','.join(COLUMNS)}")
    found = (dict(zip(columns, cells, strict=True)) for cells in rows[1:])
    return [{column: row.get(column, "") for column in COLUMNS} for row in found]


def read(path: Path) -> list[Row]:
    """The rows of `path`, none where it is missing; see `parse`."""
    return parse(path.read_text(encoding="utf-8"), str(path)) if path.exists() else []


def identity(row: Row) -> tuple[str, str]:
    """What makes two rows the same experiment."""
    return row["experiment"], row["commit"].removesuffix(MODIFIED)


def merge(rows: Iterable[Row], newer: Iterable[Row]) -> list[Row]:
    """`rows` with those of `newer` in place of the same experiment's, new ones at the end."""
    merged = {identity(row): row for row in rows}
    merged.update((identity(row), row) for row in newer)
    return list(merged.values())


def known_to_dvc(path: Path) -> list[Row]:
    """The own row of each experiment that DVC keeps, read from its commit.

    Args:
        path: the file, relative to the present folder, which is the main repository.
    """
    rows: list[Row] = []
    for ref in (git(Path(), "for-each-ref", "--format=%(refname)", "refs/exps") or "").splitlines():
        match = EXPERIMENT_REF.fullmatch(ref)
        content = git(Path(), "show", f"{ref}:./{path.as_posix()}") if match else None
        if match is None or content is None:
            continue
        try:
            rows += [row for row in parse(content, ref) if row["experiment"] == match[1]]
        except Fault:  # written by another version: it does not fit under these columns
            continue
    return rows


def gather(path: Path, new: Iterable[Row] = ()) -> list[Row]:
    """Writes `path` with its own rows, those of the experiments that DVC knows, and `new`; returns them all.

    In a temporary workspace, whose repository holds no experiments, only `new` is added.
    """
    SCRATCH.mkdir(exist_ok=True)
    with FileLock(SCRATCH / "experiments.lock"):
        rows = read(path)
        if Path.cwd() == main_repository():
            rows = merge(rows, known_to_dvc(path))
        rows = merge(rows, new)
        if not path.exists() or path.read_text(encoding="utf-8") != csv_text(rows, COLUMNS):
            write_csv(path, rows, COLUMNS)
    return rows
