"""The experiments of the curves: score against the error of the size targets, per data set.

What is compared, by series:

    size_targets  training on sizes with relative Gaussian errors
    human         on sizes with the errors that people make
    people        on people's own answers, in the file that `-S size_file=/abs/sizes.csv` names
    steps, bins   on coarse answers: multiples of 5 or 10 %, or small, medium and large
    boxes         on sizes of boxes, times one share that objects cover
    masks         full supervision by masks whose objects have sizes of the same Gaussian errors
    alone         on exact sizes without what the others are told beside them
    full, pseudo_mask, tags   without size errors: exact masks, pseudo masks, tags alone
    few_masks     full supervision by the exact masks of a few images
    sizes_and_masks   exact sizes of all images and the exact masks of a few, with as many steps
    alone_and_masks   the same as `alone`

On cardiac slices, all sizes but those of `alone` and `alone_and_masks` are turned into label maps by `seeds:
nested_masks`: a slice's sizes do not say where its objects are.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from stages.core.experiment import relevant
from stages.track.ledger import Row, portable

SIZE_FILE = "size_file"
FROM_FILE = "size_targets.source=file"  # reads it
NO_RESULT = ("source",)  # where the raw data lie on this machine
MASKLESS = ("full", "size_target", "single_stage", "rrm", "tags")  # methods that read no pseudo masks unless told to


@dataclass(frozen=True)
class Point:
    """A setting of a curve.

    series: see the module.
    name: what the setting is called within its series.
    method: of params.yaml.
    changes: `KEY=VALUE` as for `dvc exp run -S`, beside data set, method and seed.
    seeds: of training.
    """

    series: str
    name: str
    method: str
    changes: tuple[str, ...] = ()
    seeds: tuple[int, ...] = (0,)


def nested(dataset: str, point: Point) -> Point:
    """The setting with its sizes turned into label maps, which are all that is learnt from."""
    recipe = f"recipes.{dataset}.methods.size_target.size_weight=0"
    told = ("methods.size_target.seeds=nested_masks", "methods.size_target.crf=none", recipe)
    return replace(point, changes=(*told, *point.changes))


def gaussian(level: str, sigma: float, seeds: tuple[int, ...] = (0,)) -> Point:
    """Size targets with relative Gaussian errors; `level` is the mean relative error that sigma is to give."""
    changes = ("size_targets.corruption=relative_gaussian", f"size_targets.sigma={sigma}")
    return Point("size_targets", level, "size_target", changes, seeds)


def masks(level: str, sigma: float) -> Point:
    """True masks resized to the same targets."""
    return Point("masks", level, "full", ("methods.full.match_sizes=true", *gaussian(level, sigma).changes))


def coarse(series: str, name: str, change: str) -> Point:
    """Answers on a coarse scale."""
    return Point(series, name, "size_target", ("size_targets.corruption=quantised", f"size_targets.{change}"))


def with_masks(series: str, dataset: str, count: int, epochs: int) -> Point:
    """Exact sizes of all images and true masks of `count`; `epochs` is half of the recipe's, each twice as long."""
    changes = (f"methods.size_target.labelled={count}", f"recipes.{dataset}.segmenter.epochs={epochs}")
    return Point(series, f"{count} images", "size_target", changes)


FEW = (10, 30, 100)  # images that somebody has drawn masks of
HUMAN = "size_targets.corruption=human"

# Sigma and scale for an error were found by trying on each data set's training images: metrics/size_error.csv has it.
ANIMALS = (
    Point("size_targets", "0 %", "size_target"),
    Point("full", "exact", "full"),
    Point("human", "16 %", "size_target", (HUMAN, "size_targets.scale=1.055")),
    Point("people", "answers about cats", "size_target", (FROM_FILE,)),
    Point("tags", "alone", "tags"),
    Point("few_masks", "420 images", "full", ("methods.full.images=420",)),  # as long to annotate as all sizes
    gaussian("16 %", 0.2),
    gaussian("64 %", 0.93),
    Point("pseudo_mask", "from tags", "pseudo_mask"),
)


def hearts(dataset: str, half: int) -> tuple[Point, ...]:
    """The settings of cardiac slices; `half` is half of the recipe's epochs."""
    return (
        Point("full", "exact", "full", seeds=(0, 1, 2)),
        *(
            nested(dataset, point)
            for point in (
                Point("size_targets", "0 %", "size_target", seeds=(0, 1, 2)),
                gaussian("16 %", 0.2, (0, 1, 2)),
                gaussian("64 %", 0.87),
                gaussian("4 %", 0.05),
                gaussian("8 %", 0.1),
                gaussian("32 %", 0.4),
                Point("human", "16 %", "size_target", (HUMAN, "size_targets.scale=0.418")),
                Point("human", "as they are", "size_target", (HUMAN,)),
                coarse("steps", "1 % steps", "step=0.01"),
                coarse("bins", "small, medium, large", "bins=[0.0092,0.017]"),
            )
        ),
        Point("alone", "0 %", "size_target"),
        *(Point("few_masks", f"{count} images", "full", (f"methods.full.images={count}",)) for count in FEW),
        *(nested(dataset, with_masks("sizes_and_masks", dataset, count, half)) for count in FEW),
        *(with_masks("alone_and_masks", dataset, count, half) for count in FEW),
        masks("16 %", 0.2),
        masks("64 %", 0.87),
        Point("pseudo_mask", "from tags", "pseudo_mask"),
        Point("tags", "alone", "tags"),
    )


CURVES = {
    "shapes": (
        Point("size_targets", "0 %", "size_target", seeds=(0, 1, 2)),
        gaussian("16 %", 0.2, (0, 1, 2)),
        gaussian("64 %", 0.86, (0, 1, 2)),
        gaussian("4 %", 0.05),
        gaussian("8 %", 0.1),
        gaussian("32 %", 0.4),
        Point("human", "16 %", "size_target", (HUMAN, "size_targets.scale=0.633")),
        Point("human", "as they are", "size_target", (HUMAN,)),
        coarse("steps", "5 % steps", "step=0.05"),
        coarse("steps", "10 % steps", "step=0.1"),
        coarse("bins", "small, medium, large", "bins=[0.028,0.111]"),
        Point("boxes", "60 % of tight boxes", "size_target", ("size_targets.source=boxes",)),
        Point("full", "exact", "full"),
        masks("4 %", 0.05),
        masks("16 %", 0.2),
        masks("64 %", 0.86),
        Point("pseudo_mask", "from tags", "pseudo_mask"),
        Point("tags", "alone", "tags"),
    ),
    "acdc_small": hearts("acdc_small", 5),
    "acdc_png": hearts("acdc_png", 30),
    "voc_animals_small": ANIMALS,
    "voc_animals": ANIMALS,
}


def parsed(changes: str) -> dict[str, Any]:
    """The values of `KEY=VALUE` changes joined by spaces, as YAML 1.2 reads them: 1e-1, 0.10 and 0.1 are the same."""
    return {
        key.lstrip("+"): value_of(text) for key, _, text in (part.partition("=") for part in split_changes(changes))
    }


def split_changes(changes: str) -> list[str]:
    """The parts of a cell `params`; a space within a value parts nothing."""
    return [part for part in re.split(r"\s+(?=\+{0,2}[\w.]+=)", changes.strip()) if part]


def value_of(text: str) -> Any:
    """A value as YAML reads it, the text itself where it is no YAML; an absolute path is shortened as in the ledger."""
    try:
        value = YAML(typ="safe").load(text)
    except YAMLError:
        value = text
    return portable(value) if isinstance(value, str) else value


def essential(changes: str) -> dict[str, Any]:
    """The changes that can change a result: without NO_RESULT."""
    return {key: value for key, value in parsed(changes).items() if key not in NO_RESULT}


def defaults(params: Mapping[str, Any], dataset: str, method: str) -> dict[str, Any]:
    """The flat sections of params.yaml that an experiment can depend on."""
    flat = relevant({**params, "dataset": dataset, "method": method})
    return {key: value for key, value in flat.items() if "." in key}


def makes_masks(key: str) -> bool:
    """Whether a param is one of the stages that turn the classifier into pseudo masks."""
    parts = key.split(".")
    return parts[0] == "recipes" and parts[2:3] in (["cam"], ["affinity"], ["refine"])


def reads_masks(method: str, setting: Mapping[str, Any]) -> bool:
    """Whether a setting can depend on pseudo masks, as labels, as seeds or by their sizes."""
    told = (setting.get("methods.size_target.seeds"), setting.get("size_targets.source"))
    return method not in MASKLESS or "pseudo_masks" in told


def rows_of(
    point: Point,
    dataset: str,
    rows: Iterable[Row],
    params: Mapping[str, Any],
    params_at: Callable[[str], Mapping[str, Any] | None],
) -> dict[int, Row]:
    """The row of each seed that has finished, by seed; of several the last one, as the newest code's.

    A row belongs to the point if data set and method are the same, and its settings too: those of params.yaml at the
    row's commit with the row's changes, in any order and any way of writing a number. A key that params.yaml did not
    have then has its present default, but `classes` of a data set, which were all. Where the point names no
    `size_file`, the row's may be any, unless boxes are read, which may be without one. How pseudo masks are made counts
    where they are read.

    Args:
        point: a setting.
        dataset: its data set.
        rows: of experiments.csv.
        params: the content of params.yaml.
        params_at: gives that of a commit; None where it is unknown, and then the row counts as one of the present.
    """
    present = defaults(params, dataset, point.method)
    wanted = present | essential(" ".join(point.changes))
    any_file = SIZE_FILE not in wanted and wanted.get("size_targets.source") != "boxes"
    all_count = reads_masks(point.method, wanted)

    def counting(values: Mapping[str, Any]) -> dict[str, Any]:
        return {key: value for key, value in values.items() if all_count or not makes_masks(key)}

    def setting(row: Row) -> dict[str, Any]:
        tree = params_at(row["commit"])
        then = {} if tree is None else {f"datasets.{dataset}.classes": "all"} | defaults(tree, dataset, point.method)
        then = {key: then[key] for key in present.keys() & then.keys()}
        changed = essential(row["params"])
        return present | then | {key: value for key, value in changed.items() if key != SIZE_FILE or not any_file}

    found = {
        int(row["seed"]): row
        for row in rows
        if (row["dataset"], row["method"]) == (dataset, point.method) and counting(setting(row)) == counting(wanted)
    }
    return dict(sorted(found.items()))
