"""The random walk of IRN: scores spread over an image and stop at its boundaries.

Ahn, Cho & Kwak, "Weakly Supervised Learning of Instance Segmentation with Inter-pixel Relations", CVPR 2019, arXiv
1904.05044. Two pixels less than `radius` apart have an affinity, which is low where a boundary (an edge map B in 0..1)
lies between them; its power gives the transition matrix of the walk, and the scores M of a class, which do not count on
a boundary, take some steps:

    a_ij = 1 - max_{k on the path from i to j} B_k,   a_ii = 1,   T = A^(beta, each entry) D^-1,   D = column sums
    M  <-  (M (1 - B)) T^steps

The columns sum to 1, so a step replaces each score by a weighted mean of those around it: scores keep their range, and
scores that are constant stay so. (It is the scores weighted by D whose sum is kept, not the scores' own.)

Differences from the authors' code: it builds T densely and squares it log2(steps) times, where here scores are
multiplied by a sparse T again and again (see `random_walk`; the same to seven digits); and it cuts images at 512
pixels, where here any size will do. The walk within one instance, which needs the displacement field, is left out.
"""

from __future__ import annotations

from functools import cache
from math import comb

import numpy as np
from scipy.sparse import coo_array, csr_array

from stages.core.filters.paths import pairs


def transitions(edges: np.ndarray, radius: int, beta: float) -> csr_array:
    """The transposed T of an edge map: (h w, h w) float64, pixels row by row, every row sums to 1.

    In single precision a pixel that leaks 1e-7 of its score in a step would leak nothing, so after 256 steps scores
    would be wrong in the fifth digit. At radius 5 a pixel has at most 68 neighbours, of 12 bytes each.

    Args:
        edges: (h, w) in 0..1.
        radius: pairs are less than this far apart, in pixels of the edge map.
        beta: the power of the affinities; the larger, the less passes a faint boundary.
    """
    height, width = edges.shape
    open_map = 1 - edges.astype(np.float64)
    index = np.arange(height * width, dtype=np.int32).reshape(height, width)
    first, second, values = [], [], []
    for pair in pairs(radius, height, width):
        most_closed = np.minimum.reduce([open_map[place] for place in pair.between])
        first.append(index[pair.first].ravel())
        second.append(index[pair.second].ravel())
        values.append(most_closed.ravel() ** beta)
    diagonal = index.ravel()
    rows = np.concatenate([*first, *second, diagonal])
    columns = np.concatenate([*second, *first, diagonal])
    affinity = np.concatenate([*values, *values, np.ones(diagonal.size)])
    degree = np.bincount(rows, affinity, diagonal.size)
    return coo_array((affinity / degree[rows], (rows, columns)), shape=(diagonal.size, diagonal.size)).tocsr()


def random_walk(scores: np.ndarray, edges: np.ndarray, radius: int, beta: float, steps: int) -> np.ndarray:
    """Scores (K, h, w) after the walk, float32; their maximum does not grow.

    Args:
        scores: (K, h, w), not negative.
        edges: (h, w) in 0..1.
        radius, beta: see `transitions`.
        steps: length of the walk; the authors' 2^8 is 256.

    T is similar to a symmetric matrix, T = D^1/2 S D^-1/2, whose eigenvalues lie in -1..1, so its powers may be written
    as sums of Chebyshev polynomials of it, of far lower degree: 256 steps cost 102 products with T, 32 cost 32.
    """
    step, weights = transitions(edges, radius, beta), power_series(steps)
    flat = np.ascontiguousarray((scores * (1 - edges)).reshape(len(scores), edges.size).T, np.float64)
    before, now = flat, step @ flat
    walked = weights[0] * before + weights[1] * now
    for weight in weights[2:]:
        before, now = now, 2 * (step @ now) - before
        walked += weight * now
    return np.maximum(walked, 0).T.reshape(scores.shape).astype(np.float32)  # 0 may have become -1e-11


@cache
def power_series(steps: int) -> tuple[float, ...]:
    """x^steps on -1..1 as a sum of Chebyshev polynomials: their weights, from the polynomial of degree 0.

    x^n = 2^(1 - n) sum_k binomial(n, (n - k) / 2) C_k(x) over the k of n's parity, the term of k = 0 halved. Far from
    k = 0 the weights vanish as exp(-k^2 / 2 n): those that together change no result by 1e-10 are left out.
    """
    weights = [0 if (steps - k) % 2 else comb(steps, (steps - k) // 2) / 2 ** (steps - 1) for k in range(steps + 1)]
    weights[0] /= 2
    rest = np.cumsum(weights[::-1])[::-1]  # |C_k| <= 1, so what is left out of a series weighs no more than this
    return tuple(weights[: np.flatnonzero(rest > 1e-10)[-1] + 1])
