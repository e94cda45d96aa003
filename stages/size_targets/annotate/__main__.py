"""The sizes of classes in images, typed by a person on a local page and written as the CSV of size_targets' `file`.

python -m stages.size_targets.annotate --images FOLDER --classes cat,dog [--tags tags.csv] [--out sizes.csv]
    [--aid box|grid|none] [--unit percent|boxes] [--truth MASKS] [--train N] [--class-list classes.txt] [--port N]

It asks one class after the other, each answer is on the disk at once, and the same command goes on where it stopped.
"""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from stages.core.command import exit_on_fault
from stages.core.faults import Fault
from stages.core.label_files import find_maps
from stages.size_targets.annotate import questions
from stages.size_targets.annotate.aids import AIDS, UNITS
from stages.size_targets.annotate.server import Server
from stages.size_targets.annotate.session import Session, arrange, open_records

TRAINING = 30  # images of a class, as in the original tool


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m stages.size_targets.annotate", description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=Path, required=True, metavar="FOLDER", help="JPEG and PNG images, or a zip")
    parser.add_argument("--classes", default="", help="names with commas between, asked in this order")
    parser.add_argument("--tags", type=Path, help="CSV of an id, then class names: only these pairs are asked")
    parser.add_argument("--class-list", type=Path, metavar="classes.txt", help="line n names label n, from 0")
    parser.add_argument("--out", type=Path, default=Path("sizes.csv"), help="the CSV to write; sizes.csv by default")
    parser.add_argument("--aid", choices=AIDS, default="box", help="what to compare with; box by default")
    parser.add_argument("--unit", choices=UNITS, default="percent", help="of what is typed; percent by default")
    parser.add_argument("--truth", type=Path, metavar="MASKS", help="true label maps, for a training phase")
    parser.add_argument("--train", type=int, metavar="N", help=f"training images of each class; {TRAINING} by default")
    parser.add_argument("--port", type=int, default=0, help="a free one by default")
    return parser.parse_args(arguments)


def make_session(options: argparse.Namespace) -> Session:
    """What the command line asks for.

    Raises:
        Fault: something about it is wrong.
    """
    if options.unit == "boxes" and options.aid == "none":
        raise Fault("--unit boxes needs boxes to count: --aid grid or --aid box")
    if options.train is not None and (options.train < 1 or not options.truth):
        raise Fault("--train N is a number from 1 and needs --truth MASKS")
    if not 0 <= options.port <= 65535:
        raise Fault(f"--port {options.port} is not between 0 and 65535")
    class_list = find_class_list(options)
    chosen = [name.strip() for name in options.classes.split(",") if name.strip()]
    tags = questions.read_tags(options.tags, class_list, chosen) if options.tags else None
    classes = questions.asked_classes(chosen, class_list, tags)
    wanted = None if tags is None else {image for image, names in tags.items() if set(names) & set(classes)}
    images, pictures = questions.find_images(options.images, wanted)
    pairs = questions.asked_pairs(pictures, classes, tags)
    if not pairs:
        raise Fault(f"no image of {options.images} has a line with {' or '.join(classes)} in {options.tags}")
    if wanted and len(pictures) < len(wanted):
        sys.stdout.write(
            f"{len(wanted) - len(pictures)} tagged images are not in {options.images}; they are left out\n"
        )
    records = open_records(options.out, classes, pictures)
    masks, training = None, {}
    if options.truth:
        masks = find_maps(options.truth, set(pictures))
        taken = {*records.answers.answers, *records.skipped.answers}
        count = TRAINING if options.train is None else options.train
        training = questions.training_pairs(pairs, count, masks, pictures, class_list, taken)
    asked = arrange(pairs, training, pictures, records)
    return Session(asked, records, images, options.aid, options.unit, masks, class_list, tags is not None)


def find_class_list(options: argparse.Namespace) -> tuple[str, ...]:
    """The names of --class-list, else of the classes.txt beside the tags, the masks or the images; empty without one.

    Raises:
        Fault: it cannot be read, or the training phase needs one and there is none.
    """
    if options.class_list:
        return questions.read_class_list(options.class_list)
    for path in (options.tags, options.truth, options.images):
        beside = path and path.resolve().parent / "classes.txt"
        if beside and beside.is_file():
            return questions.read_class_list(beside)
    if options.truth:
        raise Fault("--truth needs --class-list classes.txt, whose line n names label n of the masks, from 0")
    return ()


def main(arguments: list[str] | None = None) -> None:
    """The command, see the module."""
    options = parse(arguments)
    options.out = options.out.resolve()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with exit_on_fault("annotate"), alone(options.out):
        session = make_session(options)
        with Server(session, options.port) as server:
            waiting = sum(session.records.holding(question.pair) is None for question in session.questions)
            sys.stdout.write(
                f"{waiting} of {len(session.questions)} sizes to ask, answers go to {options.out}\n"
                f"Open {server.url}\nCtrl-C ends; every answer is saved, and the same command goes on.\n"
            )
            sys.stdout.flush()
            serve(server)
        sys.stdout.write(f"{len(session.records.answers.answers)} answers in {options.out}\n")


@contextmanager
def alone(out: Path) -> Iterator[None]:
    """Holds a lock beside the file of the answers, wherever the program was started.

    Raises:
        Fault: another program writes it, or its folder is not there.
    """
    if not out.parent.is_dir():
        raise Fault(f"{out.parent} is no folder; make it or name another --out")
    try:
        with FileLock(out.with_name(f".{out.name}.lock"), timeout=0):
            yield
    except Timeout:
        raise Fault(f"another program is writing {out}; end it, or name another --out") from None


def serve(server: Server) -> None:
    """Serves until Ctrl-C."""
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        sys.stdout.write("\n")


if __name__ == "__main__":
    main()
