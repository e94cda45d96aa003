"""`python -m stages.evaluate.sensitivity`: what IA-mIoU sees that mIoU does not, on maps made here.

Two studies after Mun et al. (WACV 2024, arXiv 2309.14117), as docs/sensitivity.csv and docs/sensitivity.png:

- `growth`, their Fig. 4: an image with one large and one small instance of one class. The prediction of one of them
  grows from nothing to complete, while the other one is missed, or complete.
- `removal`, their Fig. 5: from a perfect prediction of many images, instances are taken away, smallest first.

Both metrics are means over the object classes, without the background, which would hold mIoU up while every object is
lost: `miou_fg` and `ia_miou_fg` (mode `exact`) of `core.metrics`. In `growth` that is the IoU of the one class.
"""

from __future__ import annotations

import argparse
import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import matplotlib.style
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from stages.core.files import atomic, write_csv
from stages.core.metrics.confusion import confusion_matrix
from stages.core.metrics.ia_miou import EXACT
from stages.core.metrics.image_counts import ImageCounts, count_image
from stages.core.metrics.summary import Summands

BOUNDS = (32**2, 96**2)  # pixels: small, medium and large as in the paper
METRICS = {"miou_fg": "mIoU", "ia_miou_fg": "IA-mIoU"}
COLUMNS = ("study", "case", "share", *METRICS)

CANVAS = 256  # pixels, side of the image of `growth`
SQUARES = {"large": (24, 24, 128), "small": (208, 208, 16)}  # top, left and side in pixels
GROWTH_STEPS = 16  # each adds whole columns to either square
MISSED, COMPLETE = "missed", "complete"

CLASSES = 4  # of `removal`
IMAGES = 40
HEIGHT, WIDTH = 256, 320  # pixels
PER_IMAGE = 6
AREAS = (64, 20480)  # pixels of a disc, evenly spread on a logarithmic scale
SPACE = 3  # pixels between two discs at least, so that none of them touch
REMOVAL_STEPS = 20  # each takes away 12 of the 240 instances, 3 of each class
SEED = 0

COLOURS = {"miou_fg": "#d55e00", "ia_miou_fg": "#0072b2"}  # told apart by the colour-blind too
DASHES = {MISSED: "-", COMPLETE: (0, (4, 2))}
INCHES, DPI = (12.0, 4.3), 100

Image = tuple[np.ndarray, np.ndarray]  # mask and instance map
Row = dict[str, Any]


def growth_image() -> Image:
    """The mask (H, W) uint8 and instance map (H, W) uint16 of one large (1) and one small (2) instance of class 1."""
    instance_map = np.zeros((CANVAS, CANVAS), np.uint16)
    for identity, (top, left, side) in enumerate(SQUARES.values(), start=1):
        instance_map[top : top + side, left : left + side] = identity
    return (instance_map > 0).astype(np.uint8), instance_map


def grown(shares: dict[str, float]) -> np.ndarray:
    """The prediction (H, W) uint8 in which of each square the left columns are found, as the share 0..1 says."""
    prediction = np.zeros((CANVAS, CANVAS), np.uint8)
    for name, (top, left, side) in SQUARES.items():
        prediction[top : top + side, left : left + round(shares[name] * side)] = 1
    return prediction


def growth_rows() -> Iterator[Row]:
    """The rows of `growth`: four cases, in each the share of the growing instance that is covered."""
    mask, instance_map = growth_image()
    for growing, other in (("large", "small"), ("small", "large")):
        for state in (MISSED, COMPLETE):
            for step in range(GROWTH_STEPS + 1):
                share = step / GROWTH_STEPS
                prediction = grown({growing: share, other: float(state == COMPLETE)})
                counts = compared("growth", mask, instance_map, prediction, 2)
                case = f"{growing} grows, {other} {state}"
                yield {"study": "growth", "case": case, "share": share, **scores([counts], 2)}


def removal_images() -> list[Image]:
    """Masks (H, W) uint8 and instance maps (H, W) uint16 of discs that do not touch, the same ones in every run.

    The classes 1.. are dealt out in turn in the order of size, so that all have the same number of instances, and of
    any size alike: what is removed smallest first is then removed from all classes alike.
    """
    generator = np.random.default_rng(SEED)
    areas = np.geomspace(*AREAS, IMAGES * PER_IMAGE).reshape(PER_IMAGE, IMAGES)
    areas = generator.permuted(areas, axis=1).T  # each image has a disc of each sixth of the sizes
    maps = np.stack([scattered(row, generator) for row in areas])
    label = np.zeros((IMAGES, PER_IMAGE + 1), np.uint8)
    for rank, (image, identity) in enumerate(smallest_first(maps)):
        label[image, identity] = 1 + rank % CLASSES
    return [(label[image][instance_map], instance_map) for image, instance_map in enumerate(maps)]


def scattered(areas: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """An instance map (HEIGHT, WIDTH) uint16 of discs of the given areas in pixels at random places, apart."""
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    result = np.zeros((HEIGHT, WIDTH), np.uint16)
    for identity, radius in enumerate(sorted(np.sqrt(areas / np.pi), reverse=True), start=1):
        while True:
            row, column = (generator.uniform(radius, end - radius) for end in (HEIGHT, WIDTH))
            distance = np.hypot(rows - row, columns - column)
            if not result[distance < radius + SPACE].any():
                break
        result[distance < radius] = identity
    return result


def smallest_first(maps: Sequence[np.ndarray]) -> list[tuple[int, int]]:
    """Number of the image and id of every instance of the maps, by area; of equal ones the first comes first."""
    found = []
    for image, instance_map in enumerate(maps):
        ids, areas = np.unique(instance_map[instance_map > 0], return_counts=True)
        found += [(area, image, identity) for identity, area in zip(ids.tolist(), areas.tolist(), strict=True)]
    return [(image, identity) for _, image, identity in sorted(found)]


def removal_rows() -> Iterator[Row]:
    """The rows of `removal`: the share of the instances that is taken away from a perfect prediction."""
    images = removal_images()
    order = smallest_first([instance_map for _, instance_map in images])
    predictions = [mask.copy() for mask, _ in images]
    counts = [compared(str(image), *truth, truth[0], CLASSES + 1) for image, truth in enumerate(images)]
    removed = 0
    for step in range(REMOVAL_STEPS + 1):
        share = step / REMOVAL_STEPS
        gone = order[removed : round(share * len(order))]
        removed += len(gone)
        for image, identity in gone:
            predictions[image][images[image][1] == identity] = 0
        for image in {image for image, _ in gone}:
            counts[image] = compared(str(image), *images[image], predictions[image], CLASSES + 1)
        row = {"study": "removal", "case": "smallest first", "share": share}
        yield row | scores(counts, CLASSES + 1)


def compared(
    image_id: str, mask: np.ndarray, instance_map: np.ndarray, prediction: np.ndarray, num_classes: int
) -> ImageCounts:
    """What an image adds to the metrics."""
    matrix = confusion_matrix(mask, prediction, num_classes)
    return count_image(image_id, matrix, mask, instance_map, prediction, background=True, mode=EXACT)


def scores(counts: Sequence[ImageCounts], num_classes: int) -> dict[str, float]:
    """The two metrics of a set of images, 0..1."""
    values = Summands(counts, BOUNDS, num_classes, background=True).sums().scores()
    return {name: float(values[name][0]) for name in METRICS}


def figure(rows: Sequence[Row]) -> bytes:
    """The studies as a PNG of three panels; the same bytes for the same rows, whatever a matplotlibrc says."""
    with matplotlib.style.context(["default", {"font.size": 11}]):
        canvas = Figure(INCHES, dpi=DPI, layout="constrained")
        canvas.get_layout_engine().set(w_pad=0.12)
        large, small, removal = canvas.subplots(1, 3, sharey=True)
        for axes, growing, other in ((large, "large", "small"), (small, "small", "large")):
            side = SQUARES[growing][2]
            axes.set_title(f"The {growing} instance grows\n({side} × {side} px)")
            axes.set_xlabel(f"share of the {growing} instance covered")
            for state in (MISSED, COMPLETE):
                chosen = [row for row in rows if row["case"] == f"{growing} grows, {other} {state}"]
                curves(axes, chosen, f", {other} {state}", DASHES[state])
        removal.set_title(f"Instances removed, smallest first\n({IMAGES * PER_IMAGE} in {IMAGES} images)")
        removal.set_xlabel("share of the instances removed")
        curves(removal, [row for row in rows if row["study"] == "removal"], "", "-")
        large.set_ylabel("mean over the object classes")
        for axes in (large, small, removal):
            axes.set(xlim=(0, 1), ylim=(0, 1.02), xticks=[0, 0.25, 0.5, 0.75, 1])
            axes.xaxis.set_major_formatter(PercentFormatter(1))
            axes.grid(color="0.9")
            axes.set_axisbelow(True)
            axes.spines[["top", "right"]].set_visible(False)
            axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2), frameon=False, fontsize=10)
        buffer = io.BytesIO()
        canvas.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def curves(axes: Axes, rows: Sequence[Row], ending: str, dashes: Any) -> None:
    """A line for each metric over the share; `ending` completes its name in the legend."""
    share = [row["share"] for row in rows]
    for name, title in METRICS.items():
        axes.plot(share, [row[name] for row in rows], color=COLOURS[name], linestyle=dashes, lw=2, label=title + ending)


def main(arguments: Sequence[str] | None = None) -> None:
    """Writes sensitivity.csv and sensitivity.png into a folder."""
    parser = argparse.ArgumentParser(prog="python -m stages.evaluate.sensitivity", description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, default=Path("docs"), help="folder of the two files (default: %(default)s)")
    folder = parser.parse_args(arguments).out
    rows = [*growth_rows(), *removal_rows()]
    try:
        write_csv(folder / "sensitivity.csv", rows, COLUMNS)
        with atomic(folder / "sensitivity.png") as temporary:
            temporary.write_bytes(figure(rows))
    except OSError as error:
        parser.error(f"--out {folder} cannot be written to: {error.strerror}; name a folder")


if __name__ == "__main__":
    main()
