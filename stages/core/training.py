"""The training loop of the classifier and of every segmentation method: schedule, precision, checkpoint and resume."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn
from tqdm import tqdm

from stages.core import distributed
from stages.core.device import be_deterministic, device, memory_format
from stages.core.faults import Fault
from stages.core.files import atomic
from stages.core.networks.encoders import freeze_batch_norm
from stages.core.params import Params
from stages.core.samples import Batch, EpochBatches, Samples, load

Loss = Callable[[nn.Module, Batch], dict[str, torch.Tensor]]
PRECISIONS = {"float32": None, "bfloat16": torch.bfloat16, "float16": torch.float16}


def learning_rate_factor(schedule: str, warmup: float, progress: float) -> float:
    """The factor on the learning rate after `progress` (0..1) of the steps.

    It rises linearly over the first `warmup` share, then falls: `poly` as (1 - t)^0.9 (DeepLab, arXiv 1606.00915),
    `one_cycle` as half a cosine (Smith and Topin, arXiv 1708.07120; the momentum stays fixed), t from the end of the
    warm-up to the end.
    """
    if progress < warmup:
        return max(progress / warmup, 1e-3)
    t = (progress - warmup) / (1 - warmup)
    return (1 - t) ** 0.9 if schedule == "poly" else 0.5 * (1 + math.cos(math.pi * t))


def build_optimiser(network: nn.Module, recipe: Params) -> torch.optim.Optimizer:
    """AdamW or SGD; the encoder learns at `lr`, everything else at `lr * head_lr_factor`."""
    encoder = {id(parameter) for parameter in network.encoder.parameters()}
    groups = [
        {"params": [p for p in network.parameters() if id(p) in encoder], "lr": recipe.lr},
        {"params": [p for p in network.parameters() if id(p) not in encoder], "lr": recipe.lr * recipe.head_lr_factor},
    ]
    if recipe.optimizer == "adamw":
        return torch.optim.AdamW(groups, betas=(recipe.momentum, 0.999), weight_decay=recipe.weight_decay)
    return torch.optim.SGD(groups, momentum=recipe.momentum, weight_decay=recipe.weight_decay)


def train(
    network: nn.Module,
    samples: Samples,
    loss: Loss,
    recipe: Params,
    checkpoint: Path,
    log: Callable[[int, dict[str, float]], None],
    validate: Callable[[nn.Module], dict[str, float]] | None = None,
) -> list[dict[str, Any]]:
    """Trains `network` in place and returns one row per epoch: epoch, lr, the mean of each loss term, validation.

    Args:
        network: has an attribute `encoder`; it is moved to the device.
        samples: what the loader reads.
        loss: terms by name for a batch on the device, `loss` among them; all are means over images.
        recipe: epochs, batch_size, optimizer, lr, head_lr_factor, momentum, weight_decay, schedule, warmup, precision,
            batch_norm.
        checkpoint: written after every epoch; where it exists, training goes on after its last epoch, with the same
            result as if it had never stopped. The caller removes it.
        log: called with the epoch, from 1, and the other values of its row, on the first process.
        validate: called after every `recipe.validate_every` epochs and the last, on the first process.

    Raises:
        Fault: the loss is not finite.
    """
    where = device()
    be_deterministic(samples.seed)
    network.to(where, memory_format=memory_format(where))
    optimiser = build_optimiser(network, recipe)
    cast = PRECISIONS[recipe.precision]
    scaler = torch.amp.GradScaler(where.type, enabled=cast is torch.float16)
    history = resume(checkpoint, network, optimiser, scaler)
    wrapped = distributed.parallel(network)

    batches = EpochBatches(
        len(samples),
        recipe.batch_size,
        recipe.epochs,
        samples.seed,
        len(history),
        distributed.rank(),
        distributed.world_size(),
    )
    base = [group["lr"] for group in build_optimiser(network, recipe).param_groups]
    total = batches.batches_per_epoch * recipe.epochs
    step = batches.batches_per_epoch * len(history)
    stream = load(samples, batches, pin=where.type == "cuda")
    bar = tqdm(total=total, initial=step, unit="batch", disable=None if distributed.rank() == 0 else True)
    for epoch in range(len(history), recipe.epochs):
        network.train()
        if recipe.batch_norm == "frozen":
            freeze_batch_norm(network)
        sums: dict[str, torch.Tensor] = {}
        for _ in range(batches.batches_per_epoch):
            factor = learning_rate_factor(recipe.schedule, recipe.warmup, step / total)
            for group, rate in zip(optimiser.param_groups, base, strict=True):
                group["lr"] = rate * factor
            with torch.autocast(where.type, cast, enabled=cast is not None):
                terms = loss(wrapped, next(stream).to(where))
            optimiser.zero_grad(set_to_none=True)
            scaler.scale(terms["loss"]).backward()
            scaler.step(optimiser)
            scaler.update()
            for name, value in terms.items():
                sums[name] = sums.get(name, 0) + value.detach()
            step += 1
            bar.update()
        row: dict[str, Any] = {"epoch": epoch + 1, "lr": optimiser.param_groups[0]["lr"]}
        for name, value in sums.items():
            row[name] = distributed.mean_over_processes(value / batches.batches_per_epoch).item()
        if not math.isfinite(row["loss"]):
            raise Fault(
                f"the loss is {row['loss']} in epoch {epoch + 1}; lower lr, lengthen warmup, or use float32 precision"
            )
        due = (epoch + 1) % recipe.validate_every == 0 or epoch + 1 == recipe.epochs if validate else False
        if due and distributed.rank() == 0:
            row |= validate(network)
        history.append(row)
        if distributed.rank() == 0:
            bar.set_postfix({k: f"{v:.3g}" for k, v in row.items() if k not in ("epoch", "lr")})
            # in this order: a kill between the two records an epoch twice, the other way round not at all
            log(epoch + 1, {name: value for name, value in row.items() if name != "epoch"})
            save(checkpoint, network, optimiser, scaler, history)
        distributed.barrier()
    bar.close()
    return history


def save(
    path: Path, network: nn.Module, optimiser: torch.optim.Optimizer, scaler: torch.amp.GradScaler, history: list
) -> None:
    """Writes all that `resume` needs."""
    state = {
        "network": network.state_dict(),
        "optimiser": optimiser.state_dict(),
        "scaler": scaler.state_dict(),
        "random": torch.get_rng_state(),
        "history": history,
    }
    save_model(path, state)


def resume(
    path: Path, network: nn.Module, optimiser: torch.optim.Optimizer, scaler: torch.amp.GradScaler
) -> list[dict[str, Any]]:
    """Restores what `save` wrote and returns the rows so far; an absent file changes nothing."""
    if not path.exists():
        return []
    state = torch.load(path, map_location="cpu", weights_only=True)
    network.load_state_dict(state["network"])
    optimiser.load_state_dict(state["optimiser"])
    scaler.load_state_dict(state["scaler"])
    torch.set_rng_state(state["random"])
    return state["history"]


def save_model(path: Path, state: dict[str, Any]) -> None:
    """`torch.save`, atomically, through an open file: to a path it would store the file's name in the bytes."""
    with atomic(path) as temporary, temporary.open("wb") as file:
        torch.save(state, file)
