"""The command of stage `refine`: activation maps -> pseudo masks, or those of another method in their place."""

from __future__ import annotations

from stages.core.dataset import Dataset
from stages.core.files import write_csv
from stages.core.stage import Stage, run
from stages.refine.pseudo_masks import write_pseudo_masks
from stages.refine.scores import COLUMNS


def main(stage: Stage) -> None:
    """Writes pseudo_masks.zip, cam_scores.csv and pseudo_mask_scores.csv."""
    dataset = Dataset(stage.deps["dataset"], stage.deps["raw"])
    refine = stage.params["recipes.${dataset}.refine"]
    source = stage.deps["pseudo_masks"]
    imported = None if source.suffix == ".py" else source
    out, cams, edges = stage.outs["pseudo_masks"], stage.deps["cam"], stage.deps["edges"]
    cam_rows, mask_rows = write_pseudo_masks(out, dataset, cams, edges, refine, imported)
    write_csv(stage.outs["cam_scores"], cam_rows, COLUMNS)
    write_csv(stage.outs["pseudo_mask_scores"], mask_rows, COLUMNS)


if __name__ == "__main__":
    run("refine", main)
