"""The Semantic Boundaries Dataset beside VOC 2012: label maps in .mat files, and the list `train_aug` of the field.

Source: Hariharan et al., Semantic Contours from Inverse Detectors, ICCV 2011. Its `benchmark_RELEASE/dataset` has
cls/ID.mat (struct GTcls), inst/ID.mat (struct GTinst), train.txt and val.txt; here its files are named SBD/cls/ID.mat
and so on. Both structs have a field Segmentation, (H, W) uint8: the classes as VOC numbers them, and the objects,
numbered from 1. Unlike VOC's own maps they have no void border.
"""

from __future__ import annotations

import hashlib
from pathlib import PurePosixPath

import numpy as np

from stages.core.faults import Fault
from stages.prepare.layout import Index
from stages.prepare.mat_files import is_mat, read_field

SBD = "SBD"
SUFFIX = ".mat"
STRUCTS = {"cls": "GTcls", "inst": "GTinst"}
MOST_BYTES = 64 << 20  # of an element, unpacked; those of SBD have under 1 MB

TRAIN_AUG = "train_aug"
LISTS = "ImageSets/Segmentation"
PARTS = (f"{LISTS}/train.txt", f"{SBD}/train.txt", f"{SBD}/val.txt")
WITHOUT = f"{LISTS}/val.txt"
COUNTS = {
    TRAIN_AUG: 10582,
    f"{LISTS}/train.txt": 1464,
    f"{SBD}/train.txt": 8498,
    f"{SBD}/val.txt": 2857,
    WITHOUT: 1449,
}
MD5 = {  # of the ids, sorted, each with a newline; ten public repositories have these lists, byte for byte
    TRAIN_AUG: "215992f6fd958f89800449fdb4bbabe6",
    f"{LISTS}/train.txt": "223101833d3a86c8a837814f3e7afe88",
    WITHOUT: "5510db06bbb92848a0bf6109eba6d646",
}


def segmentation(content: bytes, name: str) -> np.ndarray:
    """The map (H, W) of integers in cls/ID.mat or inst/ID.mat; the folder in `name` says which.

    Only MATLAB's format 5 is read, which SBD has, and what an element unpacks to is bounded.

    Raises:
        ValueError: the bytes are no such file; the message does not repeat the name.
    """
    struct = STRUCTS[PurePosixPath(name).parent.name]
    if not is_mat(content):
        raise ValueError(f"no MATLAB 5 file ({len(content)} bytes)")
    try:
        array = read_field(content, struct, "Segmentation", MOST_BYTES)
    except ValueError as error:
        raise ValueError(f"not a whole {SUFFIX} file of SBD: {error}") from None
    if array is None:
        raise ValueError(f"has no struct {struct}, which SBD's {name.rpartition('/')[0]} files have")
    if not isinstance(array, np.ndarray) or array.ndim != 2 or array.dtype.kind not in "iu" or not array.size:
        what = f"shape {array.shape} and type {array.dtype}" if isinstance(array, np.ndarray) else array
        raise ValueError(f"{struct}.Segmentation is of {what}; it must be a map (height, width) of whole numbers")
    return array


def train_aug(index: Index) -> list[str]:
    """The ids to train on that the field calls train_aug: VOC's train and all of SBD, without VOC's val; sorted.

    Raises:
        Fault: a list is missing, or the result is not the list of 10 582 ids that everybody uses; the lists that differ
            from the known ones are named.
    """
    names = (*PARTS, WITHOUT)
    missing = [name for name in names if name not in index.files]
    if missing:
        raise Fault(
            f"{', '.join(missing)} must be in the source: of {', '.join(names)} the list is made; "
            f"or put {LISTS}/{TRAIN_AUG}.txt there"
        )
    lists = {name: [image_id for _, image_id in index.lines(name)] for name in names}
    ids = sorted(set().union(*(lists[name] for name in PARTS)) - set(lists[WITHOUT]))
    if md5_of_list(ids) == MD5[TRAIN_AUG]:
        return ids
    differ = "; ".join(filter(None, (difference(name, members) for name, members in lists.items())))
    raise Fault(
        f"they give {len(ids)} ids, and not the field's {COUNTS[TRAIN_AUG]} with md5 {MD5[TRAIN_AUG]}: "
        f"{differ or 'an id in a list of SBD is another than is known'}; repair the lists, or put "
        f"{LISTS}/{TRAIN_AUG}.txt there"
    )


def difference(name: str, ids: list[str]) -> str:
    """In what a list is not the known one; nothing where it is, or where only its length is known."""
    if len(ids) != COUNTS[name] or len(set(ids)) != COUNTS[name]:
        twice = f", {len(ids) - len(set(ids))} of them twice" if len(set(ids)) != len(ids) else ""
        return f"{name} has {len(ids)} ids{twice}, and {COUNTS[name]} are known"
    return f"{name} has other ids than are known" if md5_of_list(ids) != MD5.get(name, md5_of_list(ids)) else ""


def md5_of_list(ids: list[str]) -> str:
    """The md5 of the sorted ids, each with a newline."""
    text = "".join(f"{image_id}\n" for image_id in sorted(ids))
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()
