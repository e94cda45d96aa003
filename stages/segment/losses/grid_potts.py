"""The grid Potts term: neighbouring pixels of like colour should have like labels."""

from __future__ import annotations

import torch

NEIGHBOURS = {4: ((0, 1), (1, 0)), 8: ((0, 1), (1, 0), (1, 1), (1, -1))}  # one (dy, dx) for each undirected edge
LEAST = 1e-6  # keeps the logarithms finite, at most 13.8, with gradient 0 below; float32 knows 1 - x no better


def cosine(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """a . b / (|a| |b|) along axis 1."""
    lengths = (one.square().sum(1) * other.square().sum(1)).clamp(min=LEAST**2).sqrt()
    return (one * other).sum(1) / lengths


RELAXATIONS = {
    "bilinear": lambda one, other: 1 - (one * other).sum(1),
    "quadratic": lambda one, other: (one - other).square().sum(1) / 2,
    "log_quadratic": lambda one, other: -(1 - (one - other).square().sum(1) / 2).clamp(min=LEAST).log(),
    "normalised_quadratic": lambda one, other: 1 - cosine(one, other),
    "collision": lambda one, other: -cosine(one, other).clamp(LEAST, 1).log(),
}


def pairs(tensor: torch.Tensor, dy: int, dx: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Two views of (..., H, W): each pixel and its neighbour (dy, dx) further, where both are in the image; dy >= 0."""
    height, width = tensor.shape[-2:]
    left, right = max(0, -dx), min(width, width - dx)
    return tensor[..., : height - dy, left:right], tensor[..., dy:, left + dx : right + dx]


def grid_potts(
    probabilities: torch.Tensor,
    images: torch.Tensor,
    valid: torch.Tensor,
    neighbours: int = 8,
    relaxation: str = "bilinear",
) -> torch.Tensor:
    """Mean over an image's grid edges of w_pq * d(S_p, S_q), then over images.

    w_pq = exp(-|I_p - I_q|^2 / (2 sigma^2)) / |p - q| with sigma^2 the image's mean of |I_p - I_q|^2 over its edges,
    and d the relaxation of the Potts model, which is 0 for equal certain labels and for different ones 1, or unbounded:

        bilinear               sum_k a_k (1 - b_k)
        quadratic              |a - b|^2 / 2
        log_quadratic          -ln(1 - |a - b|^2 / 2)
        normalised_quadratic   1 - a . b / (|a| |b|)
        collision              -ln(a . b / (|a| |b|)), the collision divergence

    All but bilinear are 0 wherever a = b, however uncertain. The last three are after Zhang and Boykov, "Soft
    Self-labeling and Potts Relaxations for Weakly-Supervised Segmentation", CVPR 2025, arXiv 2507.01721; the formulas
    are from a re-implementation by others, not checked against the paper. Arguments of the logarithm are at least
    1e-6, so these two end at 13.8 and have no gradient there.

    Weights, sigma and the division by the number of edges are those of Marin and Boykov, "Robust Trust Region for
    Weakly Supervised Segmentation" (ICCV 2021) and its public code; there the bilinear term is summed over both
    directions of an edge with the same weight, which for a simplex is the same number twice.

    Shape:
        probabilities: (B, K, H, W), a distribution over K at each pixel.
        images: (B, 3, H, W), any float or integer colours.
        valid: (B, H, W) bool; an edge counts where both ends are valid.
        returns a scalar float32, in 0..1, or 0..13.8 for the two logarithms.

    Raises:
        KeyError: there is no such neighbourhood or relaxation.

    An image without a single valid edge contributes 0; one of uniform colour has w_pq = 1 / |p - q|.
    """
    probabilities, images = probabilities.float(), images.float()
    edges = NEIGHBOURS[neighbours]
    counts, squares, masks = 0, 0, []
    differences = []
    for edge in edges:
        one, other = pairs(images, *edge)
        mask = torch.logical_and(*pairs(valid, *edge))
        difference = (one - other).square().sum(1)
        masks.append(mask)
        differences.append(difference)
        counts = counts + mask.sum((1, 2))
        squares = squares + (difference * mask).sum((1, 2))
    counts = counts.clamp(min=1)
    spread = (2 * squares / counts).clamp(min=1e-6)[:, None, None]  # 2 sigma^2
    energy = 0
    for (dy, dx), mask, difference in zip(edges, masks, differences, strict=True):
        weight = torch.exp(-difference / spread) * mask / (dy * dy + dx * dx) ** 0.5
        one, other = pairs(probabilities, dy, dx)
        energy = energy + (weight * RELAXATIONS[relaxation](one, other)).sum((1, 2))
    return (energy / counts).mean()
