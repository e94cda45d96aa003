"""The command of stage `evaluate`: predictions -> metrics, tables and pictures."""

from __future__ import annotations

import json
from itertools import chain
from typing import Any

from tqdm import tqdm

from stages.core.dataset import Dataset
from stages.core.faults import Fault
from stages.core.files import ZipReader, read_csv, write_csv, write_json
from stages.core.pictures import sample_ids, write_pictures
from stages.core.stage import Stage, run
from stages.evaluate import tables
from stages.evaluate.contact_sheet import sheets
from stages.evaluate.images import evaluate_images
from stages.evaluate.worst import worst_sheets

SHOWN = "val"  # its images have activation maps and pseudo masks, those of a test split have none


def main(stage: Stage) -> None:
    """Evaluates every predicted split; one without images (an empty balanced set) or masks has no row."""
    headline = stage.params["datasets.${dataset}.headline"]
    dataset = Dataset(stage.deps["dataset"], stage.deps["raw"])
    predictions = ZipReader(stage.deps["predictions"])
    about = json.loads(predictions.text("predict.json"))
    predicted: dict[str, list[str]] = about["splits"]
    members = {split: ids for split, ids in predicted.items() if dataset.masked(ids)}
    if headline not in predicted:
        there = ", ".join(predicted)
        raise Fault(f"split {headline!r}, the headline of params.yaml, is not in predict.splits ({there})")
    if headline not in members:
        raise Fault(
            f"the images of {headline}, the headline split of data set {dataset.info.name}, have no masks to compare "
            f"predictions with; the predictions are in {stage.deps['predictions']}"
        )
    if left_out := predicted.keys() - members:
        tqdm.write(f"evaluate: no masks of {', '.join(sorted(left_out))}, which are left out")
    params = stage.params["evaluate"]
    matrices, results = evaluate_images(dataset, predictions, members, params.mode)

    splits = {
        split: tables.split_scores(
            split, matrices[split], [results[image_id] for image_id in ids], dataset.info, params.bootstrap
        )
        for split, ids in members.items()
        if ids
    }
    rows = [tables.miou_row(scores, dataset, params.mode, about["model"]) for scores in splits.values()]
    intervals = chain.from_iterable(map(tables.interval_rows, splits.values()))
    per_class = chain.from_iterable(tables.per_class_rows(scores, dataset.info) for scores in splits.values())
    per_class_size = chain.from_iterable(tables.class_size_rows(scores, dataset.info) for scores in splits.values())
    by_size = tables.by_size_rows([results[image_id] for image_id in members[headline]])
    confusion = tables.confusion_rows(splits[headline], dataset.info)
    instances = list(tables.instance_rows(list(results.values()), dataset.info.classes, dataset.info.size_bins))
    for name, content, columns in (
        ("miou", rows, tables.MIOU_COLUMNS),
        ("intervals", intervals, tables.INTERVAL_COLUMNS),
        ("per_class", per_class, tables.PER_CLASS_COLUMNS),
        ("per_class_size", per_class_size, tables.CLASS_SIZE_COLUMNS),
        ("iou_by_size", by_size, tables.BY_SIZE_COLUMNS),
        ("confusion", confusion, tables.CONFUSION_COLUMNS),
        ("instances", instances, tables.INSTANCE_COLUMNS),
    ):
        write_csv(stage.outs[name], content, columns)
    inputs = (read_csv(stage.deps[name]) for name in ("pseudo_mask_scores", "size_error"))
    write_json(stage.outs["summary"], tables.summary(rows, headline, *inputs))
    of_headline = set(members[headline])
    draw(stage, dataset, predictions, [row for row in instances if row["id"] in of_headline])


def draw(stage: Stage, dataset: Dataset, predictions: ZipReader, instances: list[dict[str, Any]]) -> None:
    """Writes the contact sheets, and those of the worst of `instances`, into an empty folder."""
    ids = sample_ids(dataset.ids(SHOWN), stage.params["evaluate"].samples)
    cams, pseudo_masks = ZipReader(stage.deps["cam"]), ZipReader(stage.deps["pseudo_masks"])
    samples = sheets(dataset, ids, cams, pseudo_masks, predictions)
    write_pictures(stage.outs["samples"], chain(samples, worst_sheets(dataset, instances, predictions)))


if __name__ == "__main__":
    run("evaluate", main)
