"""Where the work runs; it may change the rounding of a result, never more, so it is no parameter."""

from __future__ import annotations

import os

import torch


def device() -> torch.device:
    """`SIZEWISE_DEVICE`, else this process's GPU, else the CPU."""
    name = os.environ.get("SIZEWISE_DEVICE")
    if name:
        return torch.device(name)
    if torch.cuda.is_available():
        return torch.device("cuda", torch.cuda.current_device())
    return torch.device("cpu")


def memory_format(where: torch.device) -> torch.memory_format:
    """Channels last on a GPU, whose convolutions are faster so; the ordinary format on a CPU."""
    return torch.channels_last if where.type == "cuda" else torch.contiguous_format


def be_deterministic(seed: int) -> None:
    """Seeds torch and asks for deterministic kernels; on a GPU, kernels without one are left as they are."""
    torch.manual_seed(seed)
    torch.use_deterministic_algorithms(True, warn_only=torch.cuda.is_available())
    torch.backends.cudnn.benchmark = False
