"""The command of stage `size_targets`: relative object sizes, measured or given, and corrupted."""

from __future__ import annotations

from tqdm import tqdm

from stages.core.dataset import Dataset
from stages.core.files import ZipReader, write_csv
from stages.core.stage import Stage, run
from stages.size_targets import errors, targets


def main(stage: Stage) -> None:
    """Writes size_targets.csv, and how far they are from the truth: size_error.csv and size_pairs.csv."""
    dataset, pseudo_masks = Dataset(stage.deps["dataset"]), ZipReader(stage.deps["pseudo_masks"])
    params, size_file = stage.params["size_targets"], stage.deps["size_file"]
    rows, error_rows = targets.make_targets(dataset, pseudo_masks, size_file, params)
    if not rows:
        tqdm.write("size_targets: the training images have no masks to measure sizes on; set source to pseudo_masks")
    write_csv(stage.outs["size_targets"], rows, targets.COLUMNS)
    write_csv(stage.outs["size_error"], error_rows, errors.COLUMNS)
    write_csv(stage.outs["size_pairs"], errors.pair_rows(rows, dataset.info.background), errors.PAIR_COLUMNS)


if __name__ == "__main__":
    run("size_targets", main)
