"""What a person compares an object with: a grid over the image, or a box of one size for the whole data set."""

from __future__ import annotations

AIDS = ("box", "grid", "none")
UNITS = ("percent", "boxes")
GRIDS = ((4, 5), (3, 3))  # rows and columns of a landscape image at each scale; a portrait has them swapped
BOXES = (0.2, 0.4)  # side of the box at each scale, as a part of the image's longer side
DECIMALS = 2  # of a stored percentage


def percent_per_box(aid: str, width: int, height: int) -> tuple[float, ...]:
    """Percent of the image's area that one cell or one box has at each scale; empty without an aid.

    A box of side s has s^2 / (w h) of the image: it is the same square for every image, so its share is not.
    """
    if aid == "grid":
        return tuple(100 / (rows * columns) for rows, columns in GRIDS)
    if aid == "box":
        return tuple(100 * (part * max(width, height)) ** 2 / (width * height) for part in BOXES)
    return ()
