"""The loss of the boundary network: two pixels have one label if no boundary lies between them.

Ahn, Cho & Kwak, CVPR 2019, arXiv 1904.05044, the loss of class boundary detection. For pixels i and j less than
`radius` apart and an edge map B in 0..1,

    a_ij = 1 - max_{k on the path from i to j} B_k

and with P+_bg, P+_fg and P- the pairs of confident pixels that are both background, both of one other class, and of two
classes,

    L = (mean_{P+_bg} -ln a_ij / 2 + mean_{P+_fg} -ln a_ij / 2 + mean_{P-} -ln(1 - a_ij)) / 2

Differences from the paper: the half before the sum and the 1e-5 added to a_ij and to 1 - a_ij in the logarithms are of
the authors' code; the pairs are all those of the map, where the code leaves out some near its border; and the loss of
the displacement field is left out. A mean over no pairs is 0. A mean is over the pairs of the whole batch, in data
parallelism over those of a process's share.
"""

from __future__ import annotations

import torch
from torch.nn import functional as F

from stages.core.dataset import VOID
from stages.core.filters.paths import pairs

EPSILON = 1e-5


def pair_affinity(edges: torch.Tensor, radius: int) -> torch.Tensor:
    """Affinities (B, P) in 0..1 of all pairs of edge maps (B, h, w) in 0..1, offset by offset."""
    found = []
    for pair in pairs(radius, *edges.shape[1:]):
        between = torch.stack([edges[:, rows, columns] for rows, columns in pair.between])
        found.append(1 - between.max(0).values.flatten(1))
    return torch.cat(found, 1)


def pair_labels(labels: torch.Tensor, radius: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The labels of either end, (B, P) each, of all pairs of label maps (B, h, w), in the order of `pair_affinity`."""
    ends = [], []
    for pair in pairs(radius, *labels.shape[1:]):
        for end, (rows, columns) in zip(ends, (pair.first, pair.second), strict=True):
            end.append(labels[:, rows, columns].flatten(1))
    return torch.cat(ends[0], 1), torch.cat(ends[1], 1)


def pair_loss(edges: torch.Tensor, labels: torch.Tensor, radius: int, background: bool) -> dict[str, torch.Tensor]:
    """The loss and its three means: of pairs of `background`, of pairs in the `foreground`, and of pairs `apart`.

    Args:
        edges: (B, h, w) in 0..1.
        labels: (B, h, w) int64, 255 void.
        radius: pairs are less than this far apart, in pixels of the edge map; the map holds two pixels at least.
        background: label 0 is the background; without one all pairs of one label are `foreground`.
    """
    affinity = pair_affinity(edges, radius)
    first, second = pair_labels(labels, radius)
    known = (first != VOID) & (second != VOID)
    together = known & (first == second)
    empty = together & (first == 0) if background else torch.zeros_like(together)
    near, far = -torch.log(affinity + EPSILON), -torch.log(1 + EPSILON - affinity)
    terms = {
        "background": mean_over(near, empty),
        "foreground": mean_over(near, together & ~empty),
        "apart": mean_over(far, known & ~together),
    }
    positive = (terms["background"] + terms["foreground"]) / 2
    return {"loss": (positive + terms["apart"]) / 2, **terms}


def mean_over(values: torch.Tensor, chosen: torch.Tensor) -> torch.Tensor:
    """The mean of the chosen values; 0 where there are none."""
    return torch.where(chosen, values, 0).sum() / chosen.sum().clamp(min=1)


def at_size(labels: torch.Tensor, size: torch.Size) -> torch.Tensor:
    """Label maps (B, H, W) at another size (h, w), nearest."""
    return F.interpolate(labels[:, None].float(), size, mode="nearest-exact")[:, 0].long()
