"""Label maps from sizes and images alone, where one object encloses another that is round and brighter.

The user names the two classes, and a third that touches them and has the inner one's colour, if there is one: in the
short-axis view of the heart the left ventricle, the myocardium and the right ventricle. The sizes then say how large
the disc and the ring are, and the images where they are (see `disc_in_ring`, `beside`); nothing is labelled by hand.
This is an assumption about the anatomy, not a method of the literature; the file name of an image may say which
subject, place and phase it shows, which helps to find the objects.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

import cv2
import numpy as np

from stages.core.dataset import VOID, Dataset
from stages.core.faults import Fault, combine
from stages.core.params import Params
from stages.segment.beside import beside
from stages.segment.disc_in_ring import Series, locate

GROUPS = ("subject", "place")


@dataclass(frozen=True)
class Found:
    """What an image's label map is drawn from; lengths in pixels of the image, (row, column) for points.

    other: (h, w) bool at the coarser resolution, True in the third object.
    """

    height: int
    width: int
    subject: np.ndarray
    reach: float
    centre: np.ndarray
    first: float
    second: float
    other: np.ndarray


class NestedMasks:
    """The label maps of the training images, also from worker processes.

    Args:
        dataset: a prepared data set with a background.
        targets: relative size per image id and label, (K,), see `supervision.target_rows`.
        params: `inner`, `outer`, `beside` (class names, the last or none), `series` (a regular expression with the
            groups subject and place that matches an image's whole id up to its phase, or none: each image by itself),
            `long_side` (pixels, of the images in which the objects are sought), `reach` (radius of the region in which
            all objects lie, in radii of a disc of their largest common size), `trust` (above 0, at most 1: the share
            of an object that is labelled, its core; below 1 the rest of the region is void).

    Raises:
        Fault: the data set has no background or no such class, an id does not match `series`, or the images of a
            subject differ in size.
    """

    def __init__(self, dataset: Dataset, targets: dict[str, np.ndarray], params: Params) -> None:
        if not dataset.info.background:
            raise Fault(f"seeds nested_masks need a background, which data set {dataset.info.name} lacks")
        self._labels = named_labels(dataset, params)
        self._trust = params.trust
        self._found: dict[str, Found] = {}
        for ids in by_subject(targets, params.series):
            self._found |= self._search(dataset, ids, targets, params)

    def _search(
        self, dataset: Dataset, ids: dict[str, str], targets: dict[str, np.ndarray], params: Params
    ) -> dict[str, Found]:
        """Of one subject; `ids` has the place of each of its images."""
        records = [dataset.records[image_id] for image_id in ids]
        height, width = records[0].height, records[0].width
        odd = [r.id for r in records if (r.height, r.width) != (height, width)]
        if odd:
            rule = "the images of a subject must have one size to show what moves; see the recipe's nested.series"
            raise Fault(f"image {odd[0]} has another size than {records[0].id}: {rule}")
        scale = params.long_side / max(height, width)
        size = max(1, round(width * scale)), max(1, round(height * scale))
        images = np.stack([shrunken(dataset.image(image_id), size) for image_id in ids])
        areas = np.stack([targets[image_id] for image_id in ids]) * (size[0] * size[1])
        none = np.zeros(len(ids))
        inner, outer, other = (none if label is None else areas[:, label] for label in self._labels)
        places = np.unique(list(ids.values()), return_inverse=True)[1]
        series = Series(images, places, inner, outer, inner + outer + other)
        location = locate(series)
        ranks = beside(series, location, other, params.reach)
        first, second = np.sqrt(inner / np.pi) / scale, np.sqrt((inner + outer) / np.pi) / scale
        subject = (location.subject + 0.5) / scale - 0.5
        reach = params.reach * location.radius / scale
        centres = (location.centres + 0.5) / scale - 0.5
        return {
            image_id: Found(height, width, subject, reach, *values)
            for image_id, *values in zip(ids, centres, first, second, ranks < self._trust, strict=True)
        }

    def __call__(self, image_id: str) -> np.ndarray:
        """The label map (H, W) uint8, 255 where nothing is said."""
        found = self._found[image_id]
        inner, outer, other = self._labels
        rows, columns = np.ogrid[: found.height, : found.width]
        labels = np.full((found.height, found.width), 0 if self._trust == 1 else VOID, np.uint8)
        labels[np.hypot(rows - found.subject[0], columns - found.subject[1]) >= found.reach] = 0
        if other is not None:
            size = found.width, found.height
            share = cv2.resize(found.other.astype(np.float32), size, interpolation=cv2.INTER_LINEAR)
            labels[share > 0.5] = other
        if np.isfinite(found.centre).all():
            distance = np.hypot(rows - found.centre[0], columns - found.centre[1])
            middle, half = (found.first + found.second) / 2, (found.second - found.first) / 2
            labels[np.abs(distance - middle) < self._trust * half] = outer
            labels[distance < self._trust**0.5 * found.first] = inner
        return labels


def shrunken(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The grey image (h, w) float32 in 0..1 at `size` (w, h), each pixel the mean of those it covers."""
    grey = image.astype(np.float32).mean(2) / 255
    return cv2.resize(grey, size, interpolation=cv2.INTER_AREA if size[0] < grey.shape[1] else cv2.INTER_LINEAR)


def named_labels(dataset: Dataset, params: Params) -> tuple[int, int, int | None]:
    """The labels of `inner`, `outer` and `beside`.

    Raises:
        Fault: there is no such class.
    """
    classes = dataset.info.classes
    names = {key: params[key] for key in ("inner", "outer", "beside") if key != "beside" or params[key] != "none"}
    faults = [
        f"nested.{key}: there is no object class {name!r}; there are {', '.join(classes[1:])}"
        for key, name in names.items()
        if name not in classes[1:]
    ]
    if faults:
        raise combine(f"nested masks do not fit data set {dataset.info.name}", faults)
    labels = {key: classes.index(name) for key, name in names.items()}
    return labels["inner"], labels["outer"], labels.get("beside")


def by_subject(ids: Iterable[str], series: str) -> list[dict[str, str]]:
    """For each subject its images' ids, with the name of the place that each shows.

    Raises:
        Fault: ids do not match `series`.
    """
    if series == "none":
        return [{image_id: image_id} for image_id in ids]
    pattern, subjects, strange = re.compile(series), {}, []
    for image_id in ids:
        match = pattern.fullmatch(image_id)
        if match is None:
            strange.append(image_id)
        else:
            subjects.setdefault(match["subject"], {})[image_id] = match["place"]
    if strange:
        raise Fault(f"nested.series {series!r} does not match {len(strange)} image ids, {strange[0]} among them")
    return list(subjects.values())
