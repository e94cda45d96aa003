"""The layout of PASCAL VOC 2012: JPEGImages, ImageSets/Segmentation, a folder of masks, XML annotations.

Source: Everingham et al., The PASCAL Visual Object Classes Challenge: A Retrospective, IJCV 2015.
"""

from __future__ import annotations

from stages.core.params import Params
from stages.prepare.layout import Entry, Index, Layout
from stages.prepare.splits import evaluated, read_splits
from stages.prepare.tags import taggable, tags_from_file, tags_from_xml

CLASSES = (
    "background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable",
    "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)  # fmt: skip


def read_voc(index: Index, data: Params, faults: list[str]) -> Layout:
    """The data set that `data` (format voc) declares; `faults` gets everything that is missing.

    Only files of the source are looked up; none but lists, annotations and tags is opened.
    """
    lists = {split: f"ImageSets/Segmentation/{name}.txt" for split, name in data.lists.items()}
    splits = read_splits(index, lists, data.headline, faults)
    entries = []
    for image_id, names in splits.items():
        found = [
            index.files.get(f"JPEGImages/{image_id}.jpg"),
            next(filter(None, (index.files.get(f"{folder}/{image_id}.png") for folder in data.masks)), None),
            index.files.get(f"{data.instances}/{image_id}.png"),
        ]
        needed = [
            (found[0], f"JPEGImages/{image_id}.jpg"),
            (found[1], f"{' or '.join(data.masks)}/{image_id}.png"),
        ]
        if data.instances != "none" and evaluated(data.headline) & set(names):
            needed.append((found[2], f"{data.instances}/{image_id}.png"))
        missing = [name for file, name in needed if file is None]
        faults += [f"{name} is missing; {lists[names[0]]} lists the image" for name in missing]
        if not missing:
            entries.append(Entry(image_id, names, *found))
    tags = None
    if data.tags == "xml":
        tags = tags_from_xml(index, splits, taggable(CLASSES, True), faults)
    elif data.tags == "file":
        tags = tags_from_file(index, data.tags_file, splits, taggable(CLASSES, True), faults)
    return Layout(CLASSES, True, entries, data.instances != "none", tags, data.untrained)
