"""The dense CRF loss: pixels of like colour, near or far, should have like labels; and its gated form.

Tang, Perazzi, Djelouah, Ben Ayed, Schroers & Boykov, "On Regularized Losses for Weakly-supervised CNN Segmentation",
ECCV 2018, arXiv 1803.09569: the bilinear relaxation of the Potts model over all pairs of an image's pixels,

    R(S) = sum_k S_k' W (1 - S_k),   W_pq = exp( -|x_p - x_q|^2 / (2 xy^2) - |I_p - I_q|^2 / (2 rgb^2) )

with S_k the map of class k's probabilities, x positions and I colours. The gated form weighs each pixel p with a gate
G_p: sum_k sum_p G_p S_pk (W (1 - S_k))_p. It is that of Zhang, Xiao, Wei, Sun & Huang, "Reliability Does Matter: An
End-to-End Weakly Supervised Semantic Segmentation Approach", AAAI 2020, arXiv 1911.08039.

Normalisations, means over the images of a batch:

    authors     -1/B sum_k sum_p G_p S_pk (W S_k)_p. The linear part of R is left out: without a gate it is the sum of
                W, a constant. Not divided by anything: it grows with the square of the number of pixels, so the public
                codes' weights (2e-9 and 1e-7) hold for their resolution (crops of 513 and 321 pixels at scale 1/2,
                rgb 15, xy 100), and with a lattice of this scale, whose sums are about half the exact ones (measured on
                32 x 32 pictures: 0.52 to 0.59). Values are negative.
    per_pixel   sum_k sum_p G_p S_pk (W (1 - S_k))_p / sum_pq W_pq: the mean over pairs of pixels of 1 - S_p . S_q,
                weighted by W; in 0..1 at any resolution. Divided by what W itself sums to in this image, it does not
                depend on the lattice's constant either.

Without a gate the gradient is the exact one of the value, -(W + W') S: the lattice's W is symmetric only up to the
order of its axes. A gate is a constant, and with one the gradient is the authors', 2 G_p (W S_k)_p for the quadratic
part, which is not that of the value (G W S + W' (G S)): a pixel is moved by all others, as far as its own gate lets it.

Differences from the public codes: both loss and gradient leave out padding altogether, where theirs keeps its colours
in the lattice; a coarse pixel counts where all that its probabilities are interpolated from is valid; and the gate is
scaled down (nearest) where theirs is computed from the scaled probabilities.
"""

from __future__ import annotations

import torch
from torch.nn import functional as F

from stages.core.filters.permutohedral import Lattice, image_features

NORMALISATIONS = ("authors", "per_pixel")
WHOLE = 1 - 1e-4  # of a coarse pixel's interpolation weights on valid pixels, up to rounding


def dense_energy(
    probabilities: torch.Tensor,
    images: torch.Tensor,
    valid: torch.Tensor,
    xy: float,
    rgb: float,
    scale: float,
    gate: torch.Tensor | None = None,
    normalisation: str = "authors",
) -> torch.Tensor:
    """The dense CRF loss, see the module; computed in float32, also under autocast.

    W is approximated on a permutohedral lattice (`core.filters.permutohedral`), built anew for each batch.

    Args:
        xy: standard deviation of positions, in pixels of `images`.
        rgb: standard deviation of colours, in grey levels.
        scale: in (0, 1]; the pairs are those of the image at this scale, colours nearest, probabilities bilinear.
        normalisation: `authors` or `per_pixel`.

    Shape:
        probabilities: (B, K, H, W), a distribution over K at each pixel.
        images: (B, 3, H, W), colours in 0..255.
        valid: (B, H, W) bool; the others are in no pair and get no gradient.
        gate: (B, H, W) in 0..1, or None for 1 everywhere; it gets no gradient.
        returns a scalar float32; an image without valid pixels contributes 0.

    Raises:
        ValueError: there is no such normalisation.
    """
    if normalisation not in NORMALISATIONS:
        raise ValueError(f"no normalisation {normalisation!r}; there are {', '.join(NORMALISATIONS)}")
    with torch.autocast(probabilities.device.type, enabled=False):
        scores, colours, whole, gates = scale_down(probabilities, images, valid, gate, scale)
        number, row, column = whole.nonzero(as_tuple=True)
        if number.numel() == 0:
            return scores.sum() * 0
        features = image_features(colours, xy * scale, rgb)[number, row, column]
        lattice = Lattice(features, image=number)
        flat = scores.detach().permute(0, 2, 3, 1)
        values = flat[number, row, column]

        def on_the_grid(columns: torch.Tensor) -> torch.Tensor:
            """Columns of the list of valid pixels as maps (B, columns, h, w), 0 elsewhere."""
            result = columns.new_zeros((*whole.shape, columns.shape[1]))
            result[number, row, column] = columns
            return result.permute(0, 3, 1, 2)

        # The loss is quadratic: its value and its gradient are both had from W S, and S itself is only multiplied.
        message = on_the_grid(lattice.apply(values))
        quadratic = gates * message
        both = 2 * quadratic if gate is not None else message + on_the_grid(lattice.apply(values, reverse=True))
        if normalisation == "authors":
            linear, totals = 0, 1
        else:
            degree = on_the_grid(lattice.apply(torch.ones_like(values[:, :1])))
            linear = gates * degree
            totals = degree.sum((1, 2, 3), keepdim=True).clamp(min=torch.finfo(torch.float32).tiny)
        value = (scores.detach() * ((linear - quadratic) / totals)).sum()
        slope = (scores * ((linear - both) / totals)).sum()
        return (value + (slope - slope.detach())) / len(scores)


def scale_down(
    probabilities: torch.Tensor, images: torch.Tensor, valid: torch.Tensor, gate: torch.Tensor | None, scale: float
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """The arguments of `dense_energy` at `scale`, of at least one pixel.

    Returns:
        probabilities (B, K, h, w) float32, images (B, 3, h, w) float32, valid (B, h, w) bool, and gates (B, 1, h, w)
        float32, a constant.
    """
    size = [max(1, int(side * scale)) for side in valid.shape[1:]]
    scores = F.interpolate(probabilities.float(), size, mode="bilinear", align_corners=False)
    colours = F.interpolate(images.float(), size)
    whole = F.interpolate(valid[:, None].float(), size, mode="bilinear", align_corners=False)[:, 0] >= WHOLE
    if gate is None:
        return scores, colours, whole, scores.new_ones(())
    return scores, colours, whole, F.interpolate(gate.detach()[:, None].float(), size)
