"""Ways to make activation maps of a classifier, by name.

Each takes a network in evaluation mode, normalised images (B, 3, H, W), `tags` (B, T) int64, the classes to explain in
each image as numbers of the network's outputs, -1 where an image has fewer than T, and `level`, which of the encoder's
feature maps is weighed (-1 the last). Each returns maps (B, T, h, w) float32 >= 0 at that level's stride, zero where
the tag is -1. An image's maps do not depend on the others in its batch.

A^k is channel k of the feature map (h, w), S^c the score (logit) of class c, g^kc_ij = dS^c / dA^k_ij.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch

from stages.core.faults import Fault
from stages.core.networks.classification import ClassificationNet


def cam(network: ClassificationNet, images: torch.Tensor, tags: torch.Tensor, level: int) -> torch.Tensor:
    """Class activation maps (Zhou et al. 2016, arXiv 1512.04150): M^c_ij = relu(sum_k w^c_k A^k_ij).

    w is the network's linear head, whose 1x1 convolution on the unpooled features is this sum, so `level` is -1.
    """
    with torch.no_grad():
        maps = network.cam(images).float()
    return of_tags(maps[torch.arange(len(maps), device=maps.device)[:, None], tags.clamp(min=0)], tags)


def grad_cam_pp(network: ClassificationNet, images: torch.Tensor, tags: torch.Tensor, level: int) -> torch.Tensor:
    """Grad-CAM++ (Chattopadhay et al. 2018, arXiv 1710.11063, equations 5, 10 and 19).

    With Y^c = exp(S^c) the derivatives of order n are exp(S^c) (g^kc_ij)^n where S is piecewise linear in A, so

        alpha^kc_ij = g^2 / (2 g^2 + sum_ab A^k_ab g^3) = 1 / (2 + g sum_ab A^k_ab)
        w^c_k = sum_ij alpha^kc_ij relu(exp(S^c) g^kc_ij)
        M^c_ij = relu(sum_k w^c_k A^k_ij)

    The short form of alpha needs no case for g = 0, where the relu is 0.

    Differences from the paper: the factor exp(S^c) of w, one number per image and class, is left out, so that no view
    outweighs the others by it when maps are summed over scales. In alpha's denominator A is clipped at 0, which
    changes nothing after a ReLU and keeps the denominator >= 2 on features that may be negative (transformers).
    """
    columns = []
    for features, gradient in tag_gradients(network, images, tags, level):
        positive = gradient.relu()
        alpha = 1 / (2 + positive * features.relu().sum((2, 3), keepdim=True))
        weights = (alpha * positive).sum((2, 3), keepdim=True)
        columns.append((weights * features).sum(1).relu())
    return of_tags(torch.stack(columns, 1), tags)


def layer_cam(network: ClassificationNet, images: torch.Tensor, tags: torch.Tensor, level: int) -> torch.Tensor:
    """LayerCAM (Jiang et al. 2021, IEEE TIP, doi 10.1109/TIP.2021.3089943, equations 6 to 8).

        M^c_ij = relu(sum_k relu(g^kc_ij) A^k_ij)

    Differences from the paper: the map is multiplied by its number of positions h w, by which the average pooling
    divides g, so that views of all scales count alike when maps are summed. Maps of several levels are not fused, and
    so none is passed through the paper's tanh.
    """
    columns = []
    for features, gradient in tag_gradients(network, images, tags, level):
        positions = features.shape[2] * features.shape[3]
        columns.append((gradient.relu() * positions * features).sum(1).relu())
    return of_tags(torch.stack(columns, 1), tags)


EXTRACTORS = {"cam": cam, "grad_cam_pp": grad_cam_pp, "layer_cam": layer_cam}


def tag_gradients(
    network: ClassificationNet, images: torch.Tensor, tags: torch.Tensor, level: int
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """The features A (B, F, h, w) and, for each column of `tags`, the gradients of the scores of its classes, float32.

    One backward pass per column, that is at most as many as an image has tags. The images' scores are independent of
    each other (the network is in evaluation mode), so the gradient of their sum holds the gradient of each.

    Raises:
        Fault: the encoder has no such level.
    """
    features, logits = weighed_features(network, images, level)
    for column, classes in enumerate(tags.clamp(min=0).T):
        with torch.enable_grad():
            score = logits.gather(1, classes[:, None]).sum()
        (gradient,) = torch.autograd.grad(score, features, retain_graph=column + 1 < tags.shape[1])
        yield features.detach().float(), gradient.float()


@torch.enable_grad()
def weighed_features(network: ClassificationNet, images: torch.Tensor, level: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The features of a level and the logits (B, C), with the graph between them.

    For the last level the graph is the head alone; for an earlier one it is the whole encoder, which needs the memory
    of a training step.
    """
    size = images.shape[2:]
    if level == -1:
        with torch.no_grad():
            features = network.features(images)[-1]
        features = features.detach().requires_grad_()
        return features, network.score(features, size)
    levels = network.features(images.detach().requires_grad_())
    if level <= -len(levels) or not levels[level].shape[1]:
        there = [number - len(levels) for number, found in enumerate(levels) if number and found.shape[1]]
        raise Fault(f"cam.level: the encoder has no level {level}; it has {', '.join(map(str, there))}")
    return levels[level], network.score(levels[-1], size)


def of_tags(maps: torch.Tensor, tags: torch.Tensor) -> torch.Tensor:
    """Maps (B, T, h, w) with zeros where `tags` (B, T) is -1."""
    return maps.masked_fill((tags < 0)[:, :, None, None], 0)
