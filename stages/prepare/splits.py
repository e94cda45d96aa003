"""Lists of ids -> splits: nothing missing, nothing twice, no image both trained on and evaluated."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from stages.core.faults import Fault
from stages.prepare.layout import Index

FIRST = ("train", "val", "test")  # their order; other splits follow by name
SHOWN = 5


def read_splits(
    index: Index,
    lists: dict[str, str],
    headline: str,
    faults: list[str],
    made: Mapping[str, Callable[[Index], list[str]]] | None = None,
) -> dict[str, tuple[str, ...]]:
    """The splits of each id, see `join_splits`.

    Args:
        index: the source.
        lists: file of each split, one id per line.
        headline: the split of the headline numbers.
        faults: gets what is wrong: a list that cannot be read, an id twice in it, and what `check_splits` finds.
        made: functions that make the list of a split for which there is no file.
    """
    members: dict[str, list[str]] = {}
    for split, name in lists.items():
        try:
            lines = list(enumerate(made[split](index), 1)) if made and split in made else index.lines(name)
        except Fault as fault:
            faults.append(f"list of split {split}: {fault}")
            continue
        first: dict[str, int] = {}
        for number, image_id in lines:
            if image_id in first:
                faults.append(f"{name}: {image_id} stands there twice, in lines {first[image_id]} and {number}")
            first.setdefault(image_id, number)
        members[split] = list(first)
    faults += check_splits(members, headline, lists)
    return join_splits(members)


def join_splits(members: dict[str, list[str]]) -> dict[str, tuple[str, ...]]:
    """The splits of each id; ids in the order train, val, test, other splits by name, and inside a split as listed."""
    splits: dict[str, tuple[str, ...]] = {}
    for split in sorted(members, key=rank):
        for image_id in members[split]:
            splits[image_id] = (*splits.get(image_id, ()), split)
    return splits


def rank(split: str) -> tuple[int, str]:
    """Sort key: train, val, test, then the rest by name."""
    return (FIRST.index(split) if split in FIRST else len(FIRST)), split


def evaluated(headline: str) -> set[str]:
    """The splits on which results are measured: their images may not be trained on, and need instance maps."""
    return {"val", "test", headline} - {"train"}


def check_splits(members: dict[str, list[str]], headline: str, files: dict[str, str]) -> list[str]:
    """What is wrong with the splits as a whole; `files` names where each of them was declared.

    A split of another name may overlap train, as an official train set within an augmented one does; val, test and the
    headline split may not.
    """
    reasons = {headline: "headline names", "val": "choices need", "train": "training needs"}
    faults = [
        f"there is no split {split}, which {reasons[split]}; there are {', '.join(files) or 'none'}"
        for split in sorted(reasons, key=rank)
        if split not in files
    ]
    faults += [f"split {split!r}: a name may not hold spaces" for split in members if len(split.split()) != 1]
    faults += [f"{files[split]}: split {split} is empty; it needs an image" for split in members if not members[split]]
    for split in sorted(evaluated(headline) & set(members), key=rank):
        shared = sorted(set(members.get("train", ())) & set(members[split]))
        if shared:
            more = f" and {len(shared) - SHOWN} more" if len(shared) > SHOWN else ""
            faults.append(
                f"{', '.join(shared[:SHOWN])}{more}: in train and in {split}; an image that is trained on "
                f"cannot be evaluated on, take it out of one list"
            )
    return faults
