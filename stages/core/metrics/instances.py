"""The true instances of an image: those of its instance map, or the connected parts of its mask where it has none."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cc3d
import numpy as np

from stages.core.dataset import INSTANCE_VOID, VOID, Dataset

FROM_MAP = "instance_map"
FROM_COMPONENTS = "components"


@dataclass(frozen=True)
class Instances:
    """The true instances of one image; instance j of N is row j - 1 of the tables.

    index: (H, W) int32, or one value per place (see `grouped`): -1 where the pixel counts nowhere, 0 where there is no
        instance, else 1..N.
    ids: (N,) int64, the ids in the instance map (1..N where there is none).
    labels: (N,) int64, the class of each.
    areas: (N,) int64, pixels of each, at least 1.
    """

    index: np.ndarray
    ids: np.ndarray
    labels: np.ndarray
    areas: np.ndarray

    @property
    def void(self) -> np.ndarray:
        """bool like index, the pixels that count nowhere."""
        return self.index < 0


def true_instances(
    mask: np.ndarray, instance_map: np.ndarray | None, background: bool, void_from_map: bool = False
) -> Instances:
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
        void_from_map: what the mask alone calls void counts, as no class; see `ia_miou`, mode `paper`.
    """
    ids = components(mask, background) if instance_map is None else instance_map
    found = grouped(mask.ravel(), ids.ravel(), None, instance_map is not None, background, void_from_map)
    return replace(found, index=found.index.reshape(mask.shape))


def dataset_instances(dataset: Dataset, image_id: str) -> Instances:
    """`true_instances` of an image of a data set; `instance_source` says which kind they are."""
    return true_instances(dataset.mask(image_id), dataset.instances(image_id), dataset.info.background)


def instance_source(dataset: Dataset) -> str:
    """Where the instances come from, for the outputs: `instance_map`, or `components` of the masks."""
    return FROM_MAP if dataset.info.instances else FROM_COMPONENTS


def components(labels: np.ndarray, background: bool) -> np.ndarray:
    """8-connected components of equal label, (H, W), from 1 in the order of their first pixels.

    Void pixels form components of their own, or none (0) where there is no background.

    Args:
        labels: (H, W) uint8.
        background: label 0 belongs to no component and is 0 in the result; otherwise it is a class.
    """
    shifted = labels if background else labels + np.uint8(1)  # void, 255, becomes 0
    return cc3d.connected_components(shifted, connectivity=8)


def grouped(
    labels: np.ndarray,
    ids: np.ndarray,
    pixels: np.ndarray | None,
    from_map: bool,
    background: bool,
    void_from_map: bool = False,
) -> Instances:
    """The instances of an image given as a list of places, each with a label, an id and a number of pixels.

    Args:
        labels: (P,) uint8 labels of the mask, 255 void.
        ids: (P,) ids of the instance map, or numbers of the mask's `components`.
        pixels: (P,) pixels of each place; None where each is one.
        from_map: the ids are an instance map's, in which 65535 is void, and are kept as they are.
        background, void_from_map: see `true_instances`; void in a mask without a map is void in any case.

    Returns:
        Instances whose index is (P,).
    """
    seen = np.bincount(ids, minlength=INSTANCE_VOID + 1) > 0
    seen[0] = False
    if from_map:
        seen[INSTANCE_VOID] = False
    known = np.flatnonzero(seen)
    number = np.zeros(seen.size, np.int32)
    number[known] = np.arange(1, known.size + 1)
    if from_map:
        number[INSTANCE_VOID] = known.size + 1
    codes = number[ids] * np.int32(VOID + 1) + labels
    cells = (known.size + 2) * (VOID + 1)
    table = np.bincount(codes, pixels, cells).astype(np.int64).reshape(-1, VOID + 1)
    under = table[1:-1]  # pixels by label under each id
    own = np.where(under[:, :VOID] > 0, np.arange(VOID), -1).max(1, initial=-1)
    kept = own >= int(background)
    meaning = np.zeros((known.size + 2, VOID + 1), np.int32)  # of a place, by the number of its id and its label
    meaning[1:-1] = np.where(own == -1, -1, np.where(kept, np.cumsum(kept), 0))[:, None]
    meaning[-1] = -1
    if not (from_map and void_from_map):
        meaning[0, VOID] = -1
    names = known[kept] if from_map else np.arange(1, kept.sum() + 1)
    return Instances(meaning.ravel()[codes], names, own[kept].astype(np.int64), under.sum(1)[kept])
