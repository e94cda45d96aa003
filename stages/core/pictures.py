"""Sheets of pictures: tiles in a row under titles, label maps in colours, score maps as heat over a photograph."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from stages.core.dataset import VOID, DatasetInfo
from stages.core.files import atomic, encode_png

LOWEST, HIGHEST = 160, 240  # pixels: range of a tile's height, so that 96 px images and photographs are both readable
GAP, MARGIN, LINE, TEXT = 4, 8, 20, 14  # pixels
PAPER, INK, VOID_GREY, NO_TILE_GREY = (255, 255, 255), (30, 30, 30), (215, 215, 215), (238, 238, 238)
HEAT = 0.85  # opacity of a map where it is highest


@dataclass(frozen=True)
class Tile:
    """A picture on a sheet.

    title: what stands above it.
    picture: (H, W, 3) uint8 RGB, of one size on a sheet; None is a grey tile that says `none`.
    smooth: its pixels are averaged where it shrinks; the colours of labels must not mix.
    """

    title: str
    picture: np.ndarray | None
    smooth: bool = False


def write_pictures(folder: Path, pictures: Iterable[tuple[str, np.ndarray]]) -> None:
    """Writes pictures (h, w, 3) uint8 RGB under their file names into a folder that holds nothing else."""
    if folder.exists():
        shutil.rmtree(folder)  # where it cannot be removed, the disk itself says why
    folder.mkdir(parents=True)
    for name, picture in pictures:
        with atomic(folder / name) as temporary:
            temporary.write_bytes(encode_png(picture))


def sample_ids(ids: Sequence[str], count: int) -> list[str]:
    """At most `count` ids, evenly spaced in the sorted list, so that they stay the same from run to run."""
    ordered = sorted(ids)
    count = min(count, len(ordered))
    return [ordered[index * len(ordered) // count] for index in range(count)]


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
    colours[colours.max(1) == 0] = 255  # black, which is label 0 of most palettes, would look like nothing
    colours *= 255 / colours.max(1, keepdims=True)  # and dark ones cold
    opacity = (HEAT / 255 * maps.max(0).astype(np.float32))[..., None]
    return (grey * (1 - opacity) + colours[maps.argmax(0)] * opacity).round().astype(np.uint8)


def sheet(tiles: Sequence[Tile], title: str, labels: Sequence[int], info: DatasetInfo) -> np.ndarray:
    """Tiles in a row under their titles, with a legend of labels, 255 being void, (h, w, 3) uint8 RGB.

    Small images are enlarged by a whole factor without smoothing, so that single pixels stay visible.
    """
    full_height, full_width = next(tile.picture for tile in tiles if tile.picture is not None).shape[:2]
    height, width = shown_size(full_height, full_width)
    font = ImageFont.load_default(TEXT)
    total = 2 * MARGIN + len(tiles) * width + (len(tiles) - 1) * GAP
    names = ["void" if label == VOID else info.classes[label] for label in labels]
    entries = legend_layout(names, font, total - 2 * MARGIN)
    lines = entries[-1][1] + 1 if entries else 0
    canvas = Image.new("RGB", (total, 2 * MARGIN + 2 * LINE + height + GAP + lines * LINE), PAPER)
    draw = ImageDraw.Draw(canvas)
    draw.text((MARGIN, MARGIN), title, INK, font)
    top = MARGIN + 2 * LINE
    for column, tile in enumerate(tiles):
        left = MARGIN + column * (width + GAP)
        draw.text((left, MARGIN + LINE), tile.title, INK, font)
        if tile.picture is None:
            draw.rectangle((left, top, left + width - 1, top + height - 1), NO_TILE_GREY)
            draw.text((left + width // 2, top + height // 2), "none", INK, font, anchor="mm")
        else:
            mode = cv2.INTER_AREA if tile.smooth and height < full_height else cv2.INTER_NEAREST_EXACT
            shown = cv2.resize(tile.picture, (width, height), interpolation=mode)
            canvas.paste(Image.fromarray(shown), (left, top))
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
