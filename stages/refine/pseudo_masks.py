"""Activation maps of a data set -> its pseudo masks, and tables about them; or the pseudo masks of another method."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from stages.core.dataset import LABELLED_SPLITS, Dataset
from stages.core.faults import Fault, combine
from stages.core.files import ZipReader, write_zip
from stages.core.params import Params
from stages.core.pictures import sample_ids, write_pictures
from stages.core.pool import process_map
from stages.core.two_thresholds import NONE
from stages.refine import thresholds
from stages.refine.calibration import calibration_rows, expected_calibration_error
from stages.refine.histogram import add_counts, empty_histogram, threshold_curve
from stages.refine.imported import import_masks
from stages.refine.one_image import CAM
from stages.refine.score_files import find_scores, is_score_source
from stages.refine.scores import ScoreSum, score_rows
from stages.refine.sheets import COUNT, step_sheets
from stages.refine.steps import step_row
from stages.refine.thresholds import FIXED, ORACLE, UNSUPERVISED, VALIDATION, Choice
from stages.refine.worker import PSEUDO_MASK, Counting, Refined, Refinement, Sources

TRAIN, VAL = LABELLED_SPLITS

Rows = list[dict[str, Any]]


@dataclass(frozen=True)
class Tables:
    """Rows of the tables.

    cam, pseudo_mask: scores by class of the activation maps, cut at the `foreground` in use, and of the pseudo masks.
    steps: see `steps`; thresholds, curve: see `thresholds`; calibration: see `calibration`. The last three are of what
        the thresholds cut, and empty where another method made the masks.
    """

    cam: Rows = field(default_factory=list)
    pseudo_mask: Rows = field(default_factory=list)
    steps: Rows = field(default_factory=list)
    thresholds: Rows = field(default_factory=list)
    curve: Rows = field(default_factory=list)
    calibration: Rows = field(default_factory=list)


class Gathered:
    """What the images of a set add up to, by step: their scores, and the histogram of the score maps."""

    def __init__(self, num_classes: int) -> None:
        self.scores: dict[str, ScoreSum] = {}
        self.histograms: dict[str, np.ndarray] = {}
        self._num_classes = num_classes

    def add(self, result: Refined) -> None:
        """Adds one image."""
        for step, score in result.scores.items():
            self.scores.setdefault(step, ScoreSum()).add(score)
        for step, counts in result.counts.items():
            add_counts(self.histograms.setdefault(step, empty_histogram(self._num_classes)), counts)

    def last_histogram(self) -> np.ndarray:
        """Of the score maps that the thresholds cut."""
        return self.histograms[next(reversed(self.histograms))]


def write_pseudo_masks(
    path: Path,
    dataset: Dataset,
    cams: Path,
    edges: Path,
    refine: Params,
    imported: Path | None = None,
    pictures: Path | None = None,
) -> Tables:
    """Writes masks/ID.png for every image of train and val, in their order; imported ones of val may be missing.

    The bytes are the same for any number of worker processes.

    Args:
        path: the zip to write.
        dataset: with images.
        cams: cam.zip.
        edges: edges.zip of `affinity`.
        refine: the section of params.yaml, see `one_image.pseudo_mask`; `threshold` and `validation_images`, see
            `choose`.
        imported: a folder or zip of another method's label maps, see `imported_mask`, or of its score maps in the place
            of our activation maps, see `score_files`; None to make them from those.
        pictures: a folder for pictures of the steps of some images; None draws none.

    Raises:
        Fault: activation maps are missing or do not fit the data set, or imported masks do (all of these are named),
            or the threshold cannot be chosen as `refine` says.
    """
    source = scores = None
    if imported and is_score_source(imported, dataset.ids(TRAIN)):
        scores = find_scores(imported, dataset.ids(TRAIN), set(dataset.ids(VAL)))
    elif imported:
        source = import_masks(imported, dataset)
    sources = Sources(dataset, ZipReader(cams), ZipReader(edges), refine, scores)
    used = None if source else choose(sources)
    if used:
        sources = replace(sources, refine=used.applied(refine))
    members = {split: sources.ids(split) for split in LABELLED_SPLITS}
    ids = list(dict.fromkeys(image_id for split in LABELLED_SPLITS for image_id in members[split]))
    groups = members | {VALIDATION: spread_over(members[VAL], refine.validation_images)}
    groups = {name: frozenset(group) for name, group in groups.items()}
    found = {name: Gathered(dataset.num_classes) for name in groups}
    faults = []
    with write_zip(path) as archive:
        results = process_map(Refinement(sources, source), ids, "refine", len(ids))
        for image_id, result in zip(ids, results, strict=True):
            faults += [result.fault] if result.fault else []
            if result.png:
                archive.bytes(f"masks/{image_id}.png", result.png)
            for name, group in groups.items():
                if image_id in group:
                    found[name].add(result)
        if faults:
            raise combine(f"pseudo_masks: {imported} does not fit data set {dataset.info.name}", faults)
    if pictures:
        # another method's label maps have had none of our steps
        shown = replace(sources, refine=Params(refine.plain() | {"walk": NONE, "pamr": NONE})) if source else sources
        draw(pictures, shown, ZipReader(path))
    tables = label_tables({split: found[split] for split in LABELLED_SPLITS}, dataset)
    return replace(tables, **threshold_tables(found, sources, refine, used)) if used else tables


def draw(folder: Path, sources: Sources, masks: ZipReader) -> None:
    """Writes pictures of the steps of some images of val, or of train where no image of val has score maps."""
    ids = sample_ids(sources.ids(VAL) or sources.ids(TRAIN), COUNT)
    names = {image_id: f"masks/{image_id}.png" for image_id in ids}
    images = (
        (image_id, sources.steps(image_id)[1], masks.png(name) if name in masks else None)
        for image_id, name in names.items()
    )
    write_pictures(folder, step_sheets(sources.dataset, images))


def choose(sources: Sources) -> Choice:
    """The thresholds of the recipe's rule, `threshold`; all rules but `fixed` take a pass over some images.

    `validation` looks at `validation_images` images of val, spread evenly over the split's list, since lists often go
    by year; `unsupervised` looks at the training images.

    Raises:
        Fault: the data set has no background, or not the masks of val that `validation` needs, or its scores have no
            threshold.
    """
    dataset, refine, rule = sources.dataset, sources.refine, sources.refine.threshold
    info = dataset.info
    if rule == FIXED:
        return thresholds.fixed(refine, info.background)
    if not info.background:
        raise Fault(f"refine.threshold: {rule} needs a background, which data set {info.name} lacks; set it to fixed")
    if rule == VALIDATION and not dataset.masked(dataset.ids(VAL)):
        raise Fault(
            f"refine.threshold: validation needs masks of val, and data set {info.name} has none; "
            "set it to unsupervised or fixed"
        )
    ids = spread_over(sources.ids(VAL), refine.validation_images) if rule == VALIDATION else sources.ids(TRAIN)
    if not ids:
        raise Fault(f"refine.threshold: validation needs score maps of val, and {sources.scores.path} has none")
    histogram, faults = empty_histogram(dataset.num_classes), []
    for counts in process_map(Counting(sources), ids, "refine: threshold", len(ids)):
        if isinstance(counts, str):
            faults.append(counts)
        else:
            add_counts(histogram, counts)
    if faults:
        raise combine(f"pseudo_masks: {sources.scores.path} does not fit data set {info.name}", faults)
    choice = choice_of(rule, histogram, ids, dataset, refine)
    if choice is None:
        why = (
            "no pixel of its images has a true label"
            if rule == VALIDATION
            else "its images have no two different scores"
        )
        raise Fault(f"refine.threshold: {rule} finds none in data set {info.name}: {why}; set it to fixed")
    return choice


def choice_of(rule: str, histogram: np.ndarray, ids: list[str], dataset: Dataset, refine: Params) -> Choice | None:
    """What a rule other than `fixed` says of the images `ids`, whose histogram is given; None if nothing."""
    if rule == UNSUPERVISED:
        tagged = sum(dataset.tags(image_id).size > 0 for image_id in ids)
        return thresholds.unsupervised(histogram, refine, dataset.info.background, tagged)
    return thresholds.on_masks(rule, histogram, refine, dataset.info.background, len(ids))


def spread_over(ids: list[str], count: int) -> list[str]:
    """`count` of the ids, evenly over the list; all of them if there are fewer."""
    count = min(count, len(ids))
    return [ids[index * len(ids) // count] for index in range(count)]


def label_tables(found: dict[str, Gathered], dataset: Dataset) -> Tables:
    """The tables of the labels of each step, from what was gathered of each split."""
    tables = Tables()
    for split, gathered in found.items():
        for step, scores in gathered.scores.items():
            rows = score_rows(split, scores, dataset.info)
            if step in (CAM, PSEUDO_MASK):
                (tables.cam if step == CAM else tables.pseudo_mask).extend(rows)
            histogram = gathered.histograms.get(step)
            ece = float("nan") if histogram is None else expected_calibration_error(histogram)
            tables.steps.append(step_row(split, step, rows[-1], ece))
    return tables


def threshold_tables(found: dict[str, Gathered], sources: Sources, refine: Params, used: Choice) -> dict[str, Rows]:
    """The tables about the thresholds, by name; rules that need what the data set lacks have no row.

    Args:
        found: what was gathered of train, of val and of those images of val that `validation` looks at.
        sources: what the scores were made of.
        refine: the section of params.yaml.
        used: what the rule of `refine` chose.
    """
    dataset, scored = sources.dataset, [name for name, gathered in found.items() if gathered.histograms]
    histograms = {name: found[name].last_histogram() for name in scored}
    background, train = dataset.info.background, dataset.ids(TRAIN)
    looked_at = spread_over(sources.ids(VAL), refine.validation_images)
    choices: dict[str, Choice | None] = {FIXED: thresholds.fixed(refine, background)}
    if background and looked_at:
        choices[VALIDATION] = choice_of(VALIDATION, histograms[VALIDATION], looked_at, dataset, refine)
    if background:
        choices[UNSUPERVISED] = choice_of(UNSUPERVISED, histograms[TRAIN], train, dataset, refine)
    choices[used.rule] = used
    choices[ORACLE] = choice_of(ORACLE, histograms[TRAIN], train, dataset, refine)
    splits = [split for split in LABELLED_SPLITS if split in scored]
    curves = {split: threshold_curve(histograms[split], background) for split in splits}
    return {
        "thresholds": thresholds.threshold_rows([choice for choice in choices.values() if choice], curves, used.rule),
        "curve": thresholds.curve_rows(curves),
        "calibration": [row for split in splits for row in calibration_rows(split, histograms[split])],
    }
