"""Elastic weight consolidation: what a first task's parameters matter, they keep in the second.

Kirkpatrick et al., "Overcoming catastrophic forgetting in neural networks", PNAS 2017, arXiv 1612.00796, equation 3:

    L(theta) = L_B(theta) + lambda * sum_i F_i (theta_i - theta_A,i)^2

with theta_A the parameters at the end of task A and F the diagonal of the Fisher information of task A there.

Differences from the paper: lambda stands without its 1/2, as in the code of Mun et al., arXiv 2309.14117, so half the
paper's lambda is the same. F is the empirical one, of the labels of the data and not of labels drawn from the network.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import nn

from stages.core.distributed import mean_over_processes, rank, world_size

DECAY = 0.1  # of the running average; its terms older than MEMORY batches are below float32's smallest number
MEMORY = 46


class Consolidated(nn.Module):
    """A segmenter that also says how far its parameters are from those of task A.

    The distance is measured in here, on the segmenter's own parameters: whatever wraps this module (DataParallel, DDP,
    torch.compile) and renames its parameters, the anchor stays beside them. In the code of Mun et al. the names do not
    match under DataParallel and the penalty is always 0.

    Buffers, saved with the state and restored from it: `anchor` and `fisher`, (P,) float32 over all trainable
    parameters one after the other, in the order of `segmenter.parameters()`. The Fisher is 0 until the end of task A,
    and so is the penalty.
    """

    def __init__(self, segmenter: nn.Module) -> None:
        super().__init__()
        self.segmenter = segmenter
        parameters = trainable(segmenter)
        zeros = torch.zeros(sum(p.numel() for p in parameters), device=parameters[0].device)
        self.register_buffer("anchor", zeros)
        self.register_buffer("fisher", zeros.clone())
        # Equal on all processes by themselves; DDP would send them, twice the network's size, before every step.
        self._ddp_params_and_buffers_to_ignore = ["anchor", "fisher"]

    @property
    def encoder(self) -> nn.Module:
        """The segmenter's encoder."""
        return self.segmenter.encoder

    def forward(self, images: torch.Tensor, valid: torch.Tensor | None = None) -> tuple[torch.Tensor, torch.Tensor]:
        """The segmenter's output for `images` alone and `penalty`; `valid` is what every trained network is given."""
        return self.segmenter(images), self.penalty()

    def penalty(self) -> torch.Tensor:
        """sum_i F_i (theta_i - theta_A,i)^2 in float32, autocast or not."""
        with torch.autocast(self.anchor.device.type, enabled=False):
            return (self.fisher * (flat(trainable(self.segmenter)) - self.anchor).square()).sum()

    def consolidate(self, fisher: torch.Tensor) -> None:
        """Ends task A: the parameters as they are become the anchor, `fisher` (P,) their weights."""
        with torch.no_grad():
            self.anchor.copy_(flat(trainable(self.segmenter)))
            self.fisher.copy_(fisher)


def trainable(network: nn.Module) -> list[nn.Parameter]:
    """The floating-point parameters that are trained, in their order in the network."""
    return [p for p in network.parameters() if p.requires_grad and p.is_floating_point()]


def flat(tensors: Iterable[torch.Tensor]) -> torch.Tensor:
    """All values of several tensors one after the other, (P,) float32."""
    return torch.cat([tensor.reshape(-1).float() for tensor in tensors])


def fisher_diagonal(
    parameters: Sequence[torch.Tensor],
    loss: Callable[[list[int]], torch.Tensor],
    order: Sequence[int],
    kind: str,
    batch_size: int,
) -> torch.Tensor:
    """The diagonal of the empirical Fisher information, (P,) float32, by one pass over `order`.

    With g_t the gradient of `loss` on the t-th of T batches:

    - `per_sample`: the mean of g_t^2 over batches of one sample, whatever `batch_size`. This is the Fisher information.
    - `batch`: the mean of g_t^2 over batches of `batch_size`; for B equal samples the same as `per_sample`, for B
      independent ones near an optimum about 1 / B of it. Avalanche's.
    - `running`: F <- 0.9 g_t^2 + 0.1 F over those batches from F = 1, hence little more than the last two. It is the
      recursion of the code of Mun et al., which runs it during training on the gradients that accumulate for a step;
      here the parameters are those of the end of task A for every batch.

    The last, smaller batch is left out unless it is the only one. Several processes each take every n-th batch.

    Args:
        parameters: what the gradient is taken of; a parameter that the loss does not reach has F = 0 (in `running`,
            what is left of the initial 1).
        loss: minus the mean log-likelihood of the samples of the given indices, a scalar.
        order: indices of samples.
        kind: one of these three.
        batch_size: samples of a batch.
    """
    size = 1 if kind == "per_sample" else min(batch_size, len(order))
    count = len(order) // size
    steps = range(max(0, count - MEMORY) if kind == "running" else 0, count)
    total = torch.zeros_like(flat(parameters))
    for step in steps[rank() :: world_size()]:
        batch = [int(index) for index in order[step * size : (step + 1) * size]]
        gradients = torch.autograd.grad(loss(batch), parameters, allow_unused=True, materialize_grads=True)
        factor = (1 - DECAY) * DECAY ** (count - 1 - step) if kind == "running" else 1 / count
        total += factor * flat(gradients).square()
    total = mean_over_processes(total) * world_size()
    return total + DECAY**count if kind == "running" else total


def normalised(fisher: torch.Tensor, parameters: Sequence[torch.Tensor], how: str) -> torch.Tensor:
    """A Fisher diagonal (P,) scaled to at most 1, so that lambda does not depend on the loss's scale.

    `none` leaves it; `tensor` maps each parameter tensor's values to 0..1 by (F - min) / (max - min), as the code of
    Mun et al. does; `all` divides by the largest value of the network. A tensor (`tensor`) whose values are all equal
    becomes 0, as does a network (`all`) that is 0.
    """
    tiny = torch.finfo(fisher.dtype).tiny
    if how == "all":
        return fisher / fisher.max().clamp(min=tiny)
    if how == "tensor":
        parts = fisher.split([parameter.numel() for parameter in parameters])
        return torch.cat([(part - part.min()) / (part.max() - part.min()).clamp(min=tiny) for part in parts])
    return fisher
