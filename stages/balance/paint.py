"""The label map and the instance map of an image from what LVIS and COCO say of it.

What neither rules out nor settles becomes void, never background. In this order:

 1. Roles. Each object of LVIS has the role of its category in `mapping`. A plain table is CORE where COCO's dining
    tables cover half of it, else VOID. A pot, vase, window box or flower arrangement is VOID where COCO has no potted
    plant in the image, and otherwise nothing: the class comes from COCO alone. A tablecloth that touches a table is
    VOID, and so is what it covers of the table. All other categories are background, as in PASCAL-B (arXiv 2309.14117,
    section 4).
 2. One object under two names (IoU of at least 0.5): OUT wins over VOID and VOID over CORE, whoever says so, since the
    name that VOC excludes is the more special one; two CORE names of one class are one object, of two classes VOID. A
    VOID name that OUT beats does not count any more.
 3. Objects of COCO, for the 20 classes. One that is the same object (IoU of at least 0.5) as one of LVIS is not painted
    twice. Another one becomes an instance if LVIS says nothing of its class in this image. It is VOID if LVIS does, or
    left objects of the class out (not exhaustive), or if it shares half of the smaller of the two with an object of
    LVIS of its class. Crowds are VOID. Where both are silent there is none: COCO is exhaustive for its 80 classes.
 4. A part (railcar, sail): VOID, but a railcar of which no train covers half is a train of its own.
 5. Painting: the crowds, then the instances and the other VOID objects by decreasing area, so that the smaller one
    keeps its pixels; of two with as many, VOID lies on top. Where the object is in doubt and not its class (a part, an
    object of COCO that is VOID by step 3), it leaves the pixels that its class has already. What is left of an instance
    with fewer than 10 pixels to see is void.

The IoU of 0.5, the half and the 10 pixels are this project's choice; the paper gives none.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from stages.balance.annotations import ImageWork
from stages.balance.mapping import CORE, ON_TABLE, OUT, PART, TABLE_LABEL, VOID_ROLE, WITH_COCO, WITHOUT_COCO
from stages.balance.outlines import Code, area, covered, encode, ious, pixels, shared, united
from stages.core.dataset import INSTANCE_VOID, VOID

SAME = 0.5  # IoU from which two outlines are the same object
HALF = 0.5  # share of an object from which another one covers it
FEWEST_PIXELS = 10  # to be an instance


@dataclass(frozen=True)
class Shape:
    """An object: label 1..20, role and rule as in `mapping`, its pixels and their number."""

    label: int
    role: str
    rule: str
    code: Code
    area: int


def paint(work: ImageWork) -> tuple[np.ndarray, np.ndarray]:
    """The label map (H, W) uint8 and the instance map (H, W) uint16 with ids 1, 2, ... of an image.

    Raises:
        ValueError: an outline is wrong; the message names every one.
    """
    lvis, coco, crowds = shapes(work)
    named = without_excluded(with_roles(lvis, coco, crowds))
    core, void = settled(named)
    core, more = with_coco(core, coco, named, work.unknown - work.not_exhaustive)
    core, parts = without_parts(core)
    return painted(core, [*void, *more, *parts], crowds, work.height, work.width)


def shapes(work: ImageWork) -> tuple[list[Shape], list[Shape], list[Shape]]:
    """The objects of LVIS, those of COCO and COCO's crowds, each by decreasing area; without those of no pixel."""
    lvis, coco, crowds, faults = [], [], [], []
    marked = [("LVIS", annotation, row.label, row.role, row.rule) for annotation, row in work.lvis]
    marked += [("COCO", annotation, label, CORE, "") for annotation, label in work.coco]
    for source, annotation, label, role, rule in marked:
        try:
            code = encode(annotation.segmentation, work.height, work.width)
        except ValueError as error:
            faults.append(f"annotation {annotation.id} of {source}: {error}")
            continue
        target = lvis if source == "LVIS" else crowds if annotation.crowd else coco
        target.append((-area(code), annotation.id, Shape(label, role, rule, code, area(code))))
    if faults:
        raise ValueError("; ".join(faults))
    return tuple([shape for _, _, shape in sorted(found, key=lambda item: item[:2]) if shape.area]
                 for found in (lvis, coco, crowds))  # fmt: skip


def codes(found: list[Shape]) -> list[Code]:
    """The pixels of some objects."""
    return [shape.code for shape in found]


def with_roles(lvis: list[Shape], coco: list[Shape], crowds: list[Shape]) -> list[Shape]:
    """The objects of LVIS with the roles that the conditions of step 1 give them; those of no role are left out."""
    tables = [shape for shape in coco if shape.label == TABLE_LABEL]
    plain = [shape for shape in lvis if shape.rule != ON_TABLE and shape.label == TABLE_LABEL and shape.role != OUT]
    shown = {shape.label for shape in (*coco, *crowds)}
    result = []
    for shape in lvis:
        role = shape.role
        if shape.rule == WITH_COCO and not is_covered(shape, tables):
            role = VOID_ROLE
        elif shape.rule == WITHOUT_COCO and shape.label in shown:
            continue
        elif shape.rule == ON_TABLE:
            cloths = on_tables(shape, [*tables, *plain])
            if not cloths:
                continue
            result += cloths
            role = VOID_ROLE
        result.append(Shape(shape.label, role, shape.rule, shape.code, shape.area))
    return result


def on_tables(cloth: Shape, tables: list[Shape]) -> list[Shape]:
    """What a cloth covers of each table that it touches: no more pixels than the table has, so it lies on top."""
    found = [shared(cloth.code, table.code) for table in tables]
    return [replace(cloth, role=VOID_ROLE, code=code, area=area(code)) for code in found if area(code)]


def without_excluded(named: list[Shape]) -> list[Shape]:
    """Step 2 among the names that are no CORE: the objects of LVIS without the VOID ones that are OUT as well."""
    out = (ious(codes(named), rivals(named, OUT)) >= SAME).any(1)
    return [shape for shape, is_out in zip(named, out, strict=True)
            if not is_out or shape.role != VOID_ROLE or shape.rule]  # fmt: skip


def is_covered(shape: Shape, others: list[Shape]) -> bool:
    """Whether some objects together cover half of another one."""
    return bool(others) and covered([shape.code], [united(codes(others))]).item() >= HALF


def rivals(named: list[Shape], role: str) -> list[Code]:
    """The objects of LVIS whose name takes part in step 2; a part, a cloth or a pot is not the object that has it."""
    return codes([shape for shape in named if shape.role == role and not shape.rule])


def settled(named: list[Shape]) -> tuple[list[Shape], list[Shape]]:
    """Step 2 among the objects of LVIS: its CORE objects, and what is void."""
    void = [shape for shape in named if shape.role == VOID_ROLE]
    core = [shape for shape in named if shape.role == CORE]
    outline = codes(core)
    beaten = (ious(outline, rivals(named, OUT)) >= SAME).any(1) | (ious(outline, rivals(named, VOID_ROLE)) >= SAME).any(
        1
    )
    labels = np.array([shape.label for shape in core], np.int64)
    same = ious(outline, outline) >= SAME
    contradicted = (same & (labels[:, None] != labels)).any(1)
    again = np.tril(same & (labels[:, None] == labels), -1)[:, ~beaten].any(1)  # the same as a larger one
    kept = [shape for shape, *lost in zip(core, beaten, contradicted, again, strict=True) if not any(lost)]
    return kept, void + [replace(core[index], role=VOID_ROLE) for index in np.flatnonzero(contradicted & ~beaten)]


def with_coco(
    core: list[Shape], coco: list[Shape], named: list[Shape], open_labels: frozenset[int]
) -> tuple[list[Shape], list[Shape]]:
    """Step 3: all instances, and what of COCO is void.

    Args:
        core: the CORE objects of LVIS after step 2.
        coco: the objects of COCO that are no crowds.
        named: all objects of LVIS that have a role.
        open_labels: the labels of which LVIS says nothing in this image.
    """
    outline = codes(coco)
    out = (ious(outline, rivals(named, OUT)) >= SAME).any(1)
    doubtful = (ious(outline, rivals(named, VOID_ROLE)) >= SAME).any(1)
    matched = (ious(outline, [shape.code for shape in named if shape.role == CORE]) >= SAME).any(1)
    whole = [shape for shape in core if shape.rule != PART]
    over_coco, over_lvis = covered(outline, codes(whole)), covered(codes(whole), outline).T
    own = np.array([[shape.label == other.label for other in whole] for shape in coco], bool).reshape(over_coco.shape)
    common = (own & (np.maximum(over_coco, over_lvis) >= HALF)).any(1)
    instances, void = list(core), []
    for index, shape in enumerate(coco):
        if out[index] or (matched[index] and not doubtful[index]):
            continue
        if shape.label in open_labels and not doubtful[index] and not common[index]:
            instances.append(shape)
        else:
            void.append(replace(shape, role=VOID_ROLE) if doubtful[index] else shape)
    return instances, void


def without_parts(core: list[Shape]) -> tuple[list[Shape], list[Shape]]:
    """Step 4: the instances, and the parts that a whole of their class covers."""
    whole = [shape for shape in core if shape.rule != PART]
    parts = [shape for shape in core if shape.rule == PART]
    inside = [is_covered(part, [shape for shape in whole if shape.label == part.label]) for part in parts]
    alone = [part for part, lies in zip(parts, inside, strict=True) if not lies]
    return whole + alone, [part for part, lies in zip(parts, inside, strict=True) if lies]


def painted(
    instances: list[Shape], void: list[Shape], crowds: list[Shape], height: int, width: int
) -> tuple[np.ndarray, np.ndarray]:
    """Step 5: the two maps. A part, and in `void` a shape whose role is not VOID, is surely of its class."""
    mask, ids = np.zeros((height, width), np.uint8), np.zeros((height, width), np.uint16)
    numbered = list(enumerate(sorted(instances, key=lambda shape: -shape.area), 1))
    doubtful = [(INSTANCE_VOID, shape) for shape in void]
    ordered = sorted(numbered + doubtful, key=lambda item: (-item[1].area, item[0]))
    for number, shape in [(INSTANCE_VOID, shape) for shape in crowds] + ordered:
        region = pixels(shape.code)
        is_void = number == INSTANCE_VOID
        if is_void and (shape.role != VOID_ROLE or shape.rule == PART):
            region &= mask != shape.label
        mask[region], ids[region] = VOID if is_void else shape.label, number
    visible = np.bincount(ids.ravel(), minlength=INSTANCE_VOID + 1)[: len(numbered) + 1]
    kept = visible >= FEWEST_PIXELS
    kept[0] = False
    meaning = np.full(INSTANCE_VOID + 1, INSTANCE_VOID, np.uint16)
    meaning[: len(numbered) + 1][kept] = np.arange(1, kept.sum() + 1)
    meaning[0] = 0
    ids = meaning[ids]
    mask[ids == INSTANCE_VOID] = VOID
    return mask, ids
