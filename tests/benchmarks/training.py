"""Training speed of each method against a bare PyTorch loop: `python -m tests.benchmarks.training [METHOD ...]`.

It takes the data set and its recipe from params.yaml, whose earlier stages must have run (`dvc repro`). Every method
and the bare loop train in a process of their own for two epochs, of which the second counts. The bare loop has the same
network, optimiser and precision, batches that lie in memory, and cross-entropy with the true masks.
"""

from __future__ import annotations

import multiprocessing
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional as F

from stages.core import training
from stages.core.dataset import Dataset
from stages.core.device import be_deterministic, device, memory_format
from stages.core.networks.encoders import read_model
from stages.core.networks.segmentation import Segmenter
from stages.core.optimisation import build_optimiser
from stages.core.params import Params, read_yaml
from stages.core.samples import Batch, EpochBatches, Samples, collate
from stages.core.transforms import normalise
from stages.segment.supervision import Sources
from stages.segment.train import train_segmenter

EPOCHS = 2
BARE = "bare loop"


def main(methods: list[str]) -> None:
    """Prints a line per method."""
    tree = read_yaml(Path("params.yaml"))
    names = methods or list(tree["methods"])
    context = multiprocessing.get_context("spawn")
    results = {}
    for name in (BARE, *names):
        with ProcessPoolExecutor(1, context) as pool:
            results[name] = pool.submit(bare_loop if name == BARE else method_loop, tree, name).result()
    base = results[BARE][0]
    print("| method | images / s | of the bare loop | waiting for data | peak memory (GB) |")
    print("|---|---:|---:|---:|---:|")
    for name, (rate, waiting, memory) in results.items():
        print(f"| {name} | {rate:.1f} | {rate / base:.2f} | {waiting:.1%} | {memory:.2f} |")


def parts(tree: dict[str, Any]) -> tuple[Dataset, dict[str, Any], Params, Path]:
    """The data set, the classifier, the segmenter's recipe for two epochs, and the folder of the data."""
    name = tree["dataset"]
    folder = Path("data") / name
    recipe = Params(tree["recipes"][name]["segmenter"] | {"epochs": EPOCHS, "validate_every": EPOCHS})
    classifier = read_model(Path("models") / name / "classifier.pt")
    return Dataset(folder / "dataset.zip", folder / "raw.zip"), classifier, recipe, folder


def peak_memory() -> float:
    """GB: of the GPU where there is one, else of this process."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 1e9
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def synchronised() -> float:
    """The time, once the GPU has done its work."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


def method_loop(tree: dict[str, Any], name: str) -> tuple[float, float, float]:
    """Images a second, share of the time that the training waits for data, and peak memory (GB) of a method."""
    dataset, classifier, recipe, folder = parts(tree)
    waited: list[float] = []
    original = training.load

    def timed(samples: Samples, batches: EpochBatches, pin: bool) -> Iterator[Batch]:
        stream = original(samples, batches, pin)
        while True:
            start = time.perf_counter()
            try:
                batch = next(stream)
            except StopIteration:
                return
            waited.append(time.perf_counter() - start)
            yield batch

    training.load = timed
    ends: list[tuple[float, int]] = []
    with tempfile.TemporaryDirectory() as scratch:
        train_segmenter(
            dataset,
            classifier,
            Sources(folder / "pseudo_masks.zip", folder / "cam.zip", folder / "size_targets.csv"),
            import_module(f"stages.segment.methods.{name}"),
            recipe,
            Params(tree["recipes"][tree["dataset"]]["methods"][name]),
            Params(tree["methods"][name]),
            tree["seed"],
            Path(scratch) / "checkpoint.pt",
            lambda epoch, row: ends.append((synchronised(), len(waited))),
        )
    # the second epoch ends with a validation, which is no training: what lies between the logs is corrected for it
    (first, before), (second, after) = ends
    seconds = second - first - validation_seconds(dataset, classifier, recipe)
    images = (after - before) * recipe.batch_size / recipe.accumulate
    return images / seconds, sum(waited[before:after]) / seconds, peak_memory()


def validation_seconds(dataset: Dataset, classifier: dict[str, Any], recipe: Params) -> float:
    """How long scoring val takes with this network."""
    from stages.segment.train import validation_miou

    network = Segmenter(recipe.architecture, classifier["encoder"], recipe.output_stride, dataset.num_classes)
    network.to(device(), memory_format=memory_format(device()))
    start = synchronised()
    validation_miou(network, dataset, recipe)
    return synchronised() - start


def bare_loop(tree: dict[str, Any], _: str) -> tuple[float, float, float]:
    """As `method_loop`, with batches that lie in memory and nothing but the network, the loss and the optimiser."""
    dataset, classifier, recipe, _ = parts(tree)
    be_deterministic(0)
    where = device()
    network = Segmenter(recipe.architecture, classifier["encoder"], recipe.output_stride, dataset.num_classes)
    network.to(where, memory_format=memory_format(where)).train()
    optimiser = build_optimiser(network, recipe, fused=where.type == "cuda")
    cast = training.PRECISIONS[recipe.precision]
    ids = dataset.ids("train")
    samples = Samples(dataset, ids, dataset.mask, torch.zeros(len(ids), 0).numpy(), recipe.augment, 0)
    order = list(EpochBatches(len(ids), recipe.batch_size, 1, 0))
    batches = [collate([samples[key] for key in keys]).to(where) for keys in order]
    for _ in range(EPOCHS):
        start = synchronised()
        for batch in batches:
            with torch.autocast(where.type, cast, enabled=cast is not None):
                loss = F.cross_entropy(network(normalise(batch.images)), batch.labels, ignore_index=255)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
        seconds = synchronised() - start
    return len(batches) * recipe.batch_size / seconds, 0.0, peak_memory()


if __name__ == "__main__":
    main(sys.argv[1:])
