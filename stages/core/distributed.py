"""Plain data parallelism: one process per GPU when NPROC is over 1, nothing at all otherwise."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import nn

from stages.core.device import use_gpu
from stages.core.environment import count
from stages.core.faults import Fault


def launch(work: Callable[..., None], *args: Any) -> None:
    """Calls `work(*args)` here, or in NPROC processes that form one torch.distributed group.

    NPROC is environment, not a parameter: the global batch stays the same and is divided among the processes.

    Raises:
        Fault: NPROC is not a positive whole number, or a process raised one.
    """
    processes = count("NPROC", 1, "processes that train together")
    if processes == 1:
        work(*args)
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        try:
            torch.multiprocessing.spawn(_member, (processes, folder, work, args), nprocs=processes)
        except torch.multiprocessing.ProcessExitedException:
            faults = sorted(folder.glob("fault-*"))
            if not faults:
                raise
            raise Fault(faults[0].read_text()) from None


def _member(rank: int, processes: int, folder: Path, work: Callable[..., None], args: tuple) -> None:
    cuda = torch.cuda.is_available()
    if cuda:
        use_gpu(rank % torch.cuda.device_count())
    else:
        torch.set_num_threads(max(1, torch.get_num_threads() // processes))
    rendezvous = f"file://{folder}/rendezvous"
    dist.init_process_group("nccl" if cuda else "gloo", init_method=rendezvous, rank=rank, world_size=processes)
    try:
        work(*args)
    except Fault as fault:  # its message crosses the process's end in a file
        (folder / f"fault-{rank}").write_text(str(fault))
        sys.exit(1)
    finally:
        dist.destroy_process_group()


def rank() -> int:
    """This process's number, 0 when there is one."""
    return dist.get_rank() if dist.is_initialized() else 0


def world_size() -> int:
    """Number of processes that train together."""
    return dist.get_world_size() if dist.is_initialized() else 1


def barrier() -> None:
    """Waits for all processes."""
    if dist.is_initialized():
        dist.barrier()


def mean_over_processes(value: torch.Tensor) -> torch.Tensor:
    """The mean of a tensor over the processes, in place."""
    if dist.is_initialized():
        dist.all_reduce(value)
        value /= world_size()
    return value


def parallel(network: nn.Module) -> nn.Module:
    """The network itself, or wrapped so that its gradients are averaged over the processes.

    Batch normalisation uses the statistics of the global batch on GPUs; on CPUs, where torch has no synchronised
    form, those of each process's share.
    """
    if not dist.is_initialized():
        return network
    where = next(network.parameters()).device
    if where.type == "cuda":
        network = nn.SyncBatchNorm.convert_sync_batchnorm(network)
        return nn.parallel.DistributedDataParallel(network, device_ids=[where.index])
    return nn.parallel.DistributedDataParallel(network)
