"""Whether the results that are here are those that dvc.lock records: `python -m stages.track.verify [--all]`.

DVC remembers the md5 of a file by its date and trusts a read-only cache object by its name. Here every byte is read
again: the outs of dvc.lock in the workspace and their objects in the cache (--all: every object of the cache). The
stages of dvc.lock, metrics/summary.json, metrics/experiments.csv and the tables of README.md are held against each
other. What is wrong is listed (exit code 1); what is not here, and so cannot be checked, is said and is no fault.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from stages.core.command import exit_on_fault
from stages.core.faults import Fault
from stages.core.files import format_cell, read_json
from stages.core.params import read_yaml
from stages.track import ledger, table
from stages.track.outs import SHOWN, Report, check_outs, outs_of, uncached_outs

LOCK = Path("dvc.lock")


def check_chain(lock: Mapping[str, Any], report: Report) -> None:
    """What a stage of dvc.lock read must be what another one wrote."""
    stages = lock.get("stages", {})
    written = {item["path"]: (name, item.get("md5")) for name, spec in stages.items() for item in spec.get("outs", [])}
    for name, spec in stages.items():
        for item in spec.get("deps", []):
            owner, md5 = written.get(item["path"], (None, None))
            if owner and md5 != item.get("md5"):
                report.wrong.append(
                    f"{LOCK}: stage {name} read {item['path']} with md5 {item.get('md5')}, and stage {owner} has "
                    f"written it with {md5} since; `dvc repro` runs what is old"
                )


def check_row(lock: Mapping[str, Any], report: Report) -> None:
    """The numbers of summary.json must stand in a row of the experiment whose params dvc.lock records."""
    summary_path = table.EXPERIMENTS.with_name("summary.json")
    params = lock.get("stages", {}).get("track", {}).get("params", {}).get("params.yaml")
    if not params or not summary_path.exists() or not table.EXPERIMENTS.exists():
        report.unchecked.append(f"{summary_path} beside {table.EXPERIMENTS}: one is missing, or no stage `track` ran")
        return
    try:
        summary = dict(read_json(summary_path))
        numbers = {key: "" if value is None else str(format_cell(float(value))) for key, value in summary.items()}
    except (ValueError, TypeError) as error:
        raise Fault(f"{summary_path} does not hold metrics ({error}); `dvc repro` makes it again") from None
    own = {key: str(params[key]) for key in ledger.OWN_COLUMN}
    rows = [row for row in ledger.read(table.EXPERIMENTS) if all(row[key] == own[key] for key in own)]
    wrong = [[key for key in numbers if row.get(key) != numbers[key]] for row in rows]
    if not rows or all(wrong):
        nearest = min(wrong, key=len, default=[])
        report.wrong.append(
            f"{table.EXPERIMENTS} has no row with the numbers of {summary_path} for {', '.join(own.values())}"
            + (f" (the nearest differs in {', '.join(nearest)})" if nearest else "")
            + "; `dvc repro` writes both"
        )


def check_tables(report: Report) -> None:
    """The tables of README.md must be those that `make table` writes."""
    if not table.README.exists() or not table.EXPERIMENTS.exists():
        report.unchecked.append(f"the tables of {table.README}: it or {table.EXPERIMENTS} is missing")
        return
    readme = table.README.read_text(encoding="utf-8")
    rows = ledger.read(table.EXPERIMENTS)
    filled = table.fill(readme, rows)
    if filled == readme:
        return
    for match in table.START.finditer(readme):
        end = readme.find("<!-- /table", match.end())
        stands, right = readme[match.end() : end].splitlines(), table.table(rows, *match.groups()).splitlines()
        bad = [line for line in stands if line not in right] + [line for line in right if line not in stands]
        if stands != right:
            report.wrong.append(
                f"{table.README}: table {match[1]} is not that of {table.EXPERIMENTS}; `make table` mends it: "
                + (bad[0] if bad else "its lines are in another order")
            )


def verify(cache: Path, every: bool = False) -> Report:
    """All checks in the present folder.

    Args:
        cache: DVC's cache.
        every: see `check_outs`.

    Raises:
        Fault: a file is missing or malformed, without which nothing can be said.
    """
    report = Report()
    lock = read_yaml(LOCK)
    check_outs(list(outs_of(lock, uncached_outs(), report)), cache, every, report)
    check_chain(lock, report)
    for check in (lambda: check_row(lock, report), lambda: check_tables(report)):
        try:
            check()
        except Fault as fault:
            report.wrong.append(str(fault))
        except UnicodeDecodeError as error:
            report.wrong.append(f"{table.README} or {table.EXPERIMENTS} is not UTF-8 text ({error})")
    return report


def cache_folder() -> Path:
    """Where DVC keeps its cache.

    Raises:
        Fault: this is no DVC repository.
    """
    done = subprocess.run(["dvc", "cache", "dir"], capture_output=True, text=True, check=False)  # noqa: S607 - as typed
    if done.returncode:
        raise Fault(f"`dvc cache dir` fails: {done.stderr.strip()}")
    return Path(done.stdout.strip())


def main(arguments: list[str] | None = None) -> None:
    """The command, see the module."""
    parser = argparse.ArgumentParser(prog="python -m stages.track.verify", description=__doc__.splitlines()[0])
    parser.add_argument("--all", action="store_true", help="every object of the cache, not only those of dvc.lock")
    options = parser.parse_args(arguments)
    with exit_on_fault("verify"):
        report = verify(cache_folder(), options.all)
    sys.stdout.writelines(f"{line}\n" for line in lines_of(report))
    if report.wrong:
        sys.exit(1)


def lines_of(report: Report) -> Iterator[str]:
    """The report for a terminal."""
    for line in report.unchecked:
        yield f"not checked: {line}"
    for where, absent in (("workspace", report.not_in_workspace), ("cache", report.not_in_cache)):
        if absent:
            more = f" and {len(absent) - SHOWN} more" if len(absent) > SHOWN else ""
            yield f"not checked, as the {where} does not have them: {', '.join(absent[:SHOWN])}{more}"
    for line in report.wrong:
        yield f"wrong: {line}"
    verdict = f"{len(report.wrong)} faults" if report.wrong else "nothing is wrong"
    yield f"{report.files} files read ({report.size / 1e6:.1f} MB), {verdict}"


if __name__ == "__main__":
    main()
