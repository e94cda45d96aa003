"""The command of stage `refine`: activation maps -> pseudo masks, or those of another method in their place."""

from __future__ import annotations

from stages.core.dataset import Dataset
from stages.core.files import write_csv
from stages.core.stage import Stage, run
from stages.refine import calibration, scores, steps, thresholds
from stages.refine.pseudo_masks import write_pseudo_masks


def main(stage: Stage) -> None:
    """Writes pseudo_masks.zip and the tables and pictures of how it came about and how good it is."""
    dataset = Dataset(stage.deps["dataset"], stage.deps["raw"])
    refine = stage.params["recipes.${dataset}.refine"]
    source = stage.deps["pseudo_masks"]
    imported = None if source.suffix == ".py" else source
    out, cams, edges = stage.outs["pseudo_masks"], stage.deps["cam"], stage.deps["edges"]
    tables = write_pseudo_masks(out, dataset, cams, edges, refine, imported, stage.outs["refinement"])
    write_csv(stage.outs["cam_scores"], tables.cam, scores.COLUMNS)
    write_csv(stage.outs["pseudo_mask_scores"], tables.pseudo_mask, scores.COLUMNS)
    write_csv(stage.outs["refine_steps"], tables.steps, steps.COLUMNS)
    write_csv(stage.outs["thresholds"], tables.thresholds, thresholds.COLUMNS)
    write_csv(stage.outs["threshold_curve"], tables.curve, thresholds.CURVE_COLUMNS)
    write_csv(stage.outs["calibration"], tables.calibration, calibration.COLUMNS)


if __name__ == "__main__":
    run("refine", main)
