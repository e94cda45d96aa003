"""The training loop of the classifier, the boundary network and every segmentation method."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from tqdm import tqdm

from stages.core import distributed
from stages.core.device import be_deterministic, device, memory_format
from stages.core.faults import Fault
from stages.core.model_file import save_model
from stages.core.networks.encoders import freeze_batch_norm, read_model
from stages.core.optimisation import build_optimiser, learning_rate_factor
from stages.core.params import Params
from stages.core.samples import Batch, EpochBatches, Samples, load
from stages.core.weight_average import WeightAverage

PRECISIONS = {"float32": None, "bfloat16": torch.bfloat16, "float16": torch.float16}
NAMED = 16  # ids of a batch in a message


@dataclass(frozen=True)
class Progress:
    """Where a training stands: `epoch`, from 0, of `epochs`."""

    epoch: int
    epochs: int


@dataclass(frozen=True)
class Trained:
    """What a training leaves beside the network's last weights.

    history: a row per epoch: epoch (from 1), lr, the mean of each loss term, and what `validate` gave.
    best: the epoch (from 1) of the highest score on val, that `score`, and the network's `state` then; None without a
        validation.
    """

    history: list[dict[str, Any]]
    best: dict[str, Any] | None


Loss = Callable[[nn.Module, Batch, Progress], dict[str, torch.Tensor]]


def train(
    network: nn.Module,
    samples: Samples,
    loss: Loss,
    recipe: Params,
    checkpoint: Path,
    log: Callable[[int, dict[str, float]], None],
    validate: Callable[[], dict[str, float]] | None = None,
    after_epoch: Callable[[Progress], None] | None = None,
) -> Trained:
    """Trains `network` in place.

    Args:
        network: has an attribute `encoder`; it is moved to the device. Where the recipe averages weights (`ema`), it
            has the average of them during validation and in the end.
        samples: what the loader reads.
        loss: terms by name for a batch on the device, `loss` among them; all are means over images.
        recipe: the keys of `check.training.Optimisation`, without `augment`.
        checkpoint: written after every epoch; where it exists, training goes on after its last epoch, with the same
            result as if it had never stopped (of several processes, all then draw their dropout from one state). The
            caller removes it.
        log: called with the epoch, from 1, and the other values of its row, on the first process.
        validate: called after every `recipe.validate_every` epochs and the last, on the first process; the first of its
            values is the score by which the best epoch is chosen.
        after_epoch: called on every process at the end of each epoch, before its checkpoint is written.

    Raises:
        Fault: the loss is not finite, or a batch cannot be shared equally by the processes and its parts.
    """
    where = device()
    be_deterministic(samples.seed + distributed.rank())  # each process drops out other features
    network.to(where, memory_format=memory_format(where))
    machine = Machine(
        network,
        build_optimiser(network, recipe, fused=where.type == "cuda"),
        torch.amp.GradScaler(where.type, enabled=recipe.precision == "float16"),
        WeightAverage(network, recipe.ema),
    )
    rates = [group["lr"] for group in machine.optimiser.param_groups]
    history, best = resume(checkpoint, machine)
    wrapped = distributed.parallel(network)
    if recipe.compile:
        wrapped = torch.compile(wrapped)

    first = len(history)
    share = distributed.rank(), distributed.world_size()
    batches = EpochBatches(
        len(samples), recipe.batch_size, recipe.epochs, samples.seed, first, *share, recipe.accumulate
    )
    total = batches.steps_per_epoch * recipe.epochs
    stream = load(samples, batches, pin=where.type == "cuda")
    leads = distributed.rank() == 0
    with tqdm(
        total=total, initial=batches.steps_per_epoch * first, unit="batch", disable=None if leads else True
    ) as bar:
        for epoch in range(first, recipe.epochs):
            progress = Progress(epoch, recipe.epochs)
            network.train()
            if recipe.batch_norm == "frozen":
                freeze_batch_norm(network)
            sums: dict[str, torch.Tensor] = {}
            latest = torch.zeros(())
            for number in range(batches.steps_per_epoch):
                done = (epoch * batches.steps_per_epoch + number) / total
                factor = learning_rate_factor(recipe.schedule, recipe.warmup, done)
                for group, rate in zip(machine.optimiser.param_groups, rates, strict=True):
                    group["lr"] = rate * factor
                before, latest = latest, machine.step(wrapped, stream, loss, progress, recipe, sums)
                if number:  # the loss of the step before, which a GPU has ready by now
                    refuse_infinite(before, samples, batches, epoch, number - 1, checkpoint)
                bar.update()
            refuse_infinite(latest, samples, batches, epoch, batches.steps_per_epoch - 1, checkpoint)
            row: dict[str, Any] = {"epoch": epoch + 1, "lr": machine.optimiser.param_groups[0]["lr"]}
            for name, value in sums.items():
                row[name] = distributed.mean_over_processes(value / batches.steps_per_epoch).item()
            if after_epoch:
                after_epoch(progress)
            if leads and validate and ((epoch + 1) % recipe.validate_every == 0 or epoch + 1 == recipe.epochs):
                with machine.average.applied():
                    found = validate()
                    best = better(best, epoch + 1, next(iter(found.values())), network)
                row |= found
            history.append(row)
            if leads:
                bar.set_postfix({k: f"{v:.3g}" for k, v in row.items() if k not in ("epoch", "lr")})
                # in this order: a kill between the two records an epoch twice, the other way round not at all
                log(epoch + 1, {name: value for name, value in row.items() if name != "epoch"})
                save(checkpoint, machine, history, best)
            distributed.barrier()
    machine.average.apply()
    return Trained(history, best)


@dataclass(frozen=True)
class Machine:
    """What changes while a network learns, and is saved so that it can go on."""

    network: nn.Module
    optimiser: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    average: WeightAverage

    def step(
        self,
        wrapped: nn.Module,
        stream: Iterator[Batch],
        loss: Loss,
        progress: Progress,
        recipe: Params,
        sums: dict[str, torch.Tensor],
    ) -> torch.Tensor:
        """One step of the optimiser on the next batch, in its parts; adds the terms to `sums` and returns the loss."""
        where, cast = device(), PRECISIONS[recipe.precision]
        self.optimiser.zero_grad(set_to_none=True)
        whole = torch.zeros((), device=where)
        for _ in range(recipe.accumulate):
            batch = next(stream).to(where)
            with torch.autocast(where.type, cast, enabled=cast is not None):
                terms = loss(wrapped, batch, progress)
            self.scaler.scale(terms["loss"] / recipe.accumulate).backward()
            for name, value in terms.items():
                sums[name] = sums.get(name, 0) + value.detach() / recipe.accumulate
            whole += terms["loss"].detach()
        self.scaler.step(self.optimiser)
        self.scaler.update()
        self.average.update()
        return whole


def better(best: dict[str, Any] | None, epoch: int, score: float, network: nn.Module) -> dict[str, Any]:
    """The best epoch so far, see `Trained`; the earlier one of two that are equal."""
    if best and score <= best["score"]:
        return best
    state = {name: value.detach().cpu().clone() for name, value in network.state_dict().items()}
    return {"epoch": epoch, "score": score, "state": state}


def refuse_infinite(
    value: torch.Tensor, samples: Samples, batches: EpochBatches, epoch: int, number: int, checkpoint: Path
) -> None:
    """Ends a training whose loss is no number.

    Raises:
        Fault: `value` is not finite; the message has the epoch, the batch's ids and the last good state.
    """
    if math.isfinite(value.item()):
        return
    ids = [samples.ids[index] for index in batches.members(epoch, number)]
    more = f" and {len(ids) - NAMED} more" if len(ids) > NAMED else ""
    kept = f"; the state after epoch {epoch} is in {checkpoint}" if epoch else ""
    raise Fault(
        f"the loss is {value.item()} in epoch {epoch + 1}, batch {number + 1}, images {', '.join(ids[:NAMED])}{more}; "
        f"lower lr, lengthen warmup, or use float32 precision{kept}"
    )


def save(path: Path, machine: Machine, history: list[dict[str, Any]], best: dict[str, Any] | None) -> None:
    """Writes all that `resume` needs."""
    state = {
        "network": machine.network.state_dict(),
        "optimiser": machine.optimiser.state_dict(),
        "scaler": machine.scaler.state_dict(),
        "average": machine.average.state,
        "random": torch.get_rng_state(),
        "device_random": torch.cuda.get_rng_state() if torch.cuda.is_available() else None,
        "history": history,
        "best": best,
    }
    save_model(path, state)


def resume(path: Path, machine: Machine) -> tuple[list[dict[str, Any]], dict[str, Any] | None]:
    """Restores what `save` wrote and returns the rows and the best epoch so far; an absent file changes nothing.

    Raises:
        Fault: the file is damaged.
    """
    if not path.exists():
        return [], None
    state = read_model(path)
    machine.network.load_state_dict(state["network"])
    machine.optimiser.load_state_dict(state["optimiser"])
    machine.scaler.load_state_dict(state["scaler"])
    machine.average.restore(state["average"])
    torch.set_rng_state(state["random"])
    if state["device_random"] is not None and torch.cuda.is_available():  # dropout on a GPU draws from this one
        torch.cuda.set_rng_state(state["device_random"])
    # pickle writes a name once if all who use it share one object: others would tell of the interruption in the bytes
    best = state["best"] and {sys.intern(name): value for name, value in state["best"].items()}
    return state["history"], best
