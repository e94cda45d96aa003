"""All scores of a set of images, from what each adds to them; also of thousands of resamples of it at once.

Every score here is a function of sums over images, so the sums of a resample in which image i counts w_i times are the
product of its weights with one sparse matrix.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_array

from stages.core.metrics.confusion import iou
from stages.core.metrics.image_counts import ImageCounts
from stages.core.metrics.means import mean_defined, ratio
from stages.core.metrics.sizes import SIZES, size_bin

PIXELS = ("true", "predicted", "hits", "boundary_hits", "boundary_union", "image_iou", "images")
IA_SIZES = ("ia_s", "ia_m", "ia_l")
SCORES = (  # see `Sums.scores`
    "miou", "miou_fg", "ia_miou", "ia_miou_fg", *IA_SIZES, "pixel_accuracy", "fw_iou", "dice", "boundary_iou", "miou_i",
    "miou_c",
)  # fmt: skip


@dataclass(frozen=True)
class Sums:
    """Sums over images, each with a first axis of R resamples and NaN nowhere.

    pixels: by name in `PIXELS`, each (R, C): true, predicted and correctly predicted pixels of each class, those of
        its boundary bands, and over the images that have the class in truth, the sum of its IoU and their number.
    ious, instances, missed: (R, C, 3) sum of the IoUs, number, and number with IoU 0 of the instances by size.
    background: (R, 2) sum of the background's IoU over images, and number of images that have one.
    image_miou: (R, 2) sum of each image's own mIoU, and number of images that have one.
    has_background: label 0 is the background.
    """

    pixels: Mapping[str, np.ndarray]
    ious: np.ndarray
    instances: np.ndarray
    missed: np.ndarray
    background: np.ndarray
    image_miou: np.ndarray
    has_background: bool

    def class_iou(self) -> np.ndarray:
        """IoU of each class over all pixels, (R, C); NaN without true pixels, as everywhere below."""
        return iou(*(self.pixels[name] for name in PIXELS[:3]))

    def class_dice(self) -> np.ndarray:
        """Dice coefficient of each class over all pixels, 2 |P and G| / (|P| + |G|), (R, C)."""
        true, predicted, hits = (self.pixels[name] for name in PIXELS[:3])
        return ratio(2 * hits, true + predicted, true > 0)

    def class_precision(self) -> np.ndarray:
        """Share of the pixels predicted as each class that are right, (R, C); NaN for a class never predicted."""
        return ratio(self.pixels["hits"], self.pixels["predicted"])

    def class_recall(self) -> np.ndarray:
        """Share of each class's true pixels that are found, (R, C)."""
        return ratio(self.pixels["hits"], self.pixels["true"])

    def class_boundary_iou(self) -> np.ndarray:
        """Boundary IoU of each class, (R, C), see `boundary_counts`."""
        return ratio(self.pixels["boundary_hits"], self.pixels["boundary_union"], self.pixels["true"] > 0)

    def class_image_iou(self) -> np.ndarray:
        """Mean of each class's IoU over the images that have it, (R, C): the terms of mIoU-C."""
        return ratio(self.pixels["image_iou"], self.pixels["images"])

    def class_size_ia_iou(self) -> np.ndarray:
        """Mean IoU of each class's instances of each size, (R, C, 3)."""
        return ratio(self.ious, self.instances)

    def class_ia_iou(self) -> np.ndarray:
        """Mean IoU of each class's instances, (R, C); of the background, over images."""
        total, count = self.ious.sum(2), self.instances.sum(2)
        if self.has_background:
            total[:, 0], count[:, 0] = self.background.T
        return ratio(total, count)

    def class_instances(self) -> np.ndarray:
        """Number of instances of each class, (R, C); of the background, of images that have some."""
        count = self.instances.sum(2)
        if self.has_background:
            count[:, 0] = self.background[:, 1]
        return count

    def scores(self) -> dict[str, np.ndarray]:
        """Every headline number, each (R,) in 0..1, NaN where nothing defines it; means are over the defined classes.

        miou, miou_fg: mean IoU of all classes, and of all but the background.
        ia_miou, ia_miou_fg, ia_s, ia_m, ia_l: arXiv 2309.14117, see `ia_miou`.
        pixel_accuracy: share of the pixels that are right.
        fw_iou: IoU of the classes weighted by their true pixels (Long et al. 2015, arXiv 1411.4038).
        dice: mean Dice coefficient of all classes but the background.
        boundary_iou: mean Boundary IoU of all classes.
        miou_i: mean over images of each one's mIoU over the classes in its truth; miou_c: mean over classes of the
            mean IoU over the images that have the class (Wang et al. 2023, arXiv 2310.19252).
        """
        first = int(self.has_background)
        by_class, ia, true = self.class_iou(), self.class_ia_iou(), self.pixels["true"]
        by_size = mean_defined(self.class_size_ia_iou(), 1)
        values = (
            mean_defined(by_class),
            mean_defined(by_class[:, first:]),
            mean_defined(ia),
            mean_defined(ia[:, first:]),
            *by_size.T,
            ratio(self.pixels["hits"].sum(1), true.sum(1)),
            ratio((np.nan_to_num(by_class) * true).sum(1), true.sum(1)),
            mean_defined(self.class_dice()[:, first:]),
            mean_defined(self.class_boundary_iou()),
            ratio(*self.image_miou.T),
            mean_defined(self.class_image_iou()),
        )
        return dict(zip(SCORES, values, strict=True))


class Summands:
    """What each of N images adds to `Sums`, as one sparse matrix of N rows.

    Args:
        images: at least one.
        bounds: the two areas in pixels that divide small, medium and large.
        num_classes: number of labels.
        background: label 0 is the background.
    """

    def __init__(
        self, images: Sequence[ImageCounts], bounds: Sequence[int], num_classes: int, background: bool
    ) -> None:
        self.classes, self.has_background, self.size = num_classes, background, len(images)
        sizes = np.array([image.labels.size for image in images])
        row, label = np.repeat(np.arange(self.size), sizes), joined(images, "labels")
        counts = {name: joined(images, name).astype(np.float64) for name in PIXELS[:5]}
        shown = counts["true"] > 0
        own_iou = np.nan_to_num(iou(*(counts[name] for name in PIXELS[:3])))
        counts |= {"image_iou": own_iou, "images": shown.astype(np.float64)}
        entries = [(row, index * num_classes + label, counts[name]) for index, name in enumerate(PIXELS)]
        self.start = len(PIXELS) * num_classes

        numbers = np.array([image.ious.size for image in images])
        instance_row, ious = np.repeat(np.arange(self.size), numbers), joined(images, "ious")
        cell = joined(images, "instance_labels") * len(SIZES) + size_bin(joined(images, "areas"), bounds)
        cells = num_classes * len(SIZES)
        for index, values in enumerate((ious, np.ones_like(ious), (ious == 0).astype(np.float64))):
            entries.append((instance_row, self.start + index * cells + cell, values))
        self.last = self.start + 3 * cells

        with_background = np.array([image.background for image in images])
        own = ratio(np.bincount(row, counts["image_iou"], self.size), np.bincount(row, counts["images"], self.size))
        for index, values in enumerate((with_background, own)):
            defined = np.flatnonzero(~np.isnan(values))
            column = np.full(defined.size, self.last + 2 * index)
            entries += [(defined, column, values[defined]), (defined, column + 1, np.ones(defined.size))]
        rows, columns, values = (np.concatenate(parts) for parts in zip(*entries, strict=True))
        self.matrix = csr_array((values, (rows, columns)), (self.size, self.last + 4))

    def sums(self, weights: np.ndarray | None = None) -> Sums:
        """The sums in which image i counts weights[r, i] times, for R resamples; once each without weights."""
        weights = np.ones((1, self.size)) if weights is None else weights
        sums = (self.matrix.T @ weights.T).T
        pixels = sums[:, : self.start].reshape(-1, len(PIXELS), self.classes)
        by_size = sums[:, self.start : self.last].reshape(-1, 3, self.classes, len(SIZES))
        return Sums(
            dict(zip(PIXELS, pixels.transpose(1, 0, 2), strict=True)),
            *by_size.transpose(1, 0, 2, 3),
            sums[:, self.last : self.last + 2],
            sums[:, self.last + 2 :],
            self.has_background,
        )


def joined(images: Sequence[ImageCounts], name: str) -> np.ndarray:
    """One attribute of all images in a row; unsigned bytes become int64, so that they can be computed with."""
    values = np.concatenate([getattr(image, name) for image in images])
    return values.astype(np.int64) if values.dtype == np.uint8 else values
