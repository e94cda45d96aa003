"""The picture of a frontier: scores against the number of images with masks, with and without sizes of all images."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes

from stages.track.curve_figure import Row, drawn, level, line

FRONTIER = {  # series with a number of masks: label, colour, marker, and the series and setting without any mask
    "few_masks": ("full, these masks alone", "#d55e00", "s", None),
    "sizes_and_masks": ("these masks and size targets of all images", "#0072b2", "o", ("size_targets", "0 %")),
    "alone_and_masks": ("these masks and size targets without a place", "#56b4e9", "p", ("alone", "0 %")),
}


def frontier(rows: Sequence[Row]) -> bytes:
    """A PNG with a panel per score; the same bytes for the same rows. Numbers of masks are equally spaced.

    Args:
        rows: as of `curve_figure.figure`; a setting of the series of FRONTIER begins with its number of masks.
    """
    counts = sorted({count_of(row) for row in rows if row["series"] in FRONTIER} | {0})

    def panel(axes: Axes, own: Sequence[Row], score: str) -> None:
        axes.set_xlabel("images with masks")
        axes.set_xticks(range(len(counts)), counts)
        for series, (label, colour, marker, without) in FRONTIER.items():
            values: dict[int, list[float]] = {}
            for row in own:
                if row["series"] == series:
                    values.setdefault(counts.index(count_of(row)), []).append(float(row[score]))
                elif (row["series"], row["setting"]) == without:
                    values.setdefault(0, []).append(float(row[score]))
            if values:
                line(axes, sorted(values.items()), label, colour, marker, "-")
        if full := [float(row[score]) for row in own if row["series"] == "full"]:
            level(axes, full, "full, all masks", "0.4", "-")

    return drawn(rows, panel)


def count_of(row: Row) -> int:
    """The number of masks of a setting such as `10 images`."""
    return int(row["setting"].split()[0])
