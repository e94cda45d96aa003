"""Losses on an image's average prediction: all that size targets and tags speak about."""

from __future__ import annotations

import torch

from stages.segment.losses.size_losses import forward_kl


def log_average_prediction(logits: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
    """ln of the mean softmax over an image's valid pixels, (B, K) float32.

    It is computed in log space, ln S_k = logsumexp_p(log S_pk) - ln |valid|, so that a class that the network gives
    nothing has a finite logarithm and a gradient.

    Shape:
        logits: (B, K, H, W); valid: (B, H, W) bool with at least one True per image.
    """
    scores = logits.float().log_softmax(1).masked_fill(~valid[:, None], -torch.inf)
    return scores.flatten(2).logsumexp(2) - valid.flatten(1).sum(1, keepdim=True).log()


def size_divergence(logits: torch.Tensor, valid: torch.Tensor, sizes: torch.Tensor) -> torch.Tensor:
    """Forward KL divergence of the average prediction from the size target, sum_k v_k ln(v_k / S_k), mean over images.

    Fan, Zhang and Boykov, "Approximate Size Targets Are Sufficient for Accurate Semantic Segmentation",
    arXiv 2503.06954. Forward means zero-avoiding: it grows without bound as the network forgets a present class. Terms
    with v_k = 0 are 0; an absent class is pushed down through the others' normalisation.

    Shape:
        logits: (B, K, H, W), the background among the K classes where the data set has one.
        valid: (B, H, W) bool, False on padding and void.
        sizes: (B, K), rows sum to 1.
        returns a scalar float32, at least 0.
    """
    return forward_kl(log_average_prediction(logits, valid), sizes)


def tag_likelihood(logits: torch.Tensor, valid: torch.Tensor, tags: torch.Tensor) -> torch.Tensor:
    """Minus the mean of ln S_k over the present classes, mean over images.

    It is the size loss of somebody who knows the tags and no size: every present class, the background among them, is
    worth the same. Its minimum over S is the uniform distribution over the present classes (forward KL from it, up to
    a constant).

    Shape:
        tags: (B, K), 1 for present classes (the background among them) and 0 for absent; at least one is present.
    """
    terms = (tags * log_average_prediction(logits, valid)).sum(1)
    return -(terms / tags.sum(1)).mean()
