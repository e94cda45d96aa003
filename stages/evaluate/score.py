"""The scores of anybody's predictions: `python -m stages.evaluate.score --predictions P --masks M`.

Needs nothing of the pipeline: label maps in, a table, JSON and CSV out. What is wrong with the files is listed
completely, and then nothing is written.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from stages.core.command import exit_on_fault
from stages.core.dataset import VOID
from stages.core.faults import Fault
from stages.core.files import atomic, csv_text
from stages.core.label_files import LabelFiles, find_maps
from stages.core.metrics.ia_miou import EXACT, MODES
from stages.evaluate.file_scores import FileScores, instance_source, score_files
from stages.evaluate.report import (
    COMPARE_COLUMNS,
    Setting,
    instance_rows,
    json_content,
    make_report,
    screen,
)
from stages.evaluate.tables import INSTANCE_COLUMNS

WRONG = 2  # exit code: the arguments or the files are not as they should be
EPILOG = """\
MAPS is a folder or a zip of PNG (indexed, or grey of 8 or 16 bits) or .npy files (integers), matched by their names
without suffix, sub-folders included. Pixels of 255 in a prediction are undecided: wrong, but a false positive of no
class. SIZEWISE_JOBS is the number of processes. Exit code 2: the arguments or the files are at fault; all that is wrong
is listed, and nothing is written."""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    result = argparse.ArgumentParser(
        prog="python -m stages.evaluate.score",
        description="mIoU, IA-mIoU by instance size and other scores of predicted label maps, with 95 % intervals.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = result.add_argument
    add("--predictions", type=Path, required=True, metavar="MAPS", help="predicted label maps")
    add("--masks", type=Path, required=True, metavar="MAPS", help="true label maps")
    add("--instances", type=Path, metavar="MAPS", help="instance maps; default: connected components of the masks")
    add("--ids", type=Path, metavar="FILE", help="score these images alone, a name a line; default: all masks")
    add("--classes", type=Path, metavar="FILE", help="line n is the name of label n; default: as many as in the masks")
    add("--void", type=int, default=VOID, help="label in the masks that counts nowhere (default: %(default)s)")
    add("--instance-void", type=int, metavar="ID", help="default: 255 in maps of 8 bits, 65535 in wider ones")
    add("--mode", choices=MODES, default=EXACT, help="exact, or as the IA-mIoU was published (default: %(default)s)")
    add("--no-background", action="store_true", help="label 0 is a class like the others")
    bins = "areas in pixels from which an instance is medium and large (default: 1024 9216)"
    add("--bins", type=int, nargs=2, default=(1024, 9216), metavar="AREA", help=bins)
    add("--compare", type=Path, metavar="MAPS", help="a second prediction set: is it better, and by how much")
    add("--bootstrap", type=int, default=1000, metavar="N", help="resamples for the intervals (default: %(default)s)")
    add("--json", type=Path, metavar="OUT", help="all scores as fractions, null where undefined")
    add("--csv", type=Path, metavar="OUT", help="a row for each instance")
    add("--allow-missing", action="store_true", help="a missing prediction counts as all background")
    return result


def complaints(options: argparse.Namespace) -> str:
    """What is wrong with the arguments themselves; empty if nothing is."""
    lower, upper = options.bins
    outputs = [path for path in (options.json, options.csv) if path]
    folder = next((path for path in outputs if path.is_dir()), None)
    for wrong, text in (
        (not 0 < lower < upper, f"--bins {lower} {upper}: two areas in pixels, the first the smaller one, above 0"),
        (options.bootstrap < 0, f"--bootstrap {options.bootstrap}: 0 for no intervals, or more"),
        (options.allow_missing and options.no_background, "--allow-missing needs a background, --no-background denies"),
        (options.instance_void is not None and not options.instances, "--instance-void needs --instances"),
        (folder, f"{folder} is a folder; --json and --csv take the name of a file"),
        (len({path.absolute() for path in outputs}) < len(outputs), "--json and --csv name the same file"),
    ):
        if wrong:
            return text
    return ""


def read_classes(path: Path) -> tuple[str, ...]:
    """The names of the labels, line n that of label n; empty lines at the end are none.

    Raises:
        Fault: the file cannot be read, has no or over 255 names, an empty one or one twice.
    """
    try:
        names = tuple(line.strip() for line in path.read_text(encoding="utf-8-sig").rstrip().splitlines())
    except (OSError, UnicodeDecodeError) as error:
        raise Fault(f"--classes {path}: it cannot be read ({error})") from None
    if not 0 < len(names) <= VOID:
        raise Fault(f"--classes {path}: {len(names)} names; a line for each label, 1 to {VOID} of them")
    if not all(names):
        raise Fault(f"--classes {path}: line {names.index('') + 1} is empty; the first line is label 0")
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise Fault(f"--classes {path}: two labels of one name: {', '.join(twice)}")
    return names


def read_ids(path: Path) -> set[str]:
    """The names of the images to score, one a line.

    Raises:
        Fault: the file cannot be read, or names none.
    """
    try:
        names = {line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines()} - {""}
    except (OSError, UnicodeDecodeError) as error:
        raise Fault(f"--ids {path}: it cannot be read ({error})") from None
    if not names:
        raise Fault(f"--ids {path}: it names no image")
    return names


Sources = tuple[tuple[str, ...] | None, LabelFiles, LabelFiles | None, tuple[LabelFiles, ...]]


def sources(options: argparse.Namespace) -> Sources:
    """The names of the classes, the masks, the instance maps and the one or two prediction sets.

    Raises:
        Fault: some of them are not there; all of those are named.
    """
    faults: list[str] = []

    def attempt(find: Callable[..., Any], path: Path | None, *rest: Any) -> Any:
        try:
            return find(path, *rest) if path else None
        except Fault as fault:
            faults.append(str(fault))
            return None

    classes, ids = attempt(read_classes, options.classes), attempt(read_ids, options.ids)
    masks = attempt(find_maps, options.masks)
    stems = set(masks.members) if masks else None
    found = [attempt(find_maps, path, stems) for path in (options.instances, options.predictions, options.compare)]
    if masks and ids:
        unknown = sorted(ids - stems)
        if unknown:
            faults.append(f"--ids {options.ids}: {len(unknown)} names without a mask, {unknown[0]} among them")
        masks, *found = (source and source.only(ids) for source in (masks, *found))
    if faults:
        raise Fault("\n".join(dict.fromkeys(faults)))
    return classes, masks, found[0], tuple(source for source in found[1:] if source)


def score(options: argparse.Namespace) -> str:
    """Does what the arguments ask for, and gives the text for the screen.

    Raises:
        Fault: the files are not as they should be; nothing has been written.
        OSError: an output cannot be written.
    """
    classes, masks, instances, predictions = sources(options)
    work = FileScores(
        masks,
        instances,
        predictions,
        options.void,
        options.instance_void,
        not options.no_background,
        options.mode,
    )
    counts, names = score_files(work, classes, options.allow_missing)
    setting = Setting(
        options.mode, instance_source(work), names, work.background, tuple(options.bins), options.bootstrap
    )
    report = make_report(counts, setting)
    outputs = {}
    if options.json:
        outputs[options.json] = json.dumps(json_content(report), indent=2, allow_nan=False) + "\n"
    if options.csv:
        columns = COMPARE_COLUMNS if options.compare else INSTANCE_COLUMNS
        outputs[options.csv] = csv_text(instance_rows(counts, names, options.bins), columns)
    with ExitStack() as stack:  # each file gets its name only when all are written
        for path, text in outputs.items():
            stack.enter_context(atomic(path)).write_text(text, encoding="utf-8")
    return screen(report)


def main(arguments: Sequence[str] | None = None) -> None:
    """The command."""
    command = parser()
    options = command.parse_args(arguments)
    complaint = complaints(options)
    if complaint:
        command.error(complaint)
    with exit_on_fault("score", WRONG, "nothing was written"):
        text = score(options)
    sys.stdout.write(text)


if __name__ == "__main__":
    main()
