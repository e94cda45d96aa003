"""The dense CRF's mean-field inference on our own lattice: the `lattice` backend of `core.dense_crf`."""

from __future__ import annotations

import numpy as np
import torch

from stages.core.device import device
from stages.core.faults import Fault
from stages.core.filters.permutohedral import Lattice, image_features
from stages.core.params import Params


def mean_field(image: np.ndarray, problems: np.ndarray, crf: Params) -> np.ndarray:
    """Mean-field inference of several problems on one image, all labels of all of them filtered together.

    Args:
        image: (H, W, 3) uint8 RGB.
        problems: (S, K, H W) float32 unary energies.
        crf: `kernels` and `iterations`.

    Returns:
        (S, K, H W) float32, distributions over the K labels.

    Raises:
        Fault: there is no such kernel.
    """
    return mean_field_batch(image[None], problems[None], crf)[0]


def mean_field_batch(images: np.ndarray, problems: np.ndarray, crf: Params) -> np.ndarray:
    """`mean_field` on B images of one size at once, each with S problems of K labels; the same as one by one.

    It is for a GPU, which one image does not fill; on a CPU the larger arrays only leave the cache.

    Args:
        images: (B, H, W, 3) uint8 RGB.
        problems: (B, S, K, H W) float32 unary energies.
        crf: `kernels` and `iterations`.

    Returns:
        (B, S, K, H W) float32, distributions over the K labels.

    Raises:
        Fault: there is no such kernel.
    """
    where = device()
    colours = torch.from_numpy(np.array(images)).to(where)  # a copy: an image may be read-only
    lattices = [(kernel_lattice(colours, name, kernel), kernel.weight) for name, kernel in crf.kernels.items()]
    # The pixels of all images in a row, each a distribution over the second axis.
    energy = torch.from_numpy(np.ascontiguousarray(problems)).to(where).permute(1, 2, 0, 3).flatten(2)
    current = torch.softmax(-energy, 1)
    for _ in range(crf.iterations if lattices else 0):
        columns = current.flatten(0, 1).t().contiguous()
        message = sum(weight * lattice.apply(columns) for lattice, weight in lattices)
        current = torch.softmax(message.t().reshape(energy.shape) - energy, 1)
    return current.unflatten(2, (len(images), -1)).permute(2, 0, 1, 3).contiguous().cpu().numpy()


def kernel_lattice(images: torch.Tensor, name: str, kernel: Params) -> Lattice:
    """The normalised lattice of a kernel on images (B, H, W, 3), their pixels row by row.

    Raises:
        Fault: there is no such kernel.
    """
    if name not in ("gaussian", "bilateral"):
        raise Fault(f"no dense CRF kernel {name!r}; there are gaussian and bilateral")
    rgb = kernel.rgb if name == "bilateral" else None
    features = image_features(images.permute(0, 3, 1, 2), kernel.xy, rgb).flatten(1, 2)
    number = torch.arange(len(images), device=images.device).repeat_interleave(features.shape[1])
    return Lattice(features.flatten(0, 1), normalised=True, image=number if len(images) > 1 else None)
