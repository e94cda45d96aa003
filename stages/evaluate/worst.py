"""The instances that are found worst, of each size: a sheet of crops, so that a person sees what is missed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from stages.core.dataset import Dataset
from stages.core.files import ZipReader
from stages.core.metrics.instances import dataset_instances
from stages.core.metrics.sizes import SIZES
from stages.core.pictures import GAP, INK, LINE, MARGIN, NO_TILE_GREY, PAPER, TEXT

COUNT = 12
OF_ONE_IMAGE = 2  # at most, so that one bad image does not fill the sheet
PER_LINE = 4  # tiles
TILE = 192  # pixels, side of the place of a crop
FACTORS = (6, 5, 4, 3, 2, 1)  # by which a crop is enlarged: 32 to 192 pixels become a tile; a larger one shrinks
SURROUNDINGS = 0.5  # of an instance's longer side, on each side of it
STROKE = 2  # pixels, width of an outline
SHADE = 3  # by which the pixels beside an outline are divided
TRUTH, PREDICTED = (255, 255, 255), (255, 0, 255)

Row = Mapping[str, Any]
Window = tuple[slice, slice]  # rows and columns


def worst_sheets(
    dataset: Dataset, rows: Sequence[Row], predictions: ZipReader, count: int = COUNT
) -> Iterator[tuple[str, np.ndarray]]:
    """File name and picture (h, w, 3) uint8 RGB for each size that has instances.

    Args:
        dataset: gives photographs and true instances.
        rows: those of `instance_rows`, of one split.
        predictions: archive with masks/ID.png, from which the rows were computed.
        count: at most so many instances on a sheet; 0 makes no sheets.
    """
    for size in SIZES:
        of_size = [row for row in rows if row["bin"] == size]
        chosen = worst(of_size, count)
        if chosen:
            tiles = [tile(dataset, row, predictions) for row in chosen]
            title = (
                f"{len(chosen)} of {len(of_size)} {size} instances: the lowest IoU, at most {OF_ONE_IMAGE} of an image"
            )
            yield f"worst_{size}.png", sheet(tiles, chosen, title)


def worst(rows: Sequence[Row], count: int) -> list[Row]:
    """At most `count` rows with the lowest IoU, no more than two of one image; ties by id and instance."""
    chosen, taken = [], Counter()
    for row in sorted(rows, key=lambda row: (row["iou"], row["id"], row["instance"])):
        if len(chosen) == count:
            break
        if taken[row["id"]] < OF_ONE_IMAGE:
            taken[row["id"]] += 1
            chosen.append(row)
    return chosen


def tile(dataset: Dataset, row: Row, predictions: ZipReader) -> np.ndarray:
    """The photograph around an instance with its outline and that of what is predicted as its class, (h, w, 3) uint8.

    The first lies inside the instance and the second outside the prediction, so that both show where the two agree.
    """
    image_id = row["id"]
    instances = dataset_instances(dataset, image_id)
    number = int(np.flatnonzero(instances.ids == row["instance"])[0])
    instance = instances.index == number + 1
    predicted = predictions.png(f"masks/{image_id}.png") == instances.labels[number]
    window = around(instance)
    result = resized(dataset.image(image_id)[window], smooth=True)
    found, true = (resized(region[window].view(np.uint8), smooth=False) for region in (predicted, instance))
    kernel = np.ones((2 * STROKE + 1,) * 2, np.uint8)
    outside = cv2.dilate(found, kernel) > found
    # Beyond the edge of the image counts as outside, so that an instance that it cuts off is outlined there as well.
    inside = true > cv2.erode(true, kernel, borderType=cv2.BORDER_CONSTANT, borderValue=0)
    beside = cv2.dilate((outside | inside).view(np.uint8), np.ones((3, 3), np.uint8)).view(bool)
    result[beside] //= SHADE  # a dark edge, so that the lines are seen on any ground
    result[outside], result[inside] = PREDICTED, TRUTH
    return result


def around(instance: np.ndarray) -> Window:
    """The part of an image that is shown: a square around the instance (H, W) bool, cut where the image ends.

    Its side is one of those that a whole factor enlarges to a tile, or what the instance needs if that is more.
    """
    spans = [np.flatnonzero(instance.any(axis)) for axis in (1, 0)]
    longest = max(int(span[-1] - span[0] + 1) for span in spans)
    needed = round(longest * (1 + 2 * SURROUNDINGS))
    side = next((TILE // factor for factor in FACTORS if TILE // factor >= needed), needed)
    window = []
    for span, end in zip(spans, instance.shape, strict=True):
        length = min(side, end)
        start = (int(span[0]) + int(span[-1]) + 1 - length) // 2
        start = min(max(start, 0), end - length)
        window.append(slice(start, start + length))
    return tuple(window)


def resized(crop: np.ndarray, smooth: bool) -> np.ndarray:
    """A crop enlarged by a whole factor without smoothing, or shrunk (averaged, if `smooth`), to fit into a tile."""
    height, width = crop.shape[:2]
    longest = max(height, width)
    if longest <= TILE:
        factor = TILE // longest
        return crop.repeat(min(factor, FACTORS[0]), 0).repeat(min(factor, FACTORS[0]), 1)
    size = tuple(max(1, round(length * TILE / longest)) for length in (width, height))
    return cv2.resize(crop, size, interpolation=cv2.INTER_AREA if smooth else cv2.INTER_NEAREST_EXACT)


def sheet(tiles: Sequence[np.ndarray], rows: Sequence[Row], title: str) -> np.ndarray:
    """Tiles (h, w, 3) uint8 of at most TILE pixels over their captions, in lines of four, (H, W, 3) uint8."""
    font = ImageFont.load_default(TEXT)
    lines = -(-len(tiles) // PER_LINE)
    step = TILE + 2 * LINE + 2 * GAP
    width = 2 * MARGIN + PER_LINE * TILE + (PER_LINE - 1) * GAP
    canvas = Image.new("RGB", (width, 2 * MARGIN + 2 * LINE + GAP + lines * step), PAPER)
    draw = ImageDraw.Draw(canvas)
    draw.text((MARGIN, MARGIN), title, INK, font)
    left = MARGIN
    for colour, name in ((TRUTH, "true instance"), (PREDICTED, "predicted as its class")):
        draw.rectangle((left, MARGIN + LINE + 3, left + 12, MARGIN + LINE + 15), colour, INK)
        draw.text((left + 17, MARGIN + LINE + 1), name, INK, font)
        left += 17 + int(font.getlength(name)) + 16
    for number, (picture, row) in enumerate(zip(tiles, rows, strict=True)):
        line, column = divmod(number, PER_LINE)
        left, top = MARGIN + column * (TILE + GAP), MARGIN + 2 * LINE + GAP + line * step
        height, width = picture.shape[:2]
        draw.rectangle((left, top, left + TILE - 1, top + TILE - 1), NO_TILE_GREY)
        canvas.paste(Image.fromarray(picture), (left + (TILE - width) // 2, top + (TILE - height) // 2))
        ending = f" {row['iou']:.2f}, {row['size']} px"
        name = fitted(row["class"], font, TILE - font.getlength(ending))
        draw.text((left, top + TILE + 2), name + ending, INK, font)
        draw.text((left, top + TILE + LINE), fitted(row["id"], font, TILE), INK, font)
    return np.array(canvas)


def fitted(text: str, font: ImageFont.FreeTypeFont, width: float) -> str:
    """A text, or its end after dots, that is at most `width` pixels wide."""
    shown, start = text, 0
    while font.getlength(shown) > width and start < len(text):
        start += 1
        shown = "..." + text[start:]
    return shown
