"""The scores of one or two prediction sets as a table for the screen, as JSON and as CSV."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

from stages.core.metrics.bootstrap import LEVEL, differences, intervals
from stages.core.metrics.image_counts import ImageCounts
from stages.core.metrics.instances import FROM_MAP
from stages.core.metrics.means import ratio
from stages.core.metrics.sizes import SIZES
from stages.core.metrics.summary import IA_SIZES, SCORES, Summands, Sums
from stages.evaluate import tables

SEED = 0  # of the bootstrap
COMPARE_COLUMNS = (*tables.INSTANCE_COLUMNS, "iou_compare")
NAME = 20  # characters of a class name on the screen
UNDEFINED = "-"


@dataclass(frozen=True)
class Setting:
    """What a number depends on besides the files, and is written next to it.

    mode: of the IA-mIoU; instances_from: `instance_map` or `components`; bounds: the areas in pixels that divide small,
    medium and large; background: label 0 is one; resamples: of the bootstrap, 0 for no intervals.
    """

    mode: str
    instances_from: str
    classes: Sequence[str]
    background: bool
    bounds: Sequence[int]
    resamples: int


@dataclass(frozen=True)
class SetScores:
    """The scores of one prediction set, NaN where undefined, and the sums that they are made of."""

    sums: Sums
    scores: dict[str, float]


@dataclass(frozen=True)
class Report:
    """All that is written about a prediction set and, if there is one, the set that it is compared with.

    images: number of images.
    intervals: 95 % interval of each score, empty without a bootstrap.
    differences: (value, low, high, p) of each score of the other set less this one's; low, high and p are NaN without
        a bootstrap.
    """

    setting: Setting
    images: int
    own: SetScores
    intervals: Mapping[str, tuple[float, float]]
    other: SetScores | None
    differences: Mapping[str, tuple[float, float, float, float]]


def make_report(counts: Sequence[Sequence[ImageCounts]], setting: Setting) -> Report:
    """The report on one or two lists of counts, of the same images in the same order."""
    sets = [Summands(images, setting.bounds, len(setting.classes), setting.background) for images in counts]
    own, *others = (set_scores(summands) for summands in sets)
    other, changes = (others[0] if others else None), {}
    if other:
        tests = differences(*sets, setting.resamples, SEED) if setting.resamples else {}
        undefined = (math.nan,) * 3
        changes = {name: (other.scores[name] - own.scores[name], *tests.get(name, undefined)) for name in SCORES}
    bands = intervals(sets[0], setting.resamples, SEED) if setting.resamples else {}
    return Report(setting, len(counts[0]), own, bands, other, changes)


def set_scores(summands: Summands) -> SetScores:
    """Every score of a prediction set."""
    sums = summands.sums()
    return SetScores(sums, {name: float(values[0]) for name, values in sums.scores().items()})


def per_class(values: SetScores, classes: Sequence[str]) -> list[dict[str, Any]]:
    """An entry for each class: its scores, its instances (of the background, images that have some) and by size.

    By size: mean IoU of the instances, their number, and the share with IoU 0. NaN where undefined.
    """
    sums = values.sums
    columns = {name: getattr(sums, f"class_{name}")()[0] for name in (*tables.CLASS_VALUES, "instances")}
    instances, means = sums.instances[0], sums.class_size_ia_iou()[0]
    missed = ratio(sums.missed[0], instances)
    entries = []
    for label, name in enumerate(classes):
        entry = {"class": name} | {column: float(values[label]) for column, values in columns.items()}
        entry["instances"] = int(entry["instances"])
        for column, size in enumerate(SIZES):
            cell = (label, column)
            entry[size] = {
                "iou": float(means[cell]),
                "instances": int(instances[cell]),
                "missed": float(missed[cell]),
            }
        entries.append(entry)
    return entries


def json_content(report: Report) -> dict[str, Any]:
    """The content of the JSON file; null where a number is undefined."""
    setting = report.setting
    content = {
        **report.own.scores,
        "mode": setting.mode,
        "instances_from": setting.instances_from,
        "images": report.images,
        "background": setting.background,
        "size_bins": list(setting.bounds),
        "ci": {name: defined_pair(report.intervals.get(name)) for name in SCORES},
        "bootstrap": {"resamples": setting.resamples, "seed": SEED, "level": LEVEL},
        "per_class": per_class(report.own, setting.classes),
    }
    if report.other:
        keys = ("value", "low", "high", "p")
        content["compare"] = {
            "scores": report.other.scores,
            "difference": {name: dict(zip(keys, values, strict=True)) for name, values in report.differences.items()},
            "per_class": per_class(report.other, setting.classes),
        }
    return without_nan(content)


def defined_pair(pair: tuple[float, float] | None) -> list[float] | None:
    """An interval as a list; None where there is none."""
    return None if pair is None or math.isnan(pair[0]) else list(pair)


def without_nan(value: Any) -> Any:
    """A tree of dicts and lists with None for NaN, which JSON does not have."""
    if isinstance(value, dict):
        return {key: without_nan(item) for key, item in value.items()}
    if isinstance(value, list):
        return [without_nan(item) for item in value]
    return None if isinstance(value, float) and math.isnan(value) else value


def instance_rows(
    counts: Sequence[Sequence[ImageCounts]], classes: Sequence[str], bounds: Sequence[int]
) -> Iterator[dict[str, Any]]:
    """A row for each true instance, see `tables.instance_rows`; with a second prediction set also its IoU there."""
    rows = tables.instance_rows(counts[0], classes, bounds)
    if len(counts) == 1:
        return rows
    others = chain.from_iterable(image.ious for image in counts[1])
    return (row | {"iou_compare": other} for row, other in zip(rows, others, strict=True))


def screen(report: Report) -> str:
    """The report as text of at most 100 columns; scores in percent."""
    setting = report.setting
    small, large = setting.bounds
    source = "the instance maps" if setting.instances_from == FROM_MAP else "the connected components of the masks"
    head = [
        f"IA-mIoU mode {setting.mode} · {report.images} image{'s' * (report.images != 1)} · instances from {source}",
        f"{len(setting.classes)} classes {'with' if setting.background else 'without'} background · "
        f"small < {small} <= medium < {large} <= large (pixels)",
    ]
    return "\n".join([*head, "", *score_lines(report), "", *class_lines(report), "", *size_lines(report)]) + "\n"


def score_lines(report: Report) -> list[str]:
    """A line for each score."""
    title = f"{'score':14} {'value':>6}  {f'{LEVEL} % interval':>15}"
    lines = [
        title + (f"  {'compare':>7}  {'change':>6}  {f'{LEVEL} % interval':>15}  {'p':>6}" if report.other else "")
    ]
    for name in SCORES:
        low, high = report.intervals.get(name, (math.nan, math.nan))
        line = f"{name:14} {percent(report.own.scores[name])}  {band(low, high)}"
        if report.other:
            change, low, high, p = report.differences[name]
            line += f"  {percent(report.other.scores[name], 7)}  {percent(change, 6, '+')}  {band(low, high, '+')}"
            line += f"  {probability(p, report.setting.resamples):>6}"
        lines.append(line)
    if report.other:
        lines.append("change: of the compared set over the first; p: share of resamples in which it is not better")
    return lines


def class_lines(report: Report) -> list[str]:
    """A line for each class."""
    lines = [" ".join([f"{'class':{NAME}}", *(f"{name:>12}" for name in tables.CLASS_VALUES)])]
    for entry in per_class(report.own, report.setting.classes):
        lines.append(" ".join([short(entry["class"]), *(percent(entry[name], 12) for name in tables.CLASS_VALUES)]))
    return lines


def size_lines(report: Report) -> list[str]:
    """A line for each class that has instances: their mean IoU, number and share missed by size, and all sizes."""
    cell = f"{'iou':>6} {'n':>7} {'missed':>6}"
    blank = " " * NAME
    lines = [
        blank + "".join(f"    {size:>21}" for size in SIZES),
        f"{'class':{NAME}}" + f"    {cell}" * len(SIZES),
    ]
    for entry in per_class(report.own, report.setting.classes):
        cells = [entry[size] for size in SIZES]
        if any(found["instances"] for found in cells):
            texts = (f"{percent(c['iou'])} {c['instances']:>7} {percent(c['missed'])}" for c in cells)
            lines.append(short(entry["class"]) + "".join(f"    {text}" for text in texts))
    means = (f"{percent(report.own.scores[name])} {'':>7} {'':>6}" for name in IA_SIZES)
    lines.append((f"{'mean of classes':{NAME}}" + "".join(f"    {text}" for text in means)).rstrip())
    return lines


def percent(value: float, width: int = 6, sign: str = "") -> str:
    """A share in percent with one decimal."""
    return f"{UNDEFINED:>{width}}" if math.isnan(value) else f"{100 * value:{sign}{width}.1f}"


def band(low: float, high: float, sign: str = "") -> str:
    """An interval in percent, 15 characters."""
    return f"{UNDEFINED:>15}" if math.isnan(low) else f"{percent(low, 6, sign)} .. {percent(high, 5, sign)}"


def probability(p: float, resamples: int) -> str:
    """A share of resamples; none of them says only that it is below one of them."""
    if math.isnan(p):
        return UNDEFINED
    return f"<{1 / resamples:.3g}" if p == 0 else f"{p:.3f}"


def short(name: str) -> str:
    """A class name in `NAME` characters."""
    return f"{name if len(name) <= NAME else name[: NAME - 1] + '…':{NAME}}"
