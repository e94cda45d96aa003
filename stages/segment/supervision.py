"""What a method reads for each training image: label maps, sizes or tags."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from stages.core.dataset import VOID, Dataset
from stages.core.faults import Fault
from stages.core.files import ZipReader, read_csv
from stages.core.params import Params
from stages.segment.matched_masks import MatchedMasks
from stages.segment.nested_masks import NestedMasks
from stages.segment.resized_masks import ResizedMasks


@dataclass(frozen=True)
class Sources:
    """The files that supervision comes from: `pseudo_masks` of refine, `cams` of cam, `size_targets`."""

    pseudo_masks: Path
    cams: Path
    size_targets: Path


def spread(ids: list[str], count: int) -> list[str]:
    """So many of the ids, at most all, spread evenly over their list."""
    places = np.linspace(0, len(ids) - 1, min(count, len(ids))).round().astype(int)
    return [ids[place] for place in places]


def repeated(ids: list[str], length: int) -> list[str]:
    """The ids in turn, again and again, `length` of them."""
    return [ids[place % len(ids)] for place in range(length)]


def label_maps(
    kind: str | None, dataset: Dataset, ids: list[str], sources: Sources, recipe: Params | None = None
) -> Callable[[str], np.ndarray] | None:
    """A function from an image's id to its label map (H, W) uint8; None where the method reads none.

    kind: `masks`, `resized_masks` (see `segment.resized_masks`), `pseudo_masks`, `matched_masks` (see
        `segment.matched_masks`), `nested_masks` (see `segment.nested_masks`) or None.
    ids: the training images.
    recipe: the method's, whose `nested` is the section of `nested_masks`; nothing else reads it.

    Raises:
        Fault: training images have no masks, or an image has no size to match.
    """
    if kind in ("masks", "resized_masks"):
        if not dataset.masked(ids):
            raise Fault(
                f"data set {dataset.info.name} has no masks of train, which this method trains on; take another"
            )
        if kind == "masks":
            return dataset.mask
        sizes, true = (size_rows(dataset, ids, sources, column) for column in ("target", "true"))
        factors = np.divide(sizes, true, out=np.ones_like(sizes), where=true > 0)
        return ResizedMasks(dataset, dict(zip(ids, factors, strict=True)))
    if kind == "pseudo_masks":
        return PseudoMasks(sources.pseudo_masks)
    if kind == "matched_masks":
        rows = target_rows("sizes", dataset, ids, sources)
        for image_id, row in zip(ids, rows, strict=True):
            if len(tags := dataset.tags(image_id)) and not row[tags].any():
                raise Fault(f"{sources.size_targets} has no size for the tags of image {image_id}")
        return MatchedMasks(dataset, sources.cams, dict(zip(ids, rows, strict=True)))
    if kind == "nested_masks":
        rows = target_rows("sizes", dataset, ids, sources)
        return NestedMasks(dataset, dict(zip(ids, rows, strict=True)), recipe.nested)
    return None


@dataclass(frozen=True)
class SomeMasks:
    """The true masks of some images, and for the others what `rest` gives, or void everywhere."""

    dataset: Dataset
    known: Collection[str]
    rest: Callable[[str], np.ndarray] | None

    def __call__(self, image_id: str) -> np.ndarray:
        """The label map (H, W) uint8, 255 where nothing is said."""
        if image_id in self.known:
            return self.dataset.mask(image_id)
        if self.rest:
            return self.rest(image_id)
        record = self.dataset.records[image_id]
        return np.full((record.height, record.width), VOID, np.uint8)


class PseudoMasks:
    """Random access to the masks of `refine`, also from worker processes."""

    def __init__(self, path: Path) -> None:
        self._zip = ZipReader(path)

    def __call__(self, image_id: str) -> np.ndarray:
        """The pseudo mask (H, W) uint8, 255 where it is uncertain."""
        return self._zip.png(f"masks/{image_id}.png")


def target_rows(kind: str | None, dataset: Dataset, ids: list[str], sources: Sources) -> np.ndarray:
    """A row per image, (len(ids), K) float32: `sizes`, `tags` (the background is always present) or None (no columns).

    Raises:
        Fault: an image has no size target.
    """
    if kind is None:
        return np.zeros((len(ids), 0), np.float32)
    rows = np.zeros((len(ids), dataset.num_classes), np.float32)
    if kind == "tags":
        rows[:, dataset.foreground.start :] = dataset.tag_matrix(ids)
        if dataset.info.background:
            rows[:, 0] = 1
        return rows
    return size_rows(dataset, ids, sources, "target")


def size_rows(dataset: Dataset, ids: list[str], sources: Sources, column: str) -> np.ndarray:
    """The sizes in a column of the size targets, `target` or `true`, (len(ids), K) float32.

    Raises:
        Fault: an image has none.
    """
    rows = {image_id: np.zeros(dataset.num_classes, np.float32) for image_id in ids}
    for line in read_csv(sources.size_targets):
        if line["id"] in rows:
            rows[line["id"]][int(line["class"])] = float(line[column])
    missing = [image_id for image_id, row in rows.items() if not row.any()]
    if missing:
        raise Fault(f"{sources.size_targets} has no sizes for {len(missing)} training images, {missing[0]} among them")
    return np.stack([rows[image_id] for image_id in ids])
