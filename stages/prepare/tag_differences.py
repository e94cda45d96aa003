"""Where image tags from a list are not the classes that the masks show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

COLUMNS = ("id", "only_tagged", "only_in_mask")
SHOWN = 5


def tag_differences(
    tags: Mapping[str, Sequence[int]], shown: Mapping[str, Sequence[int]], classes: Sequence[str]
) -> list[dict[str, str]]:
    """A row per image whose tags are not what its mask shows, with the names of the classes of one side alone.

    Args:
        tags: labels by id.
        shown: the labels in the mask, the background left out, of the images that have a mask.
        classes: name of each label.
    """
    rows = []
    for image_id, labels in shown.items():
        sides = (sorted(set(tags[image_id]) - set(labels)), sorted(set(labels) - set(tags[image_id])))
        if any(sides):
            names = (";".join(classes[label] for label in side) for side in sides)
            rows.append(dict(zip(COLUMNS, (image_id, *names), strict=True)))
    return rows


def summary(rows: Sequence[Mapping[str, str]], images: int) -> str:
    """The rows in one line, out of so many images with a mask."""
    tagged, masked = (sum(bool(row[column]) for row in rows) for column in COLUMNS[1:])
    line = f"tags differ from the masks in {len(rows)} of {images} images"
    if not rows:
        return line
    return (
        f"{line}, such as {', '.join(row['id'] for row in rows[:SHOWN])}: {tagged} have a tag that the mask lacks, "
        f"{masked} lack a class that the mask has; tag_differences.csv in dataset.zip lists them"
    )
