"""Where the work runs; it may change the rounding of a result, never more, so it is no parameter."""

from __future__ import annotations

import os
from collections.abc import Sequence
from itertools import count
from pathlib import Path

import torch
from filelock import FileLock, Timeout

CLAIMS = Path(".scratch/gpus")  # of the main repository, so that its queued experiments see one another

_claim: list[FileLock] = []  # this process's; the system lets go of it when the process ends


def device() -> torch.device:
    """`SIZEWISE_DEVICE`, else this process's GPU, else the CPU.

    A process that has no GPU yet claims one: of several that work at once, each has its own while there are enough.
    """
    name = os.environ.get("SIZEWISE_DEVICE")
    if name:
        return torch.device(name)
    if not torch.cuda.is_available():
        return torch.device("cpu")
    if not _claim:
        use_gpu(None)
    return torch.device("cuda", torch.cuda.current_device())


def use_gpu(place: int | None) -> None:
    """Claims a GPU for this process: that of a place among the visible ones, or whichever is least claimed."""
    names = [str(torch.cuda.get_device_properties(number).uuid) for number in range(torch.cuda.device_count())]
    wanted = range(len(names)) if place is None else [place]
    chosen, lock = claim([names[number] for number in wanted])
    torch.cuda.set_device(wanted[chosen])
    _claim.append(lock)


def claim(names: Sequence[str]) -> tuple[int, FileLock]:
    """The place of the GPU with the fewest claims, the first of several, and the claim, held as long as the lock.

    names: of the GPUs, the same in every process.
    """
    folder = Path(os.environ.get("DVC_ROOT") or ".").resolve() / CLAIMS
    folder.mkdir(parents=True, exist_ok=True)
    for number in count():
        for place, name in enumerate(names):
            lock = FileLock(folder / f"{name}.{number}.lock", timeout=0)
            try:
                lock.acquire()
            except Timeout:
                continue
            return place, lock
    raise AssertionError("unreachable: a new number is free")


def memory_format(where: torch.device) -> torch.memory_format:
    """Channels last on a GPU, whose convolutions are faster so; the ordinary format on a CPU."""
    return torch.channels_last if where.type == "cuda" else torch.contiguous_format


def be_deterministic(seed: int) -> None:
    """Seeds torch and asks for deterministic kernels; on a GPU, kernels without one are left as they are."""
    torch.manual_seed(seed)
    torch.use_deterministic_algorithms(True, warn_only=torch.cuda.is_available())
    torch.backends.cudnn.benchmark = False
