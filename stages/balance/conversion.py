"""The maps of all images of LVIS and COCO, from as many processes as there are CPUs.

A module of its own, so that a worker process need not import what the choice and the plot need.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

from stages.balance.annotations import ImageWork
from stages.balance.mapping import CLASSES
from stages.balance.paint import paint
from stages.core.faults import combine
from stages.core.files import encode_png
from stages.core.metrics.instances import true_instances
from stages.core.metrics.sizes import class_size_counts
from stages.core.pool import process_map

BOUNDS = (32**2, 96**2)  # pixels from which an instance is medium and large, in PASCAL-B and in COCO


def convert(folder: Path, work: ImageWork) -> tuple[np.ndarray, str]:
    """Writes the two maps of an image that has an instance.

    Returns:
        Instances by class and size, (21, 3), and what is wrong with the image, or nothing.
    """
    try:
        mask, ids = paint(work)
    except ValueError as error:
        return np.zeros((len(CLASSES), len(BOUNDS) + 1), np.int64), f"image {work.name}: {error}"
    found = true_instances(mask, ids, background=True)
    if found.labels.size:
        (folder / "masks" / f"{work.name}.png").write_bytes(encode_png(mask))
        (folder / "instances" / f"{work.name}.png").write_bytes(encode_png(ids))
    return class_size_counts(found.labels, found.areas, BOUNDS, len(CLASSES)), ""


def converted(folder: Path, works: list[ImageWork]) -> np.ndarray:
    """Instances by image, class and size, (images, 21, 3); the maps are in `folder`.

    Raises:
        Fault: outlines are wrong; all of them are listed.
    """
    (folder / "masks").mkdir()
    (folder / "instances").mkdir()
    counts, faults = [], []
    for found, fault in process_map(partial(convert, folder), works, "convert", len(works)):
        counts.append(found)
        if fault:
            faults.append(fault)
    if faults:
        raise combine("annotations cannot be drawn", faults)
    return np.array(counts)
