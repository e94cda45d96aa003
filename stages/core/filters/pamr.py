"""Pixel-adaptive mask refinement: masks flow to neighbours of like colour, without training.

`pamr`: Araslanov & Roth, "Single-Stage Semantic Segmentation from Image Labels", CVPR 2020, arXiv 2005.08104. With the
eight neighbours q of pixel p at each dilation, channels c and masks m,

    k_pq = -mean_c |I_pc - I_qc| / (0.1 sigma_pc),   alpha_p = softmax_q k_pq,   m_p  <-  sum_q alpha_pq m_q

where sigma_pc is the standard deviation of a channel over the windows around p, and the border is repeated.

`par` is its position-aware variant of AFA (Ru et al., CVPR 2022, arXiv 2203.02664): the colour term is squared, with
0.3 in place of 0.1, and a term of the same form in the distance is added with weight 0.01. Its code lets the weights
sum to 1.01; here they are divided by their sum, so that masks keep their range.
"""

from __future__ import annotations

import torch
from torch.nn import functional as F

DILATIONS = (1, 2, 4, 8, 12, 24)
EPSILON = 1e-8
KERNELS = ("pamr", "par")
COLOUR_WIDTH = {"pamr": 0.1, "par": 0.3}
POSITION_WEIGHT = 0.01
OFFSETS = tuple((dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1) if (dy, dx) != (0, 0))


def neighbours(planes: torch.Tensor, dilation: int) -> list[torch.Tensor]:
    """The eight neighbours of each pixel at a distance, the border repeated: views like `planes` (B, C, H, W)."""
    height, width = planes.shape[2:]
    padded = F.pad(planes, (dilation,) * 4, mode="replicate")
    return [padded[:, :, dilation * (1 + dy) :, dilation * (1 + dx) :][:, :, :height, :width] for dy, dx in OFFSETS]


def affinity(images: torch.Tensor, dilations: tuple[int, ...] = DILATIONS, kernel: str = "pamr") -> torch.Tensor:
    """The weights of each pixel's neighbours, (B, 8 len(dilations), H, W), which sum to 1 over them.

    Args:
        images: (B, 3, H, W) colours, on any scale: differences are divided by their local deviation.
        dilations: distances of the neighbours in pixels; they come dilation by dilation, in the order of `OFFSETS`.
        kernel: `pamr` or `par`.
    """
    images = images.float()
    around = [neighbours(images, dilation) for dilation in dilations]
    count = 9 * len(dilations)  # the pixel itself counts once for each window, as in the authors' code
    mean = (sum(sum(window) for window in around) + len(dilations) * images) / count
    square = sum(sum((view - mean).square() for view in window) for window in around)
    deviation = ((square + len(dilations) * (images - mean).square()) / (count - 1)).sqrt()
    width = COLOUR_WIDTH[kernel] * deviation + EPSILON
    differences = torch.stack([((view - images).abs() / width) for window in around for view in window], 1)
    if kernel == "pamr":
        return torch.softmax(-differences.mean(2), 1)
    distance = torch.tensor([d * (dy * dy + dx * dx) ** 0.5 for d in dilations for dy, dx in OFFSETS])
    near = torch.softmax(-(distance / (COLOUR_WIDTH[kernel] * distance.std() + EPSILON)).square(), 0)
    like = torch.softmax(-differences.square().mean(2), 1)
    return (like + POSITION_WEIGHT * near.to(images.device)[:, None, None]) / (1 + POSITION_WEIGHT)


@torch.no_grad()
def refine_masks(
    images: torch.Tensor,
    masks: torch.Tensor,
    iterations: int = 10,
    dilations: tuple[int, ...] = DILATIONS,
    kernel: str = "pamr",
) -> torch.Tensor:
    """Masks (B, K, H, W) float after some rounds of averaging over neighbours of like colour.

    A mask's range stays what it is, and masks that sum to 1 at each pixel still do.

    Args:
        images: (B, 3, H, W) colours, at the masks' resolution.
        masks: (B, K, H, W).
        iterations, dilations, kernel: see `affinity`.
    """
    weights = affinity(images, dilations, kernel)
    for _ in range(iterations):
        views = (view for dilation in dilations for view in neighbours(masks, dilation))
        result = torch.zeros_like(masks)
        for number, view in enumerate(views):
            result.addcmul_(weights[:, number, None], view)
        masks = result
    return masks
