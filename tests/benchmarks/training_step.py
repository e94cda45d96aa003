"""The training step of each loss against that of plain cross-entropy: `python -m tests.benchmarks.training_step`.

It takes the data set and its recipe from params.yaml, whose earlier stages must have run (`dvc repro`). The steps
alternate on the same batch in memory, and the shortest of each counts, so that other work on the machine, which is
what makes whole trainings hard to compare, has no part in the ratio.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch

from stages.core.dataset import Dataset
from stages.core.device import be_deterministic, device, memory_format
from stages.core.networks.segmentation import Segmenter
from stages.core.optimisation import build_optimiser
from stages.core.params import Params, read_yaml
from stages.core.samples import Batch, Samples, collate
from stages.core.transforms import normalise
from stages.segment.setting import Setting
from stages.segment.supervision import Sources, target_rows
from tests.benchmarks.training import parts, synchronised

PLAIN = "plain cross-entropy"
ROUNDS = 40
ROWS: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {  # method, changes of its params and of its recipe
    PLAIN: ("full", {}, {}),
    "size weights": ("size_balanced", {}, {"ewc_weight": 0}),
    "size weights and consolidation": ("size_balanced", {}, {}),
    "size target, no CRF term": ("size_target", {"crf": "none"}, {}),
    "size target, grid Potts": ("size_target", {}, {}),
    "size target, dense energy": ("size_target", {"crf": "dense_energy"}, {}),
}


def main() -> None:
    """Prints a line per loss."""
    tree = read_yaml(Path("params.yaml"))
    steps = {name: step_of(tree, *row) for name, row in ROWS.items()}
    times: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(ROUNDS):
        for name, step in steps.items():
            start = synchronised()
            step()
            times[name].append(synchronised() - start)
    print("| loss | step (ms) | of plain cross-entropy |")
    print("|---|---:|---:|")
    for name, seconds in times.items():
        print(f"| {name} | {1000 * min(seconds):.1f} | {min(seconds) / min(times[PLAIN]):.3f} |")


def step_of(
    tree: dict[str, Any], name: str, method_changes: dict[str, Any], recipe_changes: dict[str, Any]
) -> Callable[[], None]:
    """A function that takes one step of a method's training, in its second half, on a fixed batch."""
    dataset, classifier, recipe, folder = parts(tree)
    method = import_module(f"stages.segment.methods.{name}")
    setting = Setting(
        Params(tree["recipes"][tree["dataset"]]["methods"][name] | recipe_changes),
        Params(tree["methods"][name] | method_changes),
        recipe.epochs - 1,
        recipe.epochs,
        dataset.info.background,
    )
    be_deterministic(0)
    where = device()
    segmenter = Segmenter(recipe.architecture, classifier["encoder"], recipe.output_stride, dataset.num_classes)
    network = method.network(segmenter, classifier, setting) if hasattr(method, "network") else segmenter
    network.to(where, memory_format=memory_format(where)).train()
    optimiser = build_optimiser(network, recipe, fused=where.type == "cuda")
    batch = one_batch(dataset, method, setting, folder, recipe).to(where)

    def step() -> None:
        views = normalise(batch.images)
        outputs = network(views) if network is segmenter else network(views, batch.valid)
        optimiser.zero_grad(set_to_none=True)
        method.loss(outputs, batch, setting)["loss"].backward()
        optimiser.step()

    return step


def one_batch(dataset: Dataset, method: Any, setting: Setting, folder: Path, recipe: Params) -> Batch:
    """The first images of train with their true masks, sizes or tags, and the weights that a loader would compute."""
    ids = dataset.ids("train")[: recipe.batch_size]
    sources = Sources(folder / "pseudo_masks.zip", folder / "cam.zip", folder / "size_targets.csv")
    rows = target_rows(method.TARGETS, dataset, ids, sources)
    weights = None
    if hasattr(method, "pixel_weights"):

        def weights(labels: np.ndarray) -> np.ndarray:
            return method.pixel_weights(labels, setting)

    samples = Samples(dataset, ids, dataset.mask, rows, recipe.augment, 0, weights)
    return collate([samples[0, index] for index in range(len(ids))])


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
