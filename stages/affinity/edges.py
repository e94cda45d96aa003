"""Boundary network -> edge maps, batched by image size, 8 bit at the network's stride."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from stages.affinity.network import BoundaryNet
from stages.core.dataset import LABELLED_SPLITS, Dataset
from stages.core.device import device
from stages.core.files import write_zip
from stages.core.inference import group_by_size, image_batches, scaled_views


@torch.inference_mode()
def edge_maps(network: BoundaryNet, images: torch.Tensor) -> np.ndarray:
    """Edge maps (B, ceil(H / stride), ceil(W / stride)) uint8, 255 = 1, of images (B, 3, H, W) uint8 RGB of one size.

    The sigmoid of the mean of the logits of an image and of its flip, as in the authors' code.

    network: in evaluation mode, on the device.
    """
    views = scaled_views(images, (1.0,), flip=True)
    logits = [network(view).flip(2) if flipped else network(view) for view, flipped in views]
    edges = torch.stack(logits).float().mean(0).sigmoid()
    return (edges * 255).round().to(torch.uint8).cpu().numpy()


def write_edges(path: Path, network: BoundaryNet, dataset: Dataset, batch_size: int) -> None:
    """Writes ID.npy for every image of train and val, and edges.json."""
    network.eval().to(device())
    ids = list(dict.fromkeys(image_id for split in LABELLED_SPLITS for image_id in dataset.ids(split)))
    groups = group_by_size(dataset, ids, batch_size)
    with write_zip(path) as archive, tqdm(total=len(ids), unit="image", disable=None) as bar:
        archive.text("edges.json", json.dumps({"kind": "irn", "stride": network.stride}) + "\n")
        for group, images in image_batches(dataset, groups):
            for image_id, edges in zip(group, edge_maps(network, images), strict=True):
                archive.array(f"{image_id}.npy", edges)
            bar.update(len(group))
