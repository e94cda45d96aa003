"""Dense CRF inference: the fully connected CRF with Gaussian edges of Krähenbühl & Koltun.

"Efficient Inference in Fully Connected CRFs with Gaussian Edge Potentials", NIPS 2011, arXiv 1210.5644. With a unary
energy U_i(l) per pixel i and label l, and the Potts model, a mean-field step (their equation 4) is

    Q_i(l)  <-  exp( -U_i(l) + sum_m w_m sum_j k_m(i, j) Q_j(l) ) / normaliser,   at first Q = exp(-U_i) / normaliser

with the kernels of their equation 3, p being pixel positions (x, y) and I colours (R, G, B in 0..255):

    gaussian   k(i, j) = exp( -|p_i - p_j|^2 / (2 xy^2) )
    bilateral  k(i, j) = exp( -|p_i - p_j|^2 / (2 xy^2) - |I_i - I_j|^2 / (2 rgb^2) )

What differs from the paper, as in the authors' code that everyone uses (pydensecrf wraps it): each kernel matrix K is
normalised to D^-1/2 K D^-1/2 with D its row sums, a pixel's message includes its own Q, and K is approximated on a
permutohedral lattice. tests/core/test_dense_crf.py measures the distance from the exact sums.

A crf section of params.yaml: kernels (gaussian: xy in pixels, weight; bilateral: xy in pixels, rgb in grey levels,
weight; either or both), iterations, backend. Time and memory grow with the number of labels: hand in only the labels
that an image can have. Several unaries of one image (leading axes) share the kernels' set-up, a third of the time of
one inference with few labels. On one machine the same input gives the same bytes.

Two backends compute the same: `pydensecrf`, compiled, on the CPU, and `lattice`, PyTorch on any device.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pydensecrf.densecrf as pydensecrf

from stages.core.dataset import VOID
from stages.core.faults import Fault
from stages.core.params import Params

LEAST_PROBABILITY = 1e-5  # keeps the energy of an impossible label finite (pydensecrf's own choice)


def dense_crf(image: np.ndarray, probabilities: np.ndarray, crf: Params) -> np.ndarray:
    """Label probabilities after mean-field inference, from soft unaries.

    Args:
        image: (H, W, 3) uint8 RGB; a read-only buffer is fine.
        probabilities: (..., K, H, W) in 0..1, a distribution over K labels at each pixel; the unary energy is -ln of
            it. Leading axes are separate problems on the same image.
        crf: the crf section, see the module.

    Returns:
        (..., K, H, W) float32, a distribution over the K labels at each pixel.

    Raises:
        Fault: the crf names a backend or a kernel that there is not.
        ValueError: the shapes disagree or the image is not uint8 RGB.
    """
    return infer(image, -np.log(np.clip(probabilities, LEAST_PROBABILITY, 1)), crf)


def dense_crf_labels(
    image: np.ndarray, labels: np.ndarray, n_labels: int, confidence: float, crf: Params
) -> np.ndarray:
    """Label probabilities after mean-field inference, from label maps that are trusted only so far.

    The unary distribution of a pixel is `confidence` for its label and (1 - confidence) / (n_labels - 1) for each of
    the others; where the label is unknown it is uniform.

    Args:
        image: (H, W, 3) uint8 RGB; a read-only buffer is fine.
        labels: (..., H, W) integers below `n_labels`, or 255 (void) where the label is unknown. Leading axes are
            separate problems on the same image.
        n_labels: number of labels.
        confidence: between 0 and 1, both excluded.
        crf: the crf section, see the module.

    Returns:
        (..., n_labels, H, W) float32, a distribution over the labels at each pixel.

    Raises:
        Fault: the crf names a backend or a kernel that there is not.
        ValueError: a label or the confidence is out of range, the shapes disagree or the image is not uint8 RGB.
    """
    if not 0 < confidence < 1:
        raise ValueError(f"confidence is {confidence}; it lies between 0 and 1")
    known = labels != VOID
    if ((labels < 0) | (labels >= n_labels))[known].any():
        raise ValueError(f"a label is not below {n_labels} and not {VOID}")
    given = np.arange(n_labels)[:, None, None] == labels[..., None, :, :]
    others = (1 - confidence) / max(n_labels - 1, 1)
    unary = np.where(known[..., None, :, :], np.where(given, confidence, others), 1 / n_labels)
    return infer(image, -np.log(unary), crf)


def infer(image: np.ndarray, energy: np.ndarray, crf: Params) -> np.ndarray:
    """Mean-field inference with the crf's backend; `energy` is (..., K, H, W), the result as in `dense_crf`.

    Raises:
        Fault: the crf names a backend or a kernel that there is not.
        ValueError: the shapes disagree or the image is not uint8 RGB.
    """
    if crf.backend not in BACKENDS:
        raise Fault(f"no dense CRF backend {crf.backend!r}; there is {', '.join(BACKENDS)}")
    count, *size = energy.shape[-3:]
    if image.dtype != np.uint8 or image.shape != (*size, 3):
        raise ValueError(f"image is {image.dtype} {image.shape}; the unaries ask for uint8 {(*size, 3)}")
    if count == 1:
        return np.ones(energy.shape, np.float32)
    problems = energy.astype(np.float32).reshape(-1, count, size[0] * size[1])
    return BACKENDS[crf.backend](image, problems, crf).reshape(energy.shape)


def pydensecrf_inference(image: np.ndarray, problems: np.ndarray, crf: Params) -> np.ndarray:
    """The `pydensecrf` backend: permutohedral lattice, one thread.

    Args:
        image: (H, W, 3) uint8 RGB.
        problems: (S, K, H W) float32 unary energies of S problems.
        crf: `kernels` and `iterations`.

    Returns:
        (S, K, H W) float32.

    Raises:
        Fault: there is no such kernel.
    """
    height, width = image.shape[:2]
    field = pydensecrf.DenseCRF2D(width, height, problems.shape[1])
    colours = np.array(image, order="C")  # a copy: the library refuses read-only buffers
    for name, kernel in crf.kernels.items():
        if name == "gaussian":
            field.addPairwiseGaussian(sxy=kernel.xy, compat=kernel.weight)
        elif name == "bilateral":
            field.addPairwiseBilateral(sxy=kernel.xy, srgb=kernel.rgb, rgbim=colours, compat=kernel.weight)
        else:
            raise Fault(f"no dense CRF kernel {name!r}; there are gaussian and bilateral")
    results = np.empty(problems.shape, np.float32)
    for result, energy in zip(results, problems, strict=True):
        field.setUnaryEnergy(np.array(energy, order="C"))
        result[:] = field.inference(crf.iterations)
    return results


def lattice_inference(image: np.ndarray, problems: np.ndarray, crf: Params) -> np.ndarray:
    """The `lattice` backend, see `core.filters.mean_field`."""
    from stages.core.filters.mean_field import mean_field  # noqa: PLC0415 - torch, which the other one does without

    return mean_field(image, problems, crf)


BACKENDS: dict[str, Callable[[np.ndarray, np.ndarray, Params], np.ndarray]] = {
    "pydensecrf": pydensecrf_inference,
    "lattice": lattice_inference,
}
