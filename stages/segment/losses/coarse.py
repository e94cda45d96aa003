"""The same image at a coarser grid, for losses that need no single pixel."""

from __future__ import annotations

import torch
from torch.nn import functional as F


def coarsen(
    logits: torch.Tensor, images: torch.Tensor, valid: torch.Tensor, stride: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Means over cells of `stride` x `stride` pixels; a cell is valid where all its pixels are.

    The losses on average predictions and the grid Potts term cost more than a slim network at full resolution, and a
    grid with wider cells reaches further with its 8 neighbours. A rest smaller than a cell is left out.

    Shape:
        logits: (B, K, H, W), images: (B, 3, H, W), valid: (B, H, W) bool; each with H // stride and W // stride after.
    """
    if stride == 1:
        return logits, images, valid
    whole = F.avg_pool2d(valid[:, None].float(), stride)[:, 0] == 1
    return F.avg_pool2d(logits, stride), F.avg_pool2d(images.float(), stride), whole
