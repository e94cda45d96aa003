"""What must hold between the sections of params.yaml.

These look at the file as it was read, of which any part may be missing or wrong: that is for the schema to say, and a
relation whose parts are not there is passed over. So a person sees all faults at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from stages.check.messages import did_you_mean, show
from stages.check.methods import BACKGROUND, WHOLE_VIEW, Methods

METHODS = tuple(Methods.model_fields)
OWN_SOURCE = "stages/download/source.py"  # in messages: what stands for data that the pipeline makes or downloads


def part(tree: Any, *keys: str) -> Any:
    """The value at a path of nested mappings; None where there is none."""
    for key in keys:
        if not isinstance(tree, Mapping) or key not in tree:
            return None
        tree = tree[key]
    return tree


def section(tree: Any, *keys: str) -> Mapping[str, Any]:
    """The mapping at a path; empty where there is none."""
    found = part(tree, *keys)
    return found if isinstance(found, Mapping) else {}


def relation_faults(tree: Mapping[str, Any], folder: Path) -> list[str]:
    """A line for each relation that does not hold; `folder` is where params.yaml lies."""
    return [
        *choice_faults(tree),
        *recipe_faults(tree),
        *split_faults(tree),
        *source_faults(tree, folder),
        *pseudo_mask_faults(tree, folder),
        *size_file_faults(tree, folder),
        *walk_faults(tree),
        *smoothing_faults(tree),
        *threshold_faults(tree),
        *combination_faults(tree),
        *mask_faults(tree),
    ]


def choice_faults(tree: Mapping[str, Any]) -> Iterator[str]:
    """`dataset` and `method` name something."""
    choices = {"dataset": ("under datasets", list(section(tree, "datasets"))), "method": ("a method", METHODS)}
    for key, (what, names) in choices.items():
        value = tree.get(key)
        if isinstance(value, str) and value not in names:
            there = ", ".join(map(str, names)) or "none"
            yield f"{key}: {value!r} is not {what}; there are: {there}{did_you_mean(value, names)}"


def recipe_faults(tree: Mapping[str, Any]) -> Iterator[str]:
    """Every data set has a recipe of its name, and every recipe a data set."""
    datasets, recipes = section(tree, "datasets"), section(tree, "recipes")
    for name in datasets:
        if name not in recipes:
            yield f"recipes: data set {name!r} has no recipe of its name{did_you_mean(name, recipes)}"
    for name in recipes:
        if name not in datasets:
            there = ", ".join(map(str, datasets)) or "none"
            yield f"recipes.{name}: there is no data set {name!r}; there are: {there}{did_you_mean(name, datasets)}"


def splits_of(data: Mapping[str, Any]) -> list[str] | None:
    """The splits that a data set declares; None where they lie on disk."""
    for key in ("splits", "lists", "annotations"):
        if isinstance(data.get(key), Mapping):
            return list(data[key])
    return None


def split_faults(tree: Mapping[str, Any]) -> Iterator[str]:
    """Predicted splits exist, and the headline split is predicted."""
    for name, data in section(tree, "datasets").items():
        predicted = part(tree, "recipes", name, "predict", "splits")
        if not isinstance(predicted, list) or not isinstance(data, Mapping):
            continue
        known, key = splits_of(data), f"recipes.{name}.predict.splits"
        if known is not None:
            for split in predicted:
                if split not in known:
                    hint = did_you_mean(split, known)
                    yield f"{key}: data set {name!r} has no split {split!r}; it has {', '.join(map(str, known))}{hint}"
        headline = data.get("headline")
        if headline is not None and headline not in predicted:
            yield f"{key}: must hold {headline!r}, the headline of data set {name!r}, is {show(predicted)}"


def is_there(found: Callable[[], bool]) -> bool:
    """What a question about a path answers; no where the path cannot be asked for, as one that is too long."""
    try:
        return found()
    except (OSError, ValueError):
        return False


def source_faults(tree: Mapping[str, Any], folder: Path) -> Iterator[str]:
    """The raw data of the chosen data set are made or downloaded, or lie where a queued experiment sees them too."""
    source, name = tree.get("source"), tree.get("dataset")
    form = part(tree, "datasets", name, "format") if isinstance(name, str) else None
    if not isinstance(source, str) or not source or not isinstance(form, str):
        return
    path = Path(source)
    own = path.suffix == ".py" and not path.is_absolute() and is_there((folder / path).is_file)
    archives = part(tree, "datasets", name, "archives")
    if form == "shapes":
        if not own:
            yield f"source: data set {name!r} is generated, so source must be {OWN_SOURCE}, is {source!r}"
    elif not archives and (not path.is_absolute() or path.suffix == ".py"):
        yield (
            f"source: data set {name!r} is read from disk, so source must be an absolute path, as in "
            f"-S source=/abs/path, is {source!r}"
        )
    elif not own and (not path.is_absolute() or path.suffix == ".py"):
        yield (
            f"source: must be {OWN_SOURCE}, which downloads data set {name!r}, or the absolute path of a folder with "
            f"the data or their archives, as in -S source=/abs/path, is {source!r}"
        )
    elif path.is_absolute() and not is_there(path.exists):
        yield f"source: {source} does not exist; it must be where the raw data of {name!r} lie"


def pseudo_mask_faults(tree: Mapping[str, Any], folder: Path) -> Iterator[str]:
    """Pseudo masks are made by the rule's own module, or lie where a queued experiment sees them too."""
    source = tree.get("pseudo_masks")
    if not isinstance(source, str) or not source:
        return
    path = Path(source)
    if path.suffix == ".py":
        if path.is_absolute() or not is_there((folder / path).is_file):
            yield f"pseudo_masks: must be the module that makes them as params.yaml has it in git, is {source!r}"
    elif not path.is_absolute():
        yield (
            "pseudo_masks: must be the absolute path of a folder or zip of label maps or score maps, as in "
            f"-S pseudo_masks=/abs/path, is {source!r}"
        )
    elif not is_there(path.exists):
        yield f"pseudo_masks: {source} does not exist"


def size_file_faults(tree: Mapping[str, Any], folder: Path) -> Iterator[str]:
    """Sizes and boxes lie where a queued experiment sees them too; where there are none, a module stands in."""
    value = tree.get("size_file")
    if not isinstance(value, str) or not value:
        return
    path = Path(value)
    if path.suffix == ".py":
        if path.is_absolute() or not is_there((folder / path).is_file):
            yield f"size_file: must be the module that reads it as params.yaml has it in git, is {value!r}"
        elif part(tree, "size_targets", "source") == "file":
            yield (
                "size_file: must be the absolute path of a CSV file where size_targets.source is file, as in "
                f"-S size_file=/abs/sizes.csv, is {value!r}"
            )
    elif not path.is_absolute():
        yield (
            "size_file: must be the absolute path of a CSV file of sizes or boxes, as in -S size_file=/abs/sizes.csv, "
            f"is {value!r}"
        )
    elif not is_there(path.is_file):
        yield f"size_file: {value} is no file"


def walk_faults(tree: Mapping[str, Any]) -> Iterator[str]:
    """Scores walk only within boundaries that a network has found."""
    for name in section(tree, "recipes"):
        kind = part(tree, "recipes", name, "affinity", "kind")
        if kind == "none" and isinstance(part(tree, "recipes", name, "refine", "walk"), Mapping):
            yield f"recipes.{name}.refine.walk: must be none where affinity.kind is none; a walk needs kind irn"


def smoothing_faults(tree: Mapping[str, Any]) -> Iterator[str]:
    """Hard examples are chosen by the label's own probability, which smoothing has no say in."""
    for name in section(tree, "recipes"):
        for method in section(tree, "methods"):
            smoothing = part(tree, "recipes", name, "methods", method, "label_smoothing")
            if part(tree, "methods", method, "ce") == "ohem" and isinstance(smoothing, float) and smoothing > 0:
                key = f"recipes.{name}.methods.{method}.label_smoothing"
                yield f"{key}: must be 0 where methods.{method}.ce is ohem, is {show(smoothing)}"


def threshold_faults(tree: Mapping[str, Any]) -> Iterator[str]:
    """A threshold is chosen only between foreground and background."""
    for name in section(tree, "recipes"):
        rule = part(tree, "recipes", name, "refine", "threshold")
        if rule in ("validation", "unsupervised") and part(tree, "datasets", name, "background") is False:
            yield (
                f"recipes.{name}.refine.threshold: must be fixed for data set {name!r}, which has no background to "
                f"part from, is {rule!r}"
            )


def task_faults(tree: Mapping[str, Any], name: str, method: str) -> Iterator[str]:
    """Each task has an epoch; the first need not where nothing of it is kept."""
    recipe = section(tree, "recipes", name, "methods", method)
    share, kept = recipe.get("task_a"), recipe.get("ewc_weight")
    epochs = part(tree, "recipes", name, "segmenter", "epochs")
    whole = type(epochs) is int and 0 < epochs < 2**31
    if not whole or not isinstance(share, int | float) or not isinstance(kept, int | float) or not 0 <= share <= 1:
        return
    first = int(share * epochs + 0.5)
    if first >= epochs or (first == 0 and kept > 0):
        rule = f"must leave each task one of {epochs} epochs (or be 0 with ewc_weight 0)"
        yield f"recipes.{name}.methods.{method}.task_a: {rule}, is {show(share)}"


def seed_faults(tree: Mapping[str, Any], name: str, method: str) -> Iterator[str]:
    """Nested masks have a recipe, and a background to lie in; without seeds something else is learnt from."""
    seeds, recipe = part(tree, "methods", method, "seeds"), section(tree, "recipes", name, "methods", method)
    if seeds == "none" and recipe.get("size_weight") == 0 and part(tree, "methods", method, "labelled") == 0:
        rule = f"must be > 0 where methods.{method}.seeds is none and nothing is labelled"
        yield f"recipes.{name}.methods.{method}.size_weight: {rule}, is 0"
    if seeds != "nested_masks":
        return
    if recipe.get("nested") == "none":
        rule = f"must be a section where methods.{method}.seeds is nested_masks, as recipes.acdc_png has it"
        yield f"recipes.{name}.methods.{method}.nested: {rule}, is none"
    if part(tree, "datasets", name, "background") is False:
        yield f"methods.{method}.seeds: nested_masks need a background, which data set {name!r} lacks"


def combination_faults(tree: Mapping[str, Any]) -> Iterator[str]:
    """The chosen data set, recipe and method go together."""
    name, method = tree.get("dataset"), tree.get("method")
    if not isinstance(name, str) or not isinstance(method, str):
        return
    crop = part(tree, "recipes", name, "segmenter", "augment", "crop")
    if method in WHOLE_VIEW and type(crop) is int:
        yield (
            f"recipes.{name}.segmenter.augment.crop: must be none for method {method}, because a crop changes the "
            f"sizes that it trains on, is {crop}"
        )
    yield from task_faults(tree, name, method)
    yield from seed_faults(tree, name, method)
    if part(tree, "datasets", name, "background") is not False:
        return
    if method in BACKGROUND:
        yield f"method: {method} needs a background, which data set {name!r} lacks (background: false); choose another"
    if part(tree, "size_targets", "void") == "included":
        yield f"size_targets.void: must be excluded for data set {name!r}, which has no background to count void in"
    corruption, renormalise = (part(tree, "size_targets", key) for key in ("corruption", "renormalise"))
    if corruption == "biased":
        rule = f"must be another one for data set {name!r}, which has no background to take from or give to"
        yield f"size_targets.corruption: {rule}, is 'biased'"
    if corruption in ("relative_gaussian", "lognormal") and renormalise in ("background", "joint"):
        rule = f"must be all for data set {name!r}, which has no background"
        yield f"size_targets.renormalise: {rule}, is {renormalise!r}"


def mask_faults(tree: Mapping[str, Any]) -> Iterator[str]:
    """What the chosen data set, recipe and method read of masks is there, where some images have none."""
    name, method = tree.get("dataset"), tree.get("method")
    if not isinstance(name, str) or not isinstance(method, str):
        return
    masks = part(tree, "datasets", name, "masks")
    if masks not in ("evaluated", "none"):
        return
    lacks = f"data set {name!r}, whose training images have no masks (masks: {masks})"
    if method == "full":
        yield f"method: must be another than full for {lacks}"
    if method == "size_balanced" and part(tree, "methods", method, "labels") == "masks":
        yield f"methods.size_balanced.labels: must be pseudo_masks for {lacks}"
    known = part(tree, "methods", method, "labelled")
    if type(known) is int and known > 0:
        yield f"methods.{method}.labelled: must be 0 for {lacks}, is {known}"
    matched = method == "pseudo_mask" and part(tree, "methods", method, "match_sizes") is True
    source = part(tree, "size_targets", "source")
    measured = source == "masks" or (source == "boxes" and str(part(tree, "size_file")).endswith(".py"))
    if (method == "size_target" or matched) and measured:
        rule = "must be pseudo_masks, or file or boxes with a size_file,"
        yield f"size_targets.source: {rule} for {lacks}, and method {method} needs sizes"
    if masks == "evaluated":
        return
    if part(tree, "recipes", name, "refine", "threshold") == "validation":
        yield f"recipes.{name}.refine.threshold: must be fixed or unsupervised, since val of {name!r} has no masks"
    if part(tree, "recipes", name, "predict", "model") == "best":
        yield f"recipes.{name}.predict.model: must be last, since val of {name!r} has no masks to find the best with"
