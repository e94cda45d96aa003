"""PASCAL-B rebuilt: `python -m stages.balance.pascal_b --out B`.

The size-balanced evaluation set of arXiv 2309.14117, whose list and annotations were never published, made anew from
the annotations of LVIS and COCO. `mapping`, `paint` and `flattest` say how; NOTE.md in the result says of what.
"""

from __future__ import annotations

import argparse
import hashlib
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from stages.balance.annotations import read_images
from stages.balance.conversion import converted
from stages.balance.flattest import bound, flattest
from stages.balance.mapping import CLASSES
from stages.balance.pascal_b_report import Result, histogram_plot, histogram_table, note, pool_table, summary
from stages.balance.pool import pool_counts
from stages.balance.selection import priorities
from stages.balance.sources import file_of, sources
from stages.core.command import exit_on_fault
from stages.core.dataset import Dataset
from stages.core.faults import Fault

WRONG = 2  # exit code: the arguments or the files are not as they should be
IMAGES = 1137  # of PASCAL-B, arXiv 2309.14117, section 4
EPILOG = """\
The annotations of LVIS v1 and COCO are downloaded where they are not named (pascal_b in params.yaml says from where),
into SIZEWISE_DOWNLOADS or .scratch/downloads, and read inside their zips.

OUT gets masks/, instances/, classes.txt and list.txt, which are scored with
  python -m stages.evaluate.score --predictions P --masks OUT/masks --instances OUT/instances \\
    --classes OUT/classes.txt
and histogram.csv, histogram.png, pool.csv and NOTE.md. Pictures are not copied. SIZEWISE_JOBS is the number of
processes. Exit code 2: the arguments or the files are at fault; what is wrong is listed, and nothing is written."""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    result = argparse.ArgumentParser(
        prog="python -m stages.balance.pascal_b",
        description="A rebuild of PASCAL-B: an evaluation set of VOC's classes, balanced over class and size.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = result.add_argument
    lvis = "val or train of LVIS v1, which is downloaded; or its JSON, or a zip of it (default: %(default)s)"
    add("--lvis", default="val", metavar="FILE", help=lvis)
    coco = "instances_val2017.json, or annotations_trainval2017.zip (default: the latter, downloaded)"
    add("--coco", type=Path, default=(), nargs="+", metavar="FILE", help=coco)
    add("--out", type=Path, required=True, metavar="FOLDER", help="is made; must not be there")
    add("--images", type=int, default=IMAGES, metavar="N", help="how many to choose (default: %(default)s)")
    add("--seed", type=int, default=0, help="decides between images that are equally good (default: %(default)s)")
    train = "keep images of COCO's training set, too (a JSON of theirs under --coco as well); a network trained on COCO"
    add("--keep-train-images", action="store_true", help=f"{train} has seen them")
    add("--beside", type=Path, metavar="ZIP", help="dataset.zip of VOC from `prepare`, to show beside the result")
    add("--split", default="val", help="the split of --beside (default: %(default)s)")
    return result


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Yields a temporary folder beside `path`, which gets that name on success and is removed on failure.

    Raises:
        Fault: there is something at `path`.
    """
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise Fault(f"--out {path} is there already; name a new folder, or remove it")
    temporary = path.with_name(f".{path.name}.part")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        yield temporary
        temporary.replace(path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def beside_histogram(path: Path, split: str) -> np.ndarray:
    """Instances by class and size, (21, 3), of a split of a prepared VOC data set.

    Raises:
        Fault: it is no data set of VOC's classes, or has no such split.
    """
    if not path.is_file():
        raise Fault(f"--beside {path}: there is no such file; it is the dataset.zip of `prepare`")
    dataset = Dataset(path)
    if dataset.info.classes != CLASSES:
        raise Fault(f"--beside {path}: its classes are not VOC's but {', '.join(dataset.info.classes)}")
    return pool_counts(dataset, dataset.ids(split)).sum(0)


def build(options: argparse.Namespace) -> str:
    """Does what the arguments ask for, and gives the text for the screen.

    Raises:
        Fault: the arguments or the files are not as they should be; nothing has been written.
        OSError: the folder cannot be written.
    """
    if options.images < 1:
        raise Fault(f"--images {options.images}: at least one")
    with new_folder(options.out) as folder:
        beside = beside_histogram(options.beside, options.split) if options.beside else None
        lvis, coco = sources(options.lvis, options.coco, options.keep_train_images)
        sys.stderr.write("reading the annotations\n")
        works, left_out = read_images(lvis, coco, options.keep_train_images)
        counts = converted(folder, works)
        names = [work.name for work in works]
        flat = counts.reshape(len(works), -1)
        chosen = flattest(flat, options.images, priorities(names, options.seed))
        listed = "".join(f"{name}\n" for name, taken in zip(names, chosen, strict=True) if taken)
        result = Result(
            works=works,
            counts=counts,
            chosen=chosen,
            left_out=left_out,
            bound=bound(flat, chosen),
            seed=options.seed,
            checksum=hashlib.sha256(listed.encode()).hexdigest(),
            sources=tuple(dict.fromkeys(map(file_of, (lvis, *coco)))),
            beside=beside,
            beside_name=f"{options.beside.parent.name} {options.split}" if options.beside else "",
        )
        for work, taken in zip(works, chosen, strict=True):
            if not taken:
                (folder / "masks" / f"{work.name}.png").unlink(missing_ok=True)
                (folder / "instances" / f"{work.name}.png").unlink(missing_ok=True)
        texts = {
            "classes.txt": "".join(f"{name}\n" for name in CLASSES),
            "list.txt": listed,
            "list.txt.sha256": f"{result.checksum}  list.txt\n",
            "histogram.csv": histogram_table(result),
            "pool.csv": pool_table(result),
            "NOTE.md": note(result),
        }
        for name, text in texts.items():
            (folder / name).write_text(text, encoding="utf-8")
        (folder / "histogram.png").write_bytes(histogram_plot(result))
    return summary(result) + f"written to {options.out}\n"


def main(arguments: Sequence[str] | None = None) -> None:
    """The command."""
    options = parser().parse_args(arguments)
    with exit_on_fault("pascal_b", WRONG, "nothing was written"):
        text = build(options)
    sys.stdout.write(text)


if __name__ == "__main__":
    main()
