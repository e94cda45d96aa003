"""Classifier -> class activation maps: several scales and flips, batched by image size, 8 bit at a given stride."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F
from tqdm import tqdm

from stages.core.dataset import LABELLED_SPLITS, Dataset
from stages.core.device import device
from stages.core.files import write_zip
from stages.core.inference import group_by_size, image_batches, scaled_views
from stages.core.networks.classification import ClassificationNet
from stages.core.params import Params


@torch.inference_mode()
def activation_maps(network: ClassificationNet, images: torch.Tensor, recipe: Params) -> torch.Tensor:
    """Activation maps (B, C, ceil(H / stride), ceil(W / stride)), summed over scales and flips, not normalised.

    Each view's map is upsampled bilinearly to the common size before the sum, as in IRN (arXiv 1904.05044, make_cam).

    Args:
        network: in evaluation mode, on the device.
        images: (B, 3, H, W) uint8 RGB, all of one size.
        recipe: `scales`, `flip`, `stride`.
    """
    size = [-(-side // recipe.stride) for side in images.shape[2:]]
    total = torch.zeros(())
    for view, flipped in scaled_views(images, recipe.scales, recipe.flip):
        cam = F.interpolate(network.cam(view).float(), size, mode="bilinear", align_corners=False)
        total = total.to(cam.device) + (cam.flip(3) if flipped else cam)
    return total


def quantise(cam: torch.Tensor) -> np.ndarray:
    """Maps (K, h, w) divided by each one's spatial maximum, as uint8 with 255 for 1; a map of zeros stays zero."""
    peak = cam.amax((1, 2), keepdim=True)
    return (cam / (peak + 1e-5) * 255).round().clamp(0, 255).to(torch.uint8).cpu().numpy()


def tagged_maps(
    network: ClassificationNet, dataset: Dataset, ids: list[str], recipe: Params
) -> Iterator[tuple[str, np.ndarray]]:
    """Each image's quantised maps of its tagged classes, (K, h, w) uint8 in the order of its tags."""
    network.eval().to(device())
    groups = group_by_size(dataset, ids, recipe.batch_size)
    with tqdm(total=len(ids), unit="image", disable=None) as bar:
        for group, images in image_batches(dataset, groups):
            maps = activation_maps(network, images, recipe)
            for image_id, cam in zip(group, maps, strict=True):
                yield image_id, quantise(cam[dataset.tags(image_id) - dataset.foreground.start])
            bar.update(len(group))


def write_maps(path: Path, network: ClassificationNet, dataset: Dataset, recipe: Params) -> None:
    """Writes ID.npy for every image of train and val, and cam.json.

    Only tagged classes get a map. On val the tags are the true ones too, which a trained system would not have:
    cam.json says so, and so must every number made from these maps.
    """
    ids = list(dict.fromkeys(image_id for split in LABELLED_SPLITS for image_id in dataset.ids(split)))
    about = {"stride": recipe.stride, "scales": list(recipe.scales), "flip": recipe.flip, "tags": "true, also on val"}
    with write_zip(path) as archive:
        archive.text("cam.json", json.dumps(about) + "\n")
        for image_id, maps in tagged_maps(network, dataset, ids, recipe):
            archive.array(f"{image_id}.npy", maps)
