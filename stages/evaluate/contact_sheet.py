"""Pictures of single images: photograph, truth, activation maps, pseudo mask and prediction side by side."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from stages.core.dataset import VOID, Dataset, DatasetInfo
from stages.core.files import ZipReader

COLUMNS = ("image", "truth", "CAM", "pseudo mask", "prediction")
SMOOTH = ("image", "CAM")  # label colours must not mix, so only these are averaged when they shrink
LOWEST, HIGHEST = 160, 240  # pixels: range of a tile's height, so that 96 px images and photographs are both readable
GAP, MARGIN, LINE, TEXT = 4, 8, 20, 14  # pixels
PAPER, INK, VOID_GREY, NO_TILE_GREY = (255, 255, 255), (30, 30, 30), (215, 215, 215), (238, 238, 238)
HEAT = 0.85  # opacity of a map where it is highest


def sample_ids(ids: Sequence[str], count: int) -> list[str]:
    """At most `count` ids, evenly spaced in the sorted list, so that they stay the same from run to run."""
    ordered = sorted(ids)
    count = min(count, len(ordered))
    return [ordered[index * len(ordered) // count] for index in range(count)]


def sheets(
    dataset: Dataset, ids: Sequence[str], cams: ZipReader, pseudo_masks: ZipReader, predictions: ZipReader
) -> Iterator[tuple[str, np.ndarray]]:
    """File name and picture (h, w, 3) uint8 RGB for each id; what an archive lacks is a grey tile that says `none`."""
    for number, image_id in enumerate(ids):
        image, truth = dataset.image(image_id), dataset.mask(image_id)
        pseudo_mask, prediction = (
            archive.png(member) if (member := f"masks/{image_id}.png") in archive else None
            for archive in (pseudo_masks, predictions)
        )
        cam = cams.array(f"{image_id}.npy") if f"{image_id}.npy" in cams else None
        tiles = [
            image,
            painted(truth, dataset.info),
            None if cam is None else heat(image, cam, dataset.tags(image_id), dataset.info),
            None if pseudo_mask is None else painted(pseudo_mask, dataset.info),
            None if prediction is None else painted(prediction, dataset.info),
        ]
        shown = [labels for labels in (truth, pseudo_mask, prediction) if labels is not None]
        present = sorted(set().union(*(np.unique(labels).tolist() for labels in shown)))
        yield f"{number:02d}_{image_id.replace('/', '_')}.png", sheet(tiles, image_id, present, dataset.info)


def painted(labels: np.ndarray, info: DatasetInfo) -> np.ndarray:
    """A label map (H, W) uint8 in the data set's colours, void in light grey, (H, W, 3) uint8."""
    return np.array([*info.palette[:VOID], VOID_GREY], np.uint8)[labels]


def heat(image: np.ndarray, cam: np.ndarray, tags: np.ndarray, info: DatasetInfo) -> np.ndarray:
    """The highest of the tagged classes' maps over a grey image, in that class's colour.

    Args:
        image: (H, W, 3) uint8 RGB.
        cam: (K, h, w) uint8, 255 for 1.
        tags: (K,) the labels of the maps.
        info: gives the colours.
    """
    height, width = image.shape[:2]
    grey = np.repeat(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[..., None], 3, 2).astype(np.float32)
    if not len(cam):
        return grey.astype(np.uint8)
    maps = np.stack([cv2.resize(plane, (width, height), interpolation=cv2.INTER_LINEAR) for plane in cam])
    colours = np.array(info.palette, np.float32)[tags]
    colours *= 255 / np.maximum(colours.max(1, keepdims=True), 1)  # dark palette colours would look cold
    opacity = (HEAT / 255 * maps.max(0).astype(np.float32))[..., None]
    return (grey * (1 - opacity) + colours[maps.argmax(0)] * opacity).round().astype(np.uint8)


def sheet(tiles: Sequence[np.ndarray | None], title: str, labels: Sequence[int], info: DatasetInfo) -> np.ndarray:
    """Tiles (H, W, 3) uint8 of one size (or None) in a row under their titles, with a legend of labels, 255 being void.

    Small images are enlarged by a whole factor without smoothing, so that single pixels stay visible.
    """
    first = next(tile for tile in tiles if tile is not None)
    height, width = shown_size(*first.shape[:2])
    font = ImageFont.load_default(TEXT)
    total = 2 * MARGIN + len(tiles) * width + (len(tiles) - 1) * GAP
    names = ["void" if label == VOID else info.classes[label] for label in labels]
    entries = legend_layout(names, font, total - 2 * MARGIN)
    lines = entries[-1][1] + 1 if entries else 0
    canvas = Image.new("RGB", (total, 2 * MARGIN + 2 * LINE + height + GAP + lines * LINE), PAPER)
    draw = ImageDraw.Draw(canvas)
    draw.text((MARGIN, MARGIN), title, INK, font)
    top = MARGIN + 2 * LINE
    for column, (name, tile) in enumerate(zip(COLUMNS, tiles, strict=True)):
        left = MARGIN + column * (width + GAP)
        draw.text((left, MARGIN + LINE), name, INK, font)
        if tile is None:
            draw.rectangle((left, top, left + width - 1, top + height - 1), NO_TILE_GREY)
            draw.text((left + width // 2, top + height // 2), "none", INK, font, anchor="mm")
        else:
            shrinks = name in SMOOTH and height < first.shape[0]
            mode = cv2.INTER_AREA if shrinks else cv2.INTER_NEAREST_EXACT
            canvas.paste(Image.fromarray(cv2.resize(tile, (width, height), interpolation=mode)), (left, top))
    colours = painted(np.array(labels, np.int64), info).tolist()
    for name, colour, (offset, line) in zip(names, colours, entries, strict=True):
        left, upper = MARGIN + offset, top + height + GAP + line * LINE + 2
        draw.rectangle((left, upper + 1, left + 12, upper + 13), tuple(colour), INK)
        draw.text((left + 17, upper - 1), name, INK, font)
    return np.array(canvas)


def shown_size(height: int, width: int) -> tuple[int, int]:
    """Height and width of a tile: enlarged by a whole factor from below LOWEST, shrunk to HIGHEST from above it."""
    if height > HIGHEST:
        return HIGHEST, max(1, round(width * HIGHEST / height))
    factor = max(1, round(LOWEST / height))
    return height * factor, width * factor


def legend_layout(names: Sequence[str], font: ImageFont.FreeTypeFont, width: int) -> list[tuple[int, int]]:
    """Left edge in pixels and line of each legend entry, broken into lines of at most `width` pixels."""
    places, left, line = [], 0, 0
    for name in names:
        needed = 17 + int(font.getlength(name)) + 16
        if left and left + needed > width:
            left, line = 0, line + 1
        places.append((left, line))
        left += needed
    return places
