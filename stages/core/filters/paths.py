"""Pairs of near pixels on a grid, and the pixels between them: the geometry of IRN's affinities.

Ahn, Cho & Kwak, CVPR 2019, arXiv 1904.05044; the offsets and the paths are those of the authors' code (`PathIndex`).
The boundary network's loss and the random walk both go over these pairs, with arrays of torch and of NumPy; what they
have in common is slices.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import NamedTuple

Step = tuple[int, int]  # rows down, columns to the right
Window = tuple[slice, slice]


@cache
def pair_offsets(radius: int) -> tuple[Step, ...]:
    """From one pixel to the others less than `radius` away: one half plane, so that no pair occurs twice."""
    right = [(0, x) for x in range(1, radius)]
    below = [(y, x) for y in range(1, radius) for x in range(1 - radius, radius) if x * x + y * y < radius * radius]
    return (*right, *below)


@cache
def path(offset: Step) -> tuple[Step, ...]:
    """The pixels on the way from (0, 0) to `offset`, both ends included.

    They lie in the bounding box of the two and less than 1 from the line through them.
    """
    down, across = offset
    rows = range(min(down, 0), max(down, 0) + 1)
    columns = range(min(across, 0), max(across, 0) + 1)
    length = down * down + across * across
    return tuple((y, x) for y in rows for x in columns if (down * x - across * y) ** 2 < length)


class Pairs(NamedTuple):
    """All pairs of pixels of a grid at one offset, as windows of the grid, which all have one shape.

    A place in that shape stands for a pair: `first` and `second` hold its ends there, `between` each pixel of its path.
    """

    first: Window
    second: Window
    between: tuple[Window, ...]


def pairs(radius: int, height: int, width: int) -> Iterator[Pairs]:
    """The pairs at each offset that fits into a grid, in the order of `pair_offsets`."""
    for offset in pair_offsets(radius):
        if offset[0] < height and abs(offset[1]) < width:
            first, second, *between = (
                window(offset, point, height, width) for point in ((0, 0), offset, *path(offset))
            )
            yield Pairs(first, second, tuple(between))


def window(offset: Step, point: Step, height: int, width: int) -> Window:
    """Where the pixel at `point` of the paths of all pairs at `offset` lies."""
    down, across = offset
    top, left = point[0], max(0, -across) + point[1]
    return slice(top, top + height - down), slice(left, left + width - abs(across))
