"""Where a model comes from: `python -m stages.track.card models/shapes/segmenter.pt`.

The file itself names the params, the md5 of every input (the data set's among them) and a hash of the code that it was
made of. dvc.lock and the history of git say which commit recorded it and which results belong to it, MLflow what its
training took and on what. What one of them does not know is said to be unknown.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from stages.core import tracking
from stages.core.command import exit_on_fault
from stages.core.experiment import flatten, git, text
from stages.core.files import md5, read_json
from stages.core.params import read_yaml
from stages.track.publish import failure_is_a_fault

UNITS = {"wall_seconds": ("min", 60), "peak_memory_mb": ("GB", 1000), "peak_gpu_memory_mb": ("GB", 1000)}


def card(path: Path) -> Iterator[str]:
    """The lines of the card of the model `path`.

    Raises:
        Fault: there is no such file, or it is no segmenter of this project; or MLflow cannot be reached.
    """
    from stages.core.networks.encoders import read_segmenter  # noqa: PLC0415 - torch, which `--help` need not wait for

    model = read_segmenter(path)
    made, checksum = model["made_of"], md5(path)
    yield f"{path}"
    yield f"  md5          {checksum}"
    yield f"  data set     {model['dataset']}"
    yield f"  network      {model['architecture']} on {model['encoder']}, output stride {model['output_stride']}"
    yield f"  labels       {len(model['classes'])}: {', '.join(model['classes'])}"
    if model["best"]:
        yield f"  also holds   the best on val, epoch {model['best']['epoch']}, mIoU {model['best']['score']:.4f}"
    yield "made of (in the file)"
    yield f"  code         sha256 {made['code']}"
    yield from (f"  input        {name}  md5 {value}" for name, value in made["inputs"].items())
    yield from (f"  param        {key}={text(value)}" for key, value in flatten(made["params"]).items())
    yield "recorded"
    yield from recorded(checksum)
    yield "training (MLflow)"
    yield from training(model["dataset"], checksum)


def recorded(checksum: str) -> Iterator[str]:
    """What git and dvc.lock know about a file of that md5."""
    commits = git(Path(), "log", "--all", "--format=%h of %as", "--diff-filter=AM", "-S", checksum, "--", "dvc.lock")
    yield f"  commit       {commits.splitlines()[-1] if commits else 'none whose dvc.lock has this md5'}"
    lock = read_yaml(Path("dvc.lock")) if Path("dvc.lock").exists() else {}
    stages = lock.get("stages", {})
    owner = next((name for name in stages if checksum in md5s(stages, name, "outs")), None)
    if owner is None:
        yield "  dvc.lock     another model; its results are not those of this one"
        return
    yield f"  dvc.lock     the out of stage {owner}"
    summary = Path("metrics/summary.json")
    follows = checksum in md5s(stages, "predict", "deps") and (
        md5s(stages, "predict", "outs") & md5s(stages, "evaluate", "deps")
    )
    if follows and summary.exists() and md5(summary) in md5s(stages, "evaluate", "outs"):
        yield from (f"  {key:12} {value}" for key, value in read_json(summary).items() if value is not None)


def md5s(stages: Mapping[str, Any], name: str, kind: str) -> set[str]:
    """The md5s of a stage's deps or outs in dvc.lock."""
    return {entry["md5"] for entry in stages.get(name, {}).get(kind, []) if "md5" in entry}


def training(dataset: str, checksum: str) -> Iterator[str]:
    """What MLflow knows of the experiment that made the file, wherever that is now.

    Raises:
        Fault: the store cannot be reached.
    """
    if not tracking.enabled():
        yield "  turned off by SIZEWISE_TRACK=0"
        return
    with failure_is_a_fault(), tracking.open_store() as store:
        # experiments that differ in `predict` alone share a model
        runs = store.matching({f"md5.models/{dataset}/segmenter.pt": checksum})
        children = [store.find({tracking.PARENT_TAG: run.info.run_id, tracking.STAGE_TAG: "segment"}) for run in runs]
    if not runs:
        yield "  no run of the store has this md5"  # whose address may hold a password
        return
    run, child = next(((run, child) for run, child in zip(runs, children, strict=True) if child), (runs[0], None))
    yield f"  experiment   {run.data.tags[tracking.NAME_TAG]}, run {run.info.run_id}"
    yield f"  from commit  {run.data.tags[tracking.BASE_TAG]}"
    yield from (f"  {key:12} {value:.6g}" for key, value in sorted(run.data.metrics.items()))
    if child is None:
        yield "  duration     unknown: the model came from the cache"
        return
    for key, (unit, size) in UNITS.items():
        if key in child.data.metrics:
            yield f"  {key.rpartition('_')[0]:12} {child.data.metrics[key] / size:.1f} {unit}"
    yield from (f"  {key:12} {child.data.tags[key]}" for key in ("device", "torch", "python") if key in child.data.tags)


def main(arguments: list[str] | None = None) -> None:
    """The command, see the module."""
    parser = argparse.ArgumentParser(prog="python -m stages.track.card", description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path, help="a segmenter.pt")
    with exit_on_fault("card"):
        for line in card(parser.parse_args(arguments).model):
            sys.stdout.write(f"{line}\n")


if __name__ == "__main__":
    main()
