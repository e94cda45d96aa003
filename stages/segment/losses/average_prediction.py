"""Losses on an image's average prediction: all that size targets and tags speak about."""

from __future__ import annotations

import torch


def log_average_prediction(logits: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
    """ln of the mean softmax over an image's valid pixels, (B, K) float32.

    It is computed in log space, ln S_k = logsumexp_p(log S_pk) - ln |valid|, so that a class that the network gives
    nothing has a finite logarithm and a gradient.

    Shape:
        logits: (B, K, H, W); valid: (B, H, W) bool with at least one True per image.
    """
    scores = logits.float().log_softmax(1).masked_fill(~valid[:, None], -torch.inf)
    return scores.flatten(2).logsumexp(2) - valid.flatten(1).sum(1, keepdim=True).log()


def tag_likelihood(logits: torch.Tensor, valid: torch.Tensor, tags: torch.Tensor) -> torch.Tensor:
    """Minus the mean of ln S_k over the present classes, mean over images.

    It is the size loss of somebody who knows the tags and no size: every present class, the background among them, is
    worth the same. Its minimum over S is the uniform distribution over the present classes (forward KL from it, up to
    a constant).

    Shape:
        tags: (B, K), 1 for present classes (the background among them) and 0 for absent; an image with
            none contributes 0.
    """
    terms = (tags * log_average_prediction(logits, valid)).sum(1)
    return -(terms / tags.sum(1).clamp(min=1)).mean()
