"""The picture of a curve: scores against the mean relative error of the size targets."""

from __future__ import annotations

import io
import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import matplotlib.style
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from stages.track.intervals import half_interval

SCORES = {"miou": "mIoU", "ia_miou": "IA-mIoU", "dice": "Dice"}
TICKS = (0, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56)  # relative errors
SPACE = 0.098  # of the axis: what a tick's label needs
INCHES, DPI = (12.0, 5.0), 100

# Colours that the colour-blind tell apart (Okabe and Ito); shapes and dashes say the same again.
LINES = {  # series drawn as a line: label, colour, marker
    "size_targets": ("size targets, Gaussian error", "#0072b2", "o"),
    "masks": ("full, masks resized by the same errors", "#d55e00", "s"),
}
POINTS = {  # series drawn point by point: label without the setting's name, colour, markers in turn
    "human": ("size targets, erring as people do: ", "#000000", "*P"),
    "people": ("size targets, people's own ", "#000000", "h"),
    "steps": ("size targets in ", "#009e73", "^v<>"),
    "bins": ("size targets: ", "#cc79a7", "D"),
    "boxes": ("size targets: ", "#e69f00", "X"),
    "alone": ("size targets without a place", "#56b4e9", "p"),
}
LEVELS = {  # series drawn as horizontal lines, one per setting: label as above, colour, dashes in turn
    "full": ("full, exact masks", "0.4", ("-",)),
    "few_masks": ("full, masks of ", "#d55e00", ((0, (1, 3)), (0, (4, 3)), (0, (9, 3)))),
    "pseudo_mask": ("pseudo masks from tags", "0.4", ("--",)),
    "tags": ("tags alone", "0.4", (":",)),
}
EXACT = {"masks": "full"}  # the series that a line begins with, at an error of 0

Row = Mapping[str, Any]


def figure(rows: Sequence[Row]) -> bytes:
    """A PNG with a panel per score; the same bytes for the same rows, whatever a matplotlibrc says.

    A point is the mean over seeds, with each seed as a dot where there are several and the 95 % t interval where there
    are three or more. The axis of errors is that of their square roots, on which 0 and 64 % both have room.

    Args:
        rows: series, setting, and as text size_error and scores, empty where unknown; see `stages.track.curve`.
    """
    largest = max(error_of(row) or 0 for row in rows)
    return drawn(rows, lambda axes, own, score: panel(axes, own, score, largest))


def drawn(rows: Sequence[Row], draw: Callable[[Axes, Sequence[Row], str], None]) -> bytes:
    """A PNG with a panel per score, each drawn by `draw` from the rows that have that score."""
    scores = [name for name in SCORES if any(row[name] for row in rows)]
    with matplotlib.style.context(["default", {"font.size": 11}]):
        canvas = Figure(INCHES, dpi=DPI, layout="constrained")
        canvas.get_layout_engine().set(w_pad=0.12, h_pad=0.08)
        panels = canvas.subplots(1, len(scores), sharey=True, squeeze=False)[0]
        for axes, score in zip(panels, scores, strict=True):
            draw(axes, [row for row in rows if row[score]], score)
            axes.set_title(SCORES[score])
            axes.grid(color="0.9")
            axes.set_axisbelow(True)
            axes.spines[["top", "right"]].set_visible(False)
        handles = {
            label: handle for axes in panels for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)
        }
        canvas.legend(
            handles.values(), handles.keys(), loc="outside lower center", ncols=3, frameon=False, fontsize=10.5
        )
        buffer = io.BytesIO()
        canvas.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def panel(axes: Axes, rows: Sequence[Row], score: str, largest: float) -> None:
    """One score of all series."""
    axes.set_xlabel("mean relative error of the sizes")
    ticks = [error for error in TICKS if error <= max(1.1 * largest, 0.64)]
    end = 1.04 * math.sqrt(max(largest, ticks[-1]))
    ticks = apart(ticks, SPACE * end)
    axes.set_xticks([math.sqrt(error) for error in ticks], [f"{100 * error:g} %" for error in ticks], fontsize=9.5)
    axes.set_xlim(-0.03 * end, end)
    for series, (label, colour, marker) in LINES.items():
        own = groups([row for row in rows if row["series"] in (series, EXACT.get(series))], score)
        if any(row["series"] == series for row in rows):
            line(axes, sorted(own.values()), label, colour, marker, "-")
    for series, (label, colour, markers) in POINTS.items():
        own = groups([row for row in rows if row["series"] == series], score)
        for number, (setting, group) in enumerate(own.items()):
            line(axes, [group], named(label, setting), colour, markers[number % len(markers)], "")
    for series, (label, colour, dashes) in LEVELS.items():
        own = [row for row in rows if row["series"] == series]
        for number, setting in enumerate(dict.fromkeys(row["setting"] for row in own)):
            values = [float(row[score]) for row in own if row["setting"] == setting]
            level(axes, values, named(label, setting), colour, dashes[number % len(dashes)])


def apart(ticks: Sequence[float], space: float) -> list[float]:
    """Those of the ascending ticks whose square roots are at least `space` behind the last one kept."""
    kept = []
    for tick in ticks:
        if not kept or math.sqrt(tick) - math.sqrt(kept[-1]) >= space:
            kept.append(tick)
    return kept


def named(label: str, setting: str) -> str:
    """A series's label, with the setting's name where it ends in a space."""
    return label + (setting if label.endswith(" ") else "")


def groups(rows: Sequence[Row], score: str) -> dict[str, tuple[float, list[float]]]:
    """Place on the axis and score of each seed, by setting; rows whose error is unknown are left out."""
    found: dict[str, list[Row]] = {}
    for row in rows:
        if error_of(row) is not None:
            found.setdefault(row["setting"], []).append(row)
    return {
        setting: (math.sqrt(statistics.fmean(error_of(row) for row in own)), [float(row[score]) for row in own])
        for setting, own in found.items()
    }


def error_of(row: Row) -> float | None:
    """The mean relative error of the size targets, None where it is unknown."""
    return float(row["size_error"]) if row["size_error"] else None


def level(axes: Axes, values: Sequence[float], label: str, colour: str, dashes: Any) -> None:
    """A method that has no size targets, as a horizontal line, and its interval as a band."""
    mean, half = statistics.fmean(values), half_interval(values)
    axes.axhline(mean, color=colour, lw=1.6, ls=dashes, zorder=1, label=label)
    if half is not None:
        axes.axhspan(mean - half, mean + half, color=colour, alpha=0.12, lw=0, zorder=0)


def line(
    axes: Axes, own: Sequence[tuple[float, list[float]]], label: str, colour: str, marker: str, dashes: str
) -> None:
    """Settings of a series, each a place and the values of its seeds: means with intervals, and the seeds as dots."""
    across = [place for place, _ in own]
    size = 13 if marker == "*" else 7
    axes.plot(
        across,
        [statistics.fmean(values) for _, values in own],
        color=colour,
        marker=marker,
        ms=size,
        mec="white",
        ls=dashes or "none",
        lw=2,
        label=label,
        zorder=3 if dashes else 4,
        clip_on=False,
    )
    for place, (_, values) in zip(across, own, strict=True):
        half = half_interval(values)
        if half is not None:
            axes.errorbar(place, statistics.fmean(values), half, color=colour, capsize=4, lw=1.5, zorder=5)
        if len(values) > 1:
            axes.plot([place] * len(values), values, ".", color=colour, ms=4, alpha=0.6, zorder=2)
