"""COCO's instances: polygons and run lengths in one JSON per split -> label maps and instance maps.

Source: Lin et al., Microsoft COCO: Common Objects in Context, arXiv 1405.0312.
"""

from __future__ import annotations

from pathlib import PurePosixPath

from stages.core.dataset import VOID
from stages.core.faults import Fault
from stages.core.params import Params
from stages.prepare.coco_json import Annotation, Instances, read_instances
from stages.prepare.drawing import Drawing, Outline
from stages.prepare.layout import Entry, Index, Layout
from stages.prepare.splits import check_splits, join_splits

BACKGROUND = "background"
OFFICIAL = {  # images of COCO 2014 for each value of `ids`
    "instances_train2014.json": {"all": 82783, "annotated": 82081},
    "instances_val2014.json": {"all": 40504, "annotated": 40137},
}


def read_coco(index: Index, data: Params, faults: list[str]) -> Layout:
    """The data set that `data` (format coco) declares; `faults` gets everything that is wrong with its annotations.

    Label 0 is the background, the categories follow by ascending id without gaps (COCO's 80 have the ids 1 to 90). An
    image's id is its file name without suffix. Images come sorted by id inside a split. `ids: annotated` leaves out the
    images without any annotation, as most of the field's lists do: 82 081 and 40 137 of 2014's 82 783 and 40 504.

    Tags from `annotations` are all categories annotated in an image, those of crowds too; tags from masks are what is
    seen there: no crowds, and no object that others cover.

    Raises:
        Fault: a JSON is missing or is none; without it nothing else can be checked.
    """
    labels: dict[int, int] = {}
    classes: tuple[str, ...] = ()
    members: dict[str, list[str]] = {}
    entries: dict[str, Entry] = {}
    tags: dict[str, list[int]] = {}
    left_out, notes = [], []
    for split, name in data.annotations.items():
        found = read_instances(index, name, faults)
        titles = (BACKGROUND, *(found.categories[key] for key in sorted(found.categories)))
        if not classes:
            classes = titles
            labels = {key: label for label, key in enumerate(sorted(found.categories), 1)}
            check_classes(classes, name)
        elif titles != classes or list(labels) != sorted(found.categories):
            faults.append(f"{name} has other categories than {next(iter(data.annotations.values()))}")
            continue
        kept = kept_images(found, data.ids)
        left_out.append(f"{len(found.images) - len(kept)} {split}")
        members[split] = sorted(kept)
        notes += unofficial(name, data.ids, len(kept))
        for image_id in members[split]:
            key = kept[image_id]
            file = index.files.get(f"{data.images[split]}/{found.images[key].file_name}")
            if file is None:
                path = f"{data.images[split]}/{found.images[key].file_name}"
                faults.append(f"{path} is missing; {name} lists the image")
                continue
            if image_id in entries:
                faults.append(f"{name}: {image_id} is an image of split {entries[image_id].splits[0]} too")
                continue
            annotations = found.annotations.get(key, [])
            drawing = drawing_of(f"{name}, image {key}", found, key, annotations, labels)
            entries[image_id] = Entry(image_id, (split,), file, drawing, None)
            tags[image_id] = sorted({labels[annotation.category_id] for annotation in annotations})
        faults += twice(found, kept, name)
    faults += check_splits(members, data.headline, dict(data.annotations))
    ordered = [entries[image_id] for image_id in join_splits(members) if image_id in entries]
    if data.ids == "annotated":
        notes.insert(0, f"images without objects are left out: {', '.join(left_out)}")
    chosen = tags if data.tags == "annotations" else None
    return Layout(classes, True, ordered, True, chosen, data.untrained, notes=tuple(notes))


def check_classes(classes: tuple[str, ...], name: str) -> None:
    """Refuses too many categories, or one that is called as label 0 is.

    Raises:
        Fault: names the file.
    """
    if not 2 <= len(classes) <= VOID:
        raise Fault(f"{name} has {len(classes) - 1} categories; allowed are 1 to {VOID - 1}")
    if BACKGROUND in classes[1:]:
        raise Fault(f"{name} has a category named {BACKGROUND}, which is label 0 and is where no object is")


def kept_images(found: Instances, ids: str) -> dict[str, int]:
    """The image key in the JSON of each id that is used; of two with the same id the first."""
    kept: dict[str, int] = {}
    for key, image in found.images.items():
        if ids == "all" or key in found.annotations:
            kept.setdefault(PurePosixPath(image.file_name).stem, key)
    return kept


def unofficial(name: str, ids: str, images: int) -> list[str]:
    """A warning where a file is called as one of COCO 2014 and gives another number of images."""
    expected = OFFICIAL.get(PurePosixPath(name).name, {}).get(ids, images)
    if images == expected:
        return []
    return [f"{name} gives {images} images (ids: {ids}), COCO's file of this name {expected}; is it another file?"]


def twice(found: Instances, kept: dict[str, int], name: str) -> list[str]:
    """A line for each image whose id another one of the file has."""
    stems = ((key, PurePosixPath(image.file_name).stem) for key, image in found.images.items())
    return [
        f"{name}: images {kept[stem]} and {key} have the same id {stem}"
        for key, stem in stems
        if stem in kept and kept[stem] != key
    ]


def drawing_of(name: str, found: Instances, key: int, annotations: list[Annotation], labels: dict[int, int]) -> Drawing:
    """What a worker needs to draw an image's maps."""
    outlines = tuple(Outline(one.id, labels[one.category_id], one.crowd, one.form, one.parts) for one in annotations)
    return Drawing(name, found.images[key].height, found.images[key].width, outlines)
