"""What is told of a rebuild of PASCAL-B: its histogram as a table and a plot, its pool, and a note of its making."""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass
from pathlib import Path

import matplotlib.style
import numpy as np
from matplotlib.figure import Figure

from stages.balance.annotations import ImageWork, LeftOut
from stages.balance.flattest import effective_cells, flatness
from stages.balance.mapping import CLASSES, TABLE
from stages.core.files import csv_text
from stages.core.metrics.sizes import SIZES

COLOURS = ("#4c9be8", "#2e6db4", "#163a63")  # small, medium, large
INCHES, DPI = (11, 5.5), 100

NOTE = """\
# A rebuild of PASCAL-B

This is **not** the list of the authors. PASCAL-B (Mun, Lee, Uh, Choe, Byun: Small Objects Matters in
Weakly-supervised Semantic Segmentation, arXiv 2309.14117, WACV 2024) was never published: neither its 1137 images nor
its annotations. This set is made by its recipe as far as the paper tells it. Numbers on it compare with each other, not
with those in the paper.

{summary}
## Made of

{sources}
| table of categories | {table} |

sha256 of each file. Images: those that both annotate{train}.

## How

- A category of LVIS is of a class, doubtful (void) or of none by its synset: `stages/balance/lvis_to_voc.csv`.
- LVIS is federated. Where it says nothing of a class in an image, the objects of COCO take its place. Where it left
  objects out, or COCO sees one that it does not have, the object of COCO is void. COCO's crowds are void. Where both
  are silent there is none, since COCO annotates its 80 classes exhaustively; what VOC counts and COCO does not (a
  donkey is a horse) may then be background. `stages/balance/paint.py` has the rules in their order.
- Potted plants come from COCO alone. All other categories are background.
- Nobody looked at the images. The authors removed badly annotated ones by hand for two weeks.
- The images were chosen so that the histogram of class and size has the most effective cells,
  (sum of h)^2 / sum of h^2: `stages/balance/flattest.py`. No choice of as many images of this pool has more than the
  bound. The paper drew at random; its rule is not told.
- A size is small below 1024 pixels, large from 9216 on, by the visible pixels in the map.

## Files

masks/ID.png: labels, 0 background, 255 void; instances/ID.png: 16 bits, 0 none, 65535 void; classes.txt: line n names
label n - 1; list.txt: the ids, sorted; pool.csv: every image that could have been chosen, `leakage` 1 where it is one
of COCO's training images; histogram.csv and histogram.png.

The pictures are not here: `coco_url` in pool.csv says where each one lies.

## Licences

The annotations of COCO are under CC BY 4.0 (cocodataset.org, terms of use), those of LVIS under the terms at
lvisdataset.org; these maps derive from both and must name them. COCO does not own the pictures: their use is subject
to the terms of Flickr and to the licence of each one, which the JSON of COCO names.
"""


@dataclass(frozen=True)
class Result:
    """A rebuild.

    works: the images of the pool, by name.
    counts: (images, 21, 3) instances by class and size.
    chosen: (images,) bool.
    left_out: images of LVIS that are not in the pool.
    bound: effective cells that no choice exceeds.
    checksum: sha256 of list.txt.
    sources: the JSON files.
    beside: (21, 3) instances of another data set, with its name; or None.
    """

    works: list[ImageWork]
    counts: np.ndarray
    chosen: np.ndarray
    left_out: LeftOut
    bound: float
    seed: int
    checksum: str
    sources: tuple[Path, ...]
    beside: np.ndarray | None
    beside_name: str

    @property
    def histogram(self) -> np.ndarray:
        """(21, 3) instances of the chosen images."""
        return self.counts[self.chosen].sum(0)


def histogram_table(result: Result) -> str:
    """CSV: instances of each class and size in the choice, in the pool, and in the other data set."""
    columns = ["class", "size", "instances", "pool", *([result.beside_name] if result.beside is not None else [])]
    tables = [result.histogram, result.counts.sum(0), *([result.beside] if result.beside is not None else [])]
    rows = [
        dict(zip(columns, (name, size, *(table[label, column] for table in tables)), strict=True))
        for label, name in enumerate(CLASSES)
        if label
        for column, size in enumerate(SIZES)
    ]
    return csv_text(rows, columns)


def pool_table(result: Result) -> str:
    """CSV: the images that have an instance."""
    rows = []
    for work, counts, chosen in zip(result.works, result.counts, result.chosen, strict=True):
        sizes = counts.sum(0)
        if sizes.any():
            row = {"id": work.name, "chosen": int(chosen), "leakage": int(work.leakage), "coco_url": work.coco_url}
            row |= {"height": work.height, "width": work.width, "instances": sizes.sum()}
            rows.append(row | dict(zip(SIZES, sizes, strict=True)))
    columns = ("id", "chosen", "leakage", "coco_url", "height", "width", "instances", *SIZES)
    return csv_text(rows, columns)


def summary(result: Result) -> str:
    """The numbers, as lines of a list."""
    pool = result.counts.sum(0)
    beside = "VOC val's histogram is not drawn beside it; that is done by --beside data/voc12/dataset.zip of `prepare`"
    if result.beside is not None:
        beside = f"{result.beside_name} has {effective_cells(result.beside):.2f} effective cells"
    lines = [
        f"{result.chosen.sum()} images with {result.histogram.sum()} instances, of {result.counts.any((1, 2)).sum()} "
        f"images with {pool.sum()}; {result.left_out.training} images of COCO's training set left out",
        f"{result.left_out.without_coco} images of LVIS are in no file of COCO that was given, and left out",
        flatness(result.histogram[1:], pool[1:], result.bound),
        beside,
        f"seed {result.seed}; sha256 of list.txt {result.checksum}",
    ]
    return "".join(f"- {line}\n" for line in lines)


def note(result: Result) -> str:
    """NOTE.md."""
    rows = [f"| {path.name} | {sha256(path)} |" for path in result.sources]
    train = any(work.leakage for work in result.works)
    return NOTE.format(
        summary=summary(result),
        sources="\n".join(["| file | sha256 |", "|---|---|", *rows]),
        table=sha256(TABLE),
        train=", COCO's training images among them" if train else ", COCO's training images left out",
    )


def sha256(path: Path) -> str:
    """The sha256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def histogram_plot(result: Result) -> bytes:
    """A PNG of the histogram beside that of the other data set, or of the pool; the same bytes for the same numbers."""
    other, title = result.beside, result.beside_name
    if other is None:
        other, title = result.counts.sum(0), "the pool"
    with matplotlib.style.context("default"):
        canvas = Figure(INCHES, dpi=DPI, layout="constrained")
        left, right = canvas.subplots(1, 2, sharey=True)
        for axes, table, name in ((left, result.histogram, "the rebuild of PASCAL-B"), (right, other, title)):
            rows = np.arange(len(CLASSES) - 1)
            for column, (size, colour) in enumerate(zip(SIZES, COLOURS, strict=True)):
                axes.barh(rows + 0.27 * (column - 1), table[1:, column], 0.27, color=colour, label=size)
            axes.set_title(f"{name}: {effective_cells(table):.1f} effective cells of {table[1:].size}")
            axes.set_xlabel("instances")
            axes.spines[["top", "right"]].set_visible(False)
            axes.grid(axis="x", color="0.9")
            axes.set_axisbelow(True)
        left.set_yticks(rows, CLASSES[1:])
        left.invert_yaxis()
        right.legend(frameon=False)
        buffer = io.BytesIO()
        canvas.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()
