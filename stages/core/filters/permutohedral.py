"""Gaussian filtering of an image in any feature space, in time linear in its pixels: the permutohedral lattice.

Adams, Baek & Davis, "Fast High-Dimensional Filtering Using the Permutohedral Lattice", Eurographics 2010. Features of
d dimensions are placed in a lattice of simplices; each pixel's values are shared among the d + 1 vertices of its
simplex (splat), every vertex exchanges with its neighbours along each of the d + 1 axes (blur), and each pixel collects
from its vertices (slice). The result approximates

    out_i = sum_j exp( -|f_i - f_j|^2 / 2 ) v_j

up to a constant that a normalisation removes. Scale, order of the axes, blur weights (1/2, 1, 1/2) and output factor
are those of Krähenbühl & Koltun's dense CRF (NIPS 2011), which pydensecrf wraps, so that the two agree to rounding.

Here splat and slice are products with sparse matrices and the blur is gathers, all in plain PyTorch: no compilation,
any device, and the lattice is built once per image for all values, labels and iterations. Vertices are numbered by
sorting, not by hashing, so the same input gives the same bytes on a CPU.

Several images share one lattice that falls into as many parts: the image's number is a further coordinate along which
no axis leads, so no two images have a vertex or a pair of neighbours in common. Their pixels come as one list, so they
may be of different sizes, and pixels that are not in the list (padding) take no part.

The constant depends on how much of the space is filled, as a blur ends where there is no vertex: 3000 points that
fill a cube with sides of 3 sum to 0.91, 0.86, 0.80 and 0.67 of the exact sums in 1, 2, 3 and 5 dimensions, and
pictures of 32 x 32 pixels with the loss of arXiv 1803.09569 (xy 50, rgb 15) to 0.52 to 0.55.
"""

from __future__ import annotations

import warnings

import torch

HALF = 0.5  # weight of a neighbour in the blur
LEAST = 1e-20  # keeps the normalisation finite, as in pydensecrf


class Lattice:
    """The lattice of the features of one image, or of several that do not see each other.

    Args:
        features: (N, d) float, scaled so that the Gaussian's standard deviation is 1 in each dimension; N pixels, of
            all images in a list.
        normalised: filter with D^-1/2 K D^-1/2 in place of K, D being K's row sums, as the dense CRF does.
        image: (N,) int64, the number of each pixel's image, from 0; None where all are of one. Each image's result is
            the same as that of its pixels alone.

    Attributes:
        size: number of vertices.
        vertices: (d + 1, N) int64, the vertices of each pixel's simplex, below `size`.
        weights: (d + 1, N) float32, barycentric coordinates of each pixel in it; they sum to 1.
        neighbours: (d + 1, 2, size) int64, the vertices before and after each along each axis; `size` where none is.

    Raises:
        ValueError: the features' scale is far too small, see `strides_of`, or there is not one image number per pixel.
    """

    def __init__(self, features: torch.Tensor, normalised: bool = False, image: torch.Tensor | None = None) -> None:
        codes, strides, self.weights = simplices(features, image)
        ordered, self._order = codes.flatten().sort(stable=True)
        unique, number, counts = torch.unique_consecutive(ordered, return_inverse=True, return_counts=True)
        self.size = unique.numel()
        self.vertices = torch.empty_like(number).scatter_(0, self._order, number).view(codes.shape)
        self._ends = torch.cat([counts.new_zeros(1), counts.cumsum(0)])
        self.neighbours = find_neighbours(unique, strides)
        self._slice, self._splat = self._matrices(self.weights)
        if normalised:
            sums = self.apply(torch.ones_like(self.weights[0])[:, None])[:, 0]
            self._slice, self._splat = self._matrices(self.weights * (sums + LEAST).rsqrt())

    def _matrices(self, weights: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The slicing matrix, (N, size) CSR with the weights of pixel i's vertices in row i, and its transpose."""
        corners, pixels = weights.shape
        shape = (pixels, self.size)
        rows = torch.arange(0, pixels * corners + 1, corners, device=weights.device)
        values = weights.t().flatten() / (1 + 2.0 ** (1 - corners))
        back = self._ends, self._order % pixels, weights.flatten()[self._order]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # that sparse tensors are in beta, and not checked
            return (
                torch.sparse_csr_tensor(rows, self.vertices.t().flatten(), values, shape),
                torch.sparse_csr_tensor(*back, shape[::-1]),
            )

    def apply(self, values: torch.Tensor, reverse: bool = False) -> torch.Tensor:
        """The filtered values, (N, K) as `values`; float32, also under autocast.

        The blur goes along one axis after the other and ends where there is no vertex, so the filter's matrix is
        symmetric only up to the order of the axes. `reverse` takes them the other way round: the transposed filter, by
        which a gradient comes back.
        """
        with torch.autocast(values.device.type, enabled=False):  # it would turn the two products into half precision
            current = values.new_zeros(self.size + 1, values.shape[1])  # the last row stands for what is not there
            current[:-1] = self._splat @ values
            blurred = torch.zeros_like(current)
            for before, after in reversed(self.neighbours) if reverse else self.neighbours:
                around = current.index_select(0, before).add_(current.index_select(0, after))
                torch.add(current[:-1], around, alpha=HALF, out=blurred[:-1])
                current, blurred = blurred, current
            return self._slice @ current[:-1]


def simplices(
    features: torch.Tensor, image: torch.Tensor | None = None
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The corners of the lattice simplex around each feature vector.

    A corner is a point of integers that sum to 0, so its first d coordinates tell all, and `strides` makes one number
    of them, code = sum_k coordinate_k * stride_k. There is room for a step beyond the outermost corners, so that a
    neighbour's code is no other point's. An image's number is one more coordinate, with the largest stride.

    Args:
        features: (N, d) float.
        image: (N,) int64 from 0, see `Lattice`.

    Returns:
        codes (d + 1, N) int64 of the corners, strides (d,) int64, and barycentric weights (d + 1, N) float32.

    Raises:
        ValueError: the features' scale is far too small, see `strides_of`, or there is not one image number per pixel.
    """
    if image is not None and image.shape != features.shape[:1]:
        raise ValueError(f"{tuple(image.shape)} image numbers for {features.shape[0]} pixels")
    d = features.shape[1]
    place = elevate(features)
    # The nearest point whose coordinates are all multiples of d + 1, in units of that, ...
    cell = place / (d + 1)
    below, above = cell.floor(), cell.ceil()
    origin = torch.where(above - cell < cell - below, above, below)
    # ... the coordinates ranked by how far they lie beyond it, ties in their order, ...
    rest = cell - origin
    rank = torch.zeros(rest.shape, dtype=torch.int64, device=rest.device)
    for one in range(d + 1):
        for other in range(one + 1, d + 1):
            less = rest[one] < rest[other]
            rank[one] += less
            rank[other] += ~less
    # ... and the point moved along the simplex to where its coordinates sum to 0.
    rank += origin.sum(0).round().long()
    shift = (rank < 0).long() - (rank > d).long()
    rank += (d + 1) * shift
    origin += shift
    rest -= shift

    weights = torch.zeros((d + 2, features.shape[0]), device=rest.device)
    weights.scatter_add_(0, d - rank, rest)
    weights.scatter_add_(0, d + 1 - rank, -rest)
    weights[0] += 1 + weights[d + 1]

    coordinates = (d + 1) * origin[:d].long()
    images = 1 if image is None else int(image.max()) + 1
    strides, whole = strides_of(coordinates, images)
    # From a corner to the next, all coordinates grow by 1, but the one of the next lower rank falls by d.
    of_rank = torch.zeros(rank.shape, dtype=torch.int64, device=rank.device)
    of_rank.scatter_(0, rank, torch.cat([strides, strides.new_zeros(1)])[:, None].expand(rank.shape))
    codes = [(coordinates * strides[:, None]).sum(0) + (0 if image is None else image * whole)]
    for corner in range(1, d + 1):
        codes.append(codes[-1] + strides.sum() - (d + 1) * of_rank[d + 1 - corner])
    return torch.stack(codes), strides, weights[: d + 1]


def elevate(features: torch.Tensor) -> torch.Tensor:
    """Features (N, d) in the plane of d + 1 coordinates that sum to 0, (d + 1, N), scaled to the lattice's blur."""
    d = features.shape[1]
    result = torch.zeros((d + 1, features.shape[0]), device=features.device)
    after = result[d].clone()  # sum of the later features
    for index in range(d, 0, -1):
        scaled = features[:, index - 1].float() * ((2 / 3) ** 0.5 * (d + 1) / (index * (index + 1)) ** 0.5)
        result[index] = after - index * scaled
        after += scaled
    result[0] = after
    return result


def strides_of(coordinates: torch.Tensor, images: int) -> tuple[torch.Tensor, int]:
    """The stride of each coordinate in a code, (d,) int64, and that of the image's number.

    Args:
        coordinates: (d, N) int64, of the points at remainder 0.
        images: number of images.

    Raises:
        ValueError: the corners in all images have more than 62 bits: the features' scale is far too small.
    """
    low, high = coordinates.amin(1), coordinates.amax(1)
    d = coordinates.shape[0]
    spans = (high - low + 1 + 4 * (d + 1)).tolist()  # the other corners and their neighbours are within 2 (d + 1)
    strides = [1]
    for span in spans:
        strides.append(strides[-1] * span)
    if strides[-1] * images >= 2**62:
        cells = [span // (d + 1) for span in spans]
        raise ValueError(f"the features span {cells} lattice cells in each of {images} images, too many for one code")
    return torch.tensor(strides[:-1], device=coordinates.device), strides[-1]


def find_neighbours(codes: torch.Tensor, strides: torch.Tensor) -> torch.Tensor:
    """The vertices before and after each of `codes` (M,), sorted, along each axis, (d + 1, 2, M); M where none is.

    Along axis j < d a step adds d to coordinate j and takes 1 from all others; along the last it takes 1 from all.
    """
    d, count = strides.numel(), codes.numel()
    own = torch.arange(count, device=codes.device)
    result = torch.full((d + 1, 2, count), count, device=codes.device)
    for axis in range(d + 1):
        step = -strides.sum() + ((d + 1) * strides[axis] if axis < d else 0)
        place = torch.searchsorted(codes, codes + step).clamp(max=count - 1)
        found = codes[place] == codes + step
        result[axis, 0, found] = place[found]
        result[axis, 1, place[found]] = own[found]
    return result


def image_features(images: torch.Tensor, xy: float, rgb: float | None = None) -> torch.Tensor:
    """The features of a Gaussian of positions and, with `rgb`, colours: (B, H, W, 2 or 5) float32.

    They are x / xy, y / xy, and R, G, B over rgb.

    Args:
        images: (B, 3, H, W) RGB in 0..255, any type.
        xy: standard deviation in pixels.
        rgb: standard deviation in grey levels; None for positions alone.
    """
    height, width = images.shape[-2:]
    where = {"dtype": torch.float32, "device": images.device}
    rows, columns = torch.arange(height, **where)[:, None], torch.arange(width, **where)
    xy = torch.tensor(xy, **where)  # a GPU divides by a tensor, but multiplies by the inverse of a number
    size = (len(images), height, width)
    planes = [(columns / xy).expand(size), (rows / xy).expand(size)]
    if rgb is not None:
        planes += (images.float() / torch.tensor(rgb, **where)).unbind(1)
    return torch.stack(planes, -1)
