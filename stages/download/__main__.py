"""The command of stage `download`: an index of the raw data with a checksum per file, and pretrained weights."""

from __future__ import annotations

from pathlib import Path

from stages.core.fetch import downloads_folder
from stages.core.stage import SCRATCH, Stage, dataset_params, run
from stages.download.acdc import write_slices
from stages.download.generate import check_generator, generate
from stages.download.source import write_index
from stages.download.weights import pretrained, write_weights


def main(stage: Stage) -> None:
    """Weights first: their absence shows at once; a large source takes a minute, or hours to download."""
    data = dataset_params(stage)
    name, source = stage.params["dataset"], Path(stage.params["source"])
    generated = data.format == "shapes"
    if generated:
        check_generator(name, source)

    encoder = stage.params["recipes.${dataset}.classifier.encoder"]
    weights = stage.params["recipes.${dataset}.classifier.weights"]
    write_weights(stage.outs["pretrained"], pretrained(weights, encoder, downloads_folder(SCRATCH)))

    if generated:
        generate(stage.outs["raw"], data)
    elif data.format == "acdc":
        write_slices(stage.outs["raw"], name, source, data)
    else:
        write_index(stage.outs["raw"], name, source, data)


if __name__ == "__main__":
    run("download", main)
