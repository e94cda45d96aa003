"""The layout of PASCAL VOC 2012: JPEGImages, ImageSets/Segmentation, a folder of masks, XML annotations.

Source: Everingham et al., The PASCAL Visual Object Classes Challenge: A Retrospective, IJCV 2015. SBD, which labels
more of its images, may stand among the folders of masks, see `prepare.sbd`.
"""

from __future__ import annotations

from stages.core.params import Params
from stages.prepare.layout import Entry, Index, Layout
from stages.prepare.sbd import SBD, SUFFIX, TRAIN_AUG, train_aug
from stages.prepare.splits import evaluated, read_splits
from stages.prepare.tags import taggable, tags_from_file, tags_from_xml

CLASSES = (
    "background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable",
    "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)  # fmt: skip


def read_voc(index: Index, data: Params, faults: list[str]) -> Layout:
    """The data set that `data` (format voc) declares; `faults` gets everything that is missing.

    Only files of the source are looked up; none but lists, annotations and tags is opened. Where the source has no
    train_aug.txt, that list is made of VOC's and SBD's. An image whose mask is SBD's has SBD's instances too.
    """
    lists = {split: f"ImageSets/Segmentation/{name}.txt" for split, name in data.lists.items()}
    made = {
        split: train_aug
        for split, name in data.lists.items()
        if name == TRAIN_AUG and SBD in data.masks and lists[split] not in index.files
    }
    lists |= dict.fromkeys(made, f"{TRAIN_AUG}, made of VOC's and SBD's lists,")
    splits = read_splits(index, lists, data.headline, faults, made)
    entries = []
    for image_id, names in splits.items():
        masks = [mask_name(folder, image_id) for folder in data.masks]
        mask = next((index.files[name] for name in masks if name in index.files), None)
        from_sbd = mask is not None and mask.name.endswith(SUFFIX)
        instances = f"{SBD}/inst/{image_id}{SUFFIX}" if from_sbd else f"{data.instances}/{image_id}.png"
        used = data.instances != "none"
        found = [index.files.get(f"JPEGImages/{image_id}.jpg"), mask, index.files.get(instances) if used else None]
        needed = [(found[0], f"JPEGImages/{image_id}.jpg"), (found[1], " or ".join(masks))]
        if used and evaluated(data.headline) & set(names):
            needed.append((found[2], instances))
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


def mask_name(folder: str, image_id: str) -> str:
    """The mask of an image in one of the folders of masks."""
    return f"{SBD}/cls/{image_id}{SUFFIX}" if folder == SBD else f"{folder}/{image_id}.png"
