"""The true instances of an image: those of its instance map, or the connected parts of its mask where it has none."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from skimage.measure import label as connected_components

from stages.core.dataset import INSTANCE_VOID, VOID, Dataset

FROM_MAP = "instance_map"
FROM_COMPONENTS = "components"
EIGHT = 2  # skimage's name for neighbours that share a side or a corner


@dataclass(frozen=True)
class Instances:
    """The true instances of one image; instance j of N is row j - 1 of the tables.

    index: (H, W) int32, 0 where there is no instance, else 1..N.
    void: (H, W) bool, the pixels that count nowhere.
    ids: (N,) int64, the ids in the instance map (1..N where there is none).
    labels: (N,) int64, the class of each.
    areas: (N,) int64, pixels of each, at least 1.
    """

    index: np.ndarray
    void: np.ndarray
    ids: np.ndarray
    labels: np.ndarray
    areas: np.ndarray


def true_instances(mask: np.ndarray, instance_map: np.ndarray | None, background: bool) -> Instances:
    """The instances of one image.

    Without an instance map: the 8-connected components of each class, so an object that another one cuts in two counts
    as two, and objects of one class that touch count as one.

    With one, each of its ids is an instance (ids may have gaps); its class is the highest label under it that is not
    void. Void is what the map calls void, and what no instance claims where the mask is void. An id under which the
    mask is all void becomes void; one that lies on background alone is no instance.

    Args:
        mask: (H, W) uint8 labels, 255 void.
        instance_map: (H, W) uint16 ids, 0 none, 65535 void; or None.
        background: label 0 is the background, which has no instances.
    """
    if instance_map is None:
        return _from_mask(mask, background)
    return _from_map(mask, instance_map, background)


def dataset_instances(dataset: Dataset, image_id: str) -> Instances:
    """`true_instances` of an image of a data set; `instance_source` says which kind they are."""
    return true_instances(dataset.mask(image_id), dataset.instances(image_id), dataset.info.background)


def instance_source(dataset: Dataset) -> str:
    """Where the instances come from, for the outputs: `instance_map`, or `components` of the masks."""
    return FROM_MAP if dataset.info.instances else FROM_COMPONENTS


def components(labels: np.ndarray, nothing: np.ndarray) -> np.ndarray:
    """8-connected components of equal label, (H, W) int32 from 1 in the order of their first pixels.

    Args:
        labels: (H, W) uint8.
        nothing: (H, W) bool, pixels that belong to no component; they are 0 in the result.
    """
    shifted = np.where(nothing, 0, labels.astype(np.int16) + 1)
    return connected_components(shifted, background=0, connectivity=EIGHT).astype(np.int32, copy=False)


def _from_mask(mask: np.ndarray, background: bool) -> Instances:
    void = mask == VOID
    index = components(mask, void | (mask == 0) if background else void)
    areas = np.bincount(index.ravel())[1:]
    labels = np.zeros(areas.size + 1, np.int64)
    labels[index.ravel()] = mask.ravel()  # every pixel of a component has the same label
    return Instances(index, void, np.arange(1, areas.size + 1), labels[1:], areas)


def _from_map(mask: np.ndarray, instance_map: np.ndarray, background: bool) -> Instances:
    seen = np.bincount(instance_map.ravel(), minlength=INSTANCE_VOID + 1) > 0
    seen[[0, INSTANCE_VOID]] = False
    ids = np.flatnonzero(seen)
    number = np.zeros(INSTANCE_VOID + 1, np.int32)
    number[ids] = np.arange(1, ids.size + 1)
    index = number[instance_map]
    codes = index.ravel().astype(np.int64) * (VOID + 1) + mask.ravel()
    under = np.bincount(codes, minlength=(ids.size + 1) * (VOID + 1)).reshape(-1, VOID + 1)[1:]  # labels under each id
    labels = np.where(under[:, :VOID] > 0, np.arange(VOID), -1).max(1, initial=-1)
    void = (instance_map == INSTANCE_VOID) | ((index == 0) & (mask == VOID)) | np.append(False, labels == -1)[index]
    kept = labels >= int(background)
    renumber = np.append(0, np.where(kept, np.cumsum(kept), 0)).astype(np.int32)
    return Instances(renumber[index], void, ids[kept], labels[kept].astype(np.int64), under.sum(1)[kept])
