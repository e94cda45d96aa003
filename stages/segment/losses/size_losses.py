"""Ways to compare an image's average prediction with its size target, by name.

Every function takes ln S (B, K), S being the average prediction (see `average_prediction.log_average_prediction`), and
the size targets v (B, K), rows that sum to 1; it returns the mean over images of a sum over classes, a scalar. Both are
shares of the image, in 0..1, and so is every bound; nothing depends on the number of pixels.
"""

from __future__ import annotations

import torch
from torch.nn import functional as F

FLOOR = 1e-3  # of a size in the reverse divergence: a tenth of a percent of the image


def forward_kl(log_average: torch.Tensor, sizes: torch.Tensor) -> torch.Tensor:
    """KL(v || S) = sum_k v_k ln(v_k / S_k), at least 0; terms with v_k = 0 are 0.

    The size loss of Fan, Zhang and Boykov, arXiv 2503.06954. It is zero-avoiding: it grows without bound as a present
    class is forgotten, with a gradient on its logit that goes to -v_k.
    """
    log_sizes = sizes.clamp(min=torch.finfo(sizes.dtype).tiny).log()
    return (sizes * (log_sizes - log_average)).sum(1).mean()


def reverse_kl(log_average: torch.Tensor, sizes: torch.Tensor, floor: float = FLOOR) -> torch.Tensor:
    """KL(S || u) = sum_k S_k ln(S_k / u_k) with u the sizes raised to at least `floor` and scaled to sum 1; at least 0.

    Without a floor it is infinite wherever a class is absent, v_k = 0, since a softmax gives every class something. The
    floor says how much of an absent class is no harm: such a class is pushed down while its share is above about
    `floor`, with a force that grows as ln(S_k / floor). It also hides the difference between present classes smaller
    than itself, so it should stay below the smallest object of interest. Where no size is below it, u = v.

    It is zero-forcing: the gradient on the logit of a forgotten class vanishes with S_k.
    """
    log_sizes = sizes.clamp(min=floor).log()
    log_sizes = log_sizes - log_sizes.logsumexp(1, keepdim=True)
    return (log_average.exp() * (log_average - log_sizes)).sum(1).mean()


def squared(log_average: torch.Tensor, sizes: torch.Tensor) -> torch.Tensor:
    """sum_k (S_k - v_k)^2, in 0..2.

    Regression of class proportions, the idea of Aysel, Cai and Pruegel-Bennett, "Semantic Segmentation by Semantic
    Proportions", arXiv 2305.15608. A mean over classes in place of the sum is this divided by K.
    """
    return (log_average.exp() - sizes).square().sum(1).mean()


def quadratic_barrier(log_average: torch.Tensor, sizes: torch.Tensor, margin: float) -> torch.Tensor:
    """sum_k of (a_k - S_k)^2 where S_k < a_k, (S_k - b_k)^2 where S_k > b_k, 0 between; a, b = v (1 -+ margin).

    Kervadec et al., "Constrained-CNN losses for weakly supervised segmentation", Medical Image Analysis 2019. An absent
    class has the bounds [0, 0]. Bounds are not clipped at 1, which no S_k exceeds.

    Difference from the paper: there sizes are numbers of pixels, and the penalty is divided by the number of pixels n
    of the image, so the paper's value is n times this one: its weight 1e-2 at 256 x 256 pixels is 655 here.
    """
    average = log_average.exp()
    below = F.relu(sizes * (1 - margin) - average)
    above = F.relu(average - sizes * (1 + margin))
    return (below.square() + above.square()).sum(1).mean()


def barrier(z: torch.Tensor, t: float) -> torch.Tensor:
    """The extended log-barrier of the constraint z <= 0, element by element.

    psi_t(z) = -ln(-z) / t where z <= -1 / t^2, else t z - ln(1 / t^2) / t + 1 / t (Kervadec et al., arXiv 1904.04205).
    Value and slope are continuous; the slope is t where the constraint is broken, and z need not be feasible.
    """
    edge = 1 / t**2
    return t * F.relu(z + edge) - (-z).clamp(min=edge).log() / t


def log_barrier(log_average: torch.Tensor, sizes: torch.Tensor, margin: float, t: float) -> torch.Tensor:
    """sum_k psi_t(S_k - b_k) + psi_t(a_k - S_k) with a, b = v (1 -+ margin), and psi_t(S_k) alone for an absent class.

    Kervadec et al., "Constrained deep networks: Lagrangian optimization via log-barrier extensions", arXiv 1904.04205;
    t grows with the epochs, there from 5 by a factor of 1.1 each. The value has no fixed minimum and may be negative.

    Differences from the paper:
    - There sizes are numbers of pixels, and the loss is divided by the number of pixels n of the image. That is this
      loss with t sqrt(n) in the place of t, divided by sqrt(n), up to a constant: t = 5 at 256 x 256 pixels is t = 1280
      and a weight of 1 / 256 here. A much smaller t is wrong for shares: the linear parts of the two bounds cancel
      for b_k - 1 / t^2 < S_k < a_k + 1 / t^2, which includes a forgotten class where b_k < 1 / t^2.
    - An absent class has no lower bound: S_k >= 0 never breaks it, and its linear part would cancel the upper one's.
    """
    average = log_average.exp()
    present = sizes > 0
    above = barrier(average - sizes * (1 + margin), t)
    below = torch.where(present, barrier(sizes * (1 - margin) - average, t), 0)
    return (above + below).sum(1).mean()


SIZE_LOSSES = {  # name -> function of (log_average, sizes, margin, t)
    "forward_kl": lambda log_average, sizes, margin, t: forward_kl(log_average, sizes),
    "reverse_kl": lambda log_average, sizes, margin, t: reverse_kl(log_average, sizes),
    "squared": lambda log_average, sizes, margin, t: squared(log_average, sizes),
    "quadratic_barrier": lambda log_average, sizes, margin, t: quadratic_barrier(log_average, sizes, margin),
    "log_barrier": log_barrier,
}
