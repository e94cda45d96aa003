"""The optimiser and its schedule."""

from __future__ import annotations

import math

import torch
from torch import nn

from stages.core.params import Params


def learning_rate_factor(schedule: str, warmup: float, progress: float) -> float:
    """The factor on the learning rate after `progress` (0..1) of the steps.

    It rises linearly over the first `warmup` share, then falls: `poly` as (1 - t)^0.9 (DeepLab, arXiv 1606.00915),
    `one_cycle` as half a cosine (Smith and Topin, arXiv 1708.07120; the momentum stays fixed), t from the end of the
    warm-up to the end.
    """
    if progress < warmup:
        return max(progress / warmup, 1e-3)
    t = (progress - warmup) / (1 - warmup)
    return (1 - t) ** 0.9 if schedule == "poly" else 0.5 * (1 + math.cos(math.pi * t))


def build_optimiser(network: nn.Module, recipe: Params, fused: bool = False) -> torch.optim.Optimizer:
    """AdamW or SGD; encoder and neck learn at `lr`, everything else at `lr * head_lr_factor`.

    With `biases: caffe`, biases learn at twice the rate of the weights beside them and do not decay, as in DeepLab's
    and psa's recipes; with `as_weights` they are treated like weights. Frozen parameters are left out.

    Args:
        network: has an attribute `encoder`, and perhaps a `neck`, whose weights come with the encoder's.
        recipe: optimizer, lr, head_lr_factor, biases, momentum, weight_decay.
        fused: one kernel for all parameters, which GPUs have.
    """
    parts = (network.encoder, getattr(network, "neck", nn.Identity()))
    pretrained = {id(parameter) for part in parts for parameter in part.parameters()}
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            caffe_bias = recipe.biases == "caffe" and name.endswith("bias")
            groups.setdefault((id(parameter) not in pretrained, caffe_bias), []).append(parameter)
    settings = [
        {
            "params": groups[is_head, is_bias],
            "lr": recipe.lr * (recipe.head_lr_factor if is_head else 1) * (2 if is_bias else 1),
            "weight_decay": 0.0 if is_bias else recipe.weight_decay,
        }
        for is_head, is_bias in sorted(groups)
    ]
    if recipe.optimizer == "adamw":
        return torch.optim.AdamW(settings, betas=(recipe.momentum, 0.999), fused=fused)
    return torch.optim.SGD(settings, momentum=recipe.momentum, fused=fused)
