"""Image tags as the field's repositories pass them on: cls_labels.npy, a pickled dictionary of arrays."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from stages.core.label_files import BadMap
from stages.core.npy_objects import read_npy

MOST_OPCODES = 50_000_000  # of the pickle; an image has about 40


def tags_from_arrays(
    content: bytes, name: str, ids: Iterable[str], labels: dict[str, int], faults: list[str]
) -> dict[str, list[int]]:
    """The tags in an .npy file of the dictionary {id: (K,) zeros and ones}, K classes without the background.

    The format is that of psa (arXiv 1803.10464) and IRN (arXiv 1904.05044), whose cls_labels.npy the field has copied.
    IRN's keys are whole numbers, an id without its underscore. Nothing in the file is executed, see `core.npy_objects`.

    Args:
        content: of the file.
        name: of the file, for messages.
        ids: the images of the data set; others in the file are left out.
        labels: label by name of the classes, in the order of the arrays.
        faults: gets images without an array, and arrays that are no tags.
    """
    wanted = dict.fromkeys(ids)
    try:
        pairs = read_npy(content, MOST_OPCODES)
    except BadMap as error:
        faults.append(f"{name}: {error}")
        return {}
    if isinstance(pairs, np.ndarray):
        faults.append(f"{name}: an array of shape {pairs.shape}, and not a dictionary of an array per image")
        return {}
    numbers = {int(plain): image_id for image_id in wanted if (plain := image_id.replace("_", "")).isdecimal()}
    order = np.array(sorted(labels.values()))
    tags: dict[str, list[int]] = {}
    for key, array in pairs:
        image_id = numbers.get(key) if isinstance(key, int) else key
        if image_id not in wanted:
            continue
        if image_id in tags:
            faults.append(f"{name}: {image_id} stands there twice")
        elif array.shape != order.shape:
            faults.append(f"{name}: {image_id} has an array of shape {array.shape}, and there are {order.size} classes")
        elif not np.isin(array, (0, 1)).all():
            faults.append(f"{name}: {image_id} has values other than 0 and 1")
        tags.setdefault(image_id, order[array == 1].tolist() if array.shape == order.shape else [])
    faults += [f"{name} has no tags of image {image_id}" for image_id in wanted if image_id not in tags]
    return tags
