"""The command of stage `track`: results -> MLflow and metrics/experiments.csv; see `stages.track.ledger`."""

from pathlib import Path

from stages.core import tracking
from stages.core.experiment import current_experiment
from stages.core.files import read_csv, read_json
from stages.core.params import read_yaml
from stages.core.stage import Stage, run
from stages.track import ledger, publish

SMALL = (".csv", ".json", ".png")  # never a model or an archive: those are DVC's


def main(stage: Stage) -> None:
    """Completes the experiment's MLflow run, unless SIZEWISE_TRACK=0, and adds its row to the table."""
    experiment = current_experiment()
    summary_path = stage.deps["summary"]
    summary, cost = read_json(summary_path), {}
    try:
        if tracking.enabled():
            md5s = publish.artifact_md5s(read_yaml(Path("dvc.lock")))
            run_id = publish.publish(experiment, summary, md5s, publish.files_below(stage.deps.values(), SMALL))
            cost = publish.training_cost(run_id)
    finally:  # the row is kept also where MLflow fails
        scores = summary | {"dice": ledger.mean_dice(experiment, read_csv(stage.deps["miou"]))}
        ledger.gather(summary_path.with_name(ledger.FILE), [ledger.row_of(experiment, scores, cost)])


if __name__ == "__main__":
    run("track", main)
