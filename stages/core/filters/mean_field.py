"""The dense CRF's mean-field inference on our own lattice: the `lattice` backend of `core.dense_crf`."""

from __future__ import annotations

import numpy as np
import torch

from stages.core.device import device
from stages.core.faults import Fault
from stages.core.filters.permutohedral import Lattice
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
    where = device()
    lattices = [
        (Lattice(features(image, name, kernel).to(where), normalised=True), kernel.weight)
        for name, kernel in crf.kernels.items()
    ]
    energy = torch.from_numpy(problems).to(where)
    current = torch.softmax(-energy, 1)
    for _ in range(crf.iterations if lattices else 0):
        columns = current.flatten(0, 1).t().contiguous()
        message = sum(weight * lattice.apply(columns) for lattice, weight in lattices)
        current = torch.softmax(message.t().reshape(energy.shape) - energy, 1)
    return current.cpu().numpy()


def features(image: np.ndarray, name: str, kernel: Params) -> torch.Tensor:
    """The features of a kernel, (H W, 2 or 5) float32: positions x, y over `xy`, and R, G, B over `rgb`.

    Raises:
        Fault: there is no such kernel.
    """
    height, width = image.shape[:2]
    rows, columns = np.mgrid[:height, :width].astype(np.float32)
    planes = [columns / np.float32(kernel.xy), rows / np.float32(kernel.xy)]
    if name == "bilateral":
        planes += [plane / np.float32(kernel.rgb) for plane in image.transpose(2, 0, 1).astype(np.float32)]
    elif name != "gaussian":
        raise Fault(f"no dense CRF kernel {name!r}; there are gaussian and bilateral")
    return torch.from_numpy(np.stack(planes, -1).reshape(height * width, -1))
