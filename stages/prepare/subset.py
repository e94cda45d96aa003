"""Some of a data set's classes: what is of the others is background."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from stages.core.dataset import VOID
from stages.core.params import Params
from stages.prepare.layout import Layout

ALL = "all"


def subset(layout: Layout, name: str, data: Params, faults: list[str]) -> tuple[Layout, tuple[int, ...]]:
    """The layout with the classes that `data.classes` names, in the layout's order, and with their tags.

    Args:
        layout: with a background where there are such names.
        name: the data set's.
        data: its section of params.yaml; all classes are kept where it says `all` or nothing.
        faults: gets names that are no class, or are the background's.

    Returns:
        The layout and the new label of each old one, 0 for what is left out.
    """
    chosen = data.classes if "classes" in data else ALL
    if chosen == ALL:
        return layout, tuple(range(len(layout.classes)))
    wrong = [entry for entry in chosen if entry not in layout.classes[1:]]
    if wrong:
        faults.append(
            f"datasets.{name}.classes names {', '.join(wrong)}; the classes beside the background are "
            f"{', '.join(layout.classes[1:])}"
        )
    kept = (layout.classes[0], *(entry for entry in layout.classes[1:] if entry in chosen))
    labels = tuple(kept.index(entry) if entry in kept else 0 for entry in layout.classes)
    tags = layout.tags and {
        image_id: [labels[label] for label in tagged if labels[label]] for image_id, tagged in layout.tags.items()
    }
    left_out = set(layout.classes) - set(kept)
    untrained = layout.untrained and tuple(entry for entry in layout.untrained if entry not in left_out)
    return replace(layout, classes=kept, tags=tags, untrained=untrained), labels


def renumbered(
    mask: np.ndarray, instances: np.ndarray | None, labels: Sequence[int]
) -> tuple[np.ndarray, np.ndarray | None]:
    """Mask and instance map with new labels; no instance lies where a class became background. Void stays void.

    Args:
        mask: (H, W) uint8.
        instances: (H, W) uint16, 0 none.
        labels: the new label of each old one.
    """
    table = np.arange(VOID + 1, dtype=np.uint8)
    table[: len(labels)] = labels
    found = table[mask]
    if instances is not None:
        instances = np.where((found == 0) & (mask != 0), np.uint16(0), instances)
    return found, instances
