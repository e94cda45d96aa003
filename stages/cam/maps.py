"""Classifier -> class activation maps: several scales and flips, batched by image size, 8 bit at a given stride."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F
from tqdm import tqdm

from stages.cam.extractors import EXTRACTORS
from stages.core.dataset import LABELLED_SPLITS, Dataset
from stages.core.device import device
from stages.core.files import write_zip
from stages.core.inference import group_by_size, image_batches, scaled_views
from stages.core.networks.classification import ClassificationNet
from stages.core.params import Params


@torch.no_grad()
def activation_maps(
    network: ClassificationNet, images: torch.Tensor, tags: torch.Tensor, recipe: Params
) -> torch.Tensor:
    """Activation maps (B, T, ceil(H / stride), ceil(W / stride)), summed over scales and flips, not normalised.

    Each view's map is upsampled bilinearly to the common size before the sum, and a view and its mirror image pass the
    network in one batch, as in IRN (arXiv 1904.05044, make_cam). Scales do not share a pass: padding to a common size
    would change what a convolution sees at the border.

    Args:
        network: in evaluation mode, on the device.
        images: (B, 3, H, W) uint8 RGB, all of one size.
        tags: (B, T) int64, the outputs of the network to map for each image; -1 gives a map of zeros.
        recipe: `extractor`, `level`, `scales`, `flip`, `stride`.
    """
    size = tuple(-(-side // recipe.stride) for side in images.shape[2:])
    extract = EXTRACTORS[recipe.extractor]
    total = torch.zeros(())
    for view, _ in scaled_views(images, recipe.scales, flip=False):
        tags = tags.to(view.device)
        if recipe.flip:
            both = extract(network, torch.cat([view, view.flip(3)]), tags.repeat(2, 1), recipe.level)
            upright, mirrored = resize_maps(both, view.shape[2:], size, network.divisor).chunk(2)
            maps = upright + mirrored.flip(3)
        else:
            maps = resize_maps(extract(network, view, tags, recipe.level), view.shape[2:], size, network.divisor)
        total = total.to(maps.device) + maps
    return total


def resize_maps(maps: torch.Tensor, view: tuple[int, int], size: tuple[int, int], divisor: int) -> torch.Tensor:
    """Bilinear resize of maps (B, T, h, w) of a view to `size`, both (height, width).

    A network that pads the view's sides to a multiple of `divisor` sees more than the view; that is cut off.
    """
    padded = [side + -side % divisor for side in view]
    if padded == list(view):
        return F.interpolate(maps, size, mode="bilinear", align_corners=False)
    # the least bit more, because the product with the map's size is rounded down
    factors = [
        (1 + 1e-9) * long * wanted / (side * cells)
        for long, wanted, side, cells in zip(padded, size, view, maps.shape[2:], strict=True)
    ]
    maps = F.interpolate(maps, scale_factor=factors, mode="bilinear", align_corners=False)
    return maps[:, :, : size[0], : size[1]]


def quantise(cam: torch.Tensor) -> np.ndarray:
    """Maps (K, h, w) divided by each one's spatial maximum, as uint8 with 255 for 1; a map of zeros stays zero."""
    peak = cam.amax((1, 2), keepdim=True)
    return (cam / (peak + 1e-5) * 255).round().clamp(0, 255).to(torch.uint8).cpu().numpy()


def tag_rows(dataset: Dataset, ids: list[str]) -> torch.Tensor:
    """The images' tags as numbers of the classifier's outputs, (len(ids), most tags of an image), -1 at the end."""
    tags = [torch.as_tensor(dataset.tags(image_id) - dataset.foreground.start, dtype=torch.int64) for image_id in ids]
    rows = torch.full((len(ids), max(1, *map(len, tags))), -1)
    for row, classes in zip(rows, tags, strict=True):
        row[: len(classes)] = classes
    return rows


def tagged_maps(
    network: ClassificationNet, dataset: Dataset, ids: list[str], recipe: Params
) -> Iterator[tuple[str, np.ndarray]]:
    """Each image's quantised maps of its tagged classes, (K, h, w) uint8 in the order of its tags."""
    network.eval().requires_grad_(False).to(device())
    groups = group_by_size(dataset, ids, recipe.batch_size)
    with tqdm(total=len(ids), unit="image", disable=None) as bar:
        for group, images in image_batches(dataset, groups):
            tags = tag_rows(dataset, group)
            maps = activation_maps(network, images, tags, recipe)
            for image_id, cam, count in zip(group, maps, (tags >= 0).sum(1).tolist(), strict=True):
                yield image_id, quantise(cam[:count])
            bar.update(len(group))


def write_maps(path: Path, network: ClassificationNet, dataset: Dataset, recipe: Params) -> None:
    """Writes ID.npy for every image of train and val, and cam.json.

    Only tagged classes get a map. On val the tags are the true ones too, which a trained system would not have:
    cam.json says so, and so must every number made from these maps.
    """
    ids = list(dict.fromkeys(image_id for split in LABELLED_SPLITS for image_id in dataset.ids(split)))
    about = {key: recipe[key] for key in ("extractor", "level", "stride", "flip")}
    about |= {"scales": list(recipe.scales), "tags": "true, also on val"}
    with write_zip(path) as archive:
        archive.text("cam.json", json.dumps(about) + "\n")
        for image_id, maps in tagged_maps(network, dataset, ids, recipe):
            archive.array(f"{image_id}.npy", maps)
