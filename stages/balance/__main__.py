"""The command of stage `balance`: a split -> a subset with about equally many instances of every class and size."""

from __future__ import annotations

from tqdm import tqdm

from stages.balance.flattest import bound, flatness
from stages.balance.pool import (
    CHOSEN_COLUMNS,
    HISTOGRAM_COLUMNS,
    balanced_subset,
    chosen_rows,
    flat_subset,
    histogram_rows,
    pool_counts,
)
from stages.core.dataset import Dataset
from stages.core.files import write_csv
from stages.core.metrics.instances import instance_source
from stages.core.stage import Stage, run


def main(stage: Stage) -> None:
    """Chooses from the images of the headline split; from none of them where they have no masks."""
    params = stage.params["balance"]
    dataset = Dataset(stage.deps["dataset"])
    headline = stage.params["datasets.${dataset}.headline"]
    ids = dataset.ids(headline)
    if not dataset.masked(ids):
        tqdm.write(f"balance: the images of {headline} have no masks, so the size-balanced set is empty")
        write_csv(stage.outs["balanced"], [], CHOSEN_COLUMNS)
        write_csv(stage.outs["balance"], [], HISTOGRAM_COLUMNS)
        return
    counts = pool_counts(dataset, ids)
    if params.images == "any":
        chosen = balanced_subset(counts, ids, params.instances_per_cell, params.seed)
    else:
        chosen = flat_subset(counts, ids, params.images, params.seed)
    write_csv(stage.outs["balanced"], chosen_rows(counts, ids, chosen), CHOSEN_COLUMNS)
    histogram = histogram_rows(counts, chosen, dataset, instance_source(dataset))
    write_csv(stage.outs["balance"], histogram, HISTOGRAM_COLUMNS)
    if params.images != "any":
        cells = counts[:, list(dataset.foreground)].reshape(len(ids), -1)
        told = flatness(cells[chosen].sum(0), cells.sum(0), bound(cells, chosen))
        tqdm.write(f"balance: {params.images} images of {headline}: {told}")


if __name__ == "__main__":
    run("balance", main)
