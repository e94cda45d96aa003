"""One pass over the files of a prediction set: what each image adds to the scores, or everything that is wrong."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from stages.core.dataset import INSTANCE_VOID, VOID
from stages.core.faults import Fault
from stages.core.label_files import BadMap, LabelFiles, as_ids, as_labels, listed
from stages.core.metrics.confusion import confusion_matrix
from stages.core.metrics.image_counts import ImageCounts, count_image
from stages.core.metrics.instances import FROM_COMPONENTS, FROM_MAP
from stages.core.pool import process_map

KINDS = {  # what can be wrong, in the order in which it is reported
    "twice": "two files of one name, so that it is open which one counts",
    "missing": "no prediction for a mask; --allow-missing counts it as all background",
    "extra": "a prediction without a mask",
    "no_instances": "no instance map for a mask; without --instances the components of the masks are the instances",
    "unreadable": "a file that cannot be read",
    "no_map": "a file that is no map of labels: one channel, whole numbers (indexed or grey PNG, or .npy of integers)",
    "empty": "a map without pixels",
    "size": "a map of another size than its mask",
    "ids": "an id that no instance may have; --instance-void names the one for void",
    "labels": "a label that no class may have; --void names the one of void in the masks",
    "beyond": "a label beyond the classes (the labels of an indexed PNG are its indices, not its colours)",
    "spanning": "an instance on pixels of two classes; an instance is of one class, so the masks and maps disagree",
}
MOST = 20  # faults of a kind that are listed
TRIM = 50  # images

Found = tuple[str, str]  # a fault: its kind, and which file and what exactly
Shown = tuple[str, tuple[bytes | None, ...]]  # a stem and the labels in its mask and in its predictions


@dataclass(frozen=True)
class ImageResult:
    """What one image adds for each prediction set, or its faults.

    counts: an entry per prediction set; empty where there are faults.
    mask_labels, prediction_labels: the labels that occur, void left out, one byte each; of all prediction sets. None
        for a map that is faulty or missing.
    """

    stem: str
    counts: tuple[ImageCounts, ...]
    faults: tuple[Found, ...]
    mask_labels: bytes | None
    prediction_labels: tuple[bytes | None, ...]


@dataclass(frozen=True)
class FileScores:
    """The work on one image, as an object that a worker process can be sent.

    masks, instances, predictions: the files; without `instances` the mask's components are the instances.
    void: label in the masks that counts nowhere.
    instance_void: id in the instance maps that counts nowhere, see `as_ids`.
    background: label 0 is the background; a missing prediction is taken to be that everywhere.
    mode: of the IA-mIoU, `exact` or `paper`.
    """

    masks: LabelFiles
    instances: LabelFiles | None
    predictions: tuple[LabelFiles, ...]
    void: int
    instance_void: int | None
    background: bool
    mode: str

    def __call__(self, stem: str) -> ImageResult:
        """Reads, checks and counts the maps of one image; whatever is wrong with them is in the result."""
        faults: list[Found] = []
        mask = read(self.masks, stem, faults, lambda array: as_labels(array, self.void))
        ids = None
        if self.instances:
            ids = read(self.instances, stem, faults, lambda array: as_ids(array, self.instance_void))
        predictions = [read(source, stem, faults, as_labels) for source in self.predictions]
        labels = tuple(None if found is None else present(found) for found in (mask, *predictions))
        if mask is not None:
            sources = [(self.instances, ids), *zip(self.predictions, predictions, strict=True)]
            for source, found in sources:
                if found is not None and found.shape != mask.shape:
                    text = f"{source.path}: {stem} is {size_of(found)}, its mask {size_of(mask)} (height x width)"
                    faults.append(("size", text))
                elif found is not None and source is self.instances:
                    faults += [("spanning", f"{source.path}: {stem}: {text}") for text in self.spanning(mask, ids)]
        if faults:
            return ImageResult(stem, (), tuple(faults), labels[0], labels[1:])
        counts = []
        for found in predictions:
            prediction = np.zeros_like(mask) if found is None else found
            matrix = confusion_matrix(mask, prediction, VOID)  # how many classes there are, only the last image tells
            counts.append(count_image(stem, matrix, mask, ids, prediction, self.background, self.mode))
        return ImageResult(stem, tuple(counts), (), labels[0], labels[1:])

    def spanning(self, mask: np.ndarray, ids: np.ndarray) -> list[str]:
        """A line for each instance that lies on two classes; void and the background are none."""
        claimed = (ids != 0) & (ids != INSTANCE_VOID) & (mask != VOID)
        if self.background:
            claimed &= mask != 0
        ids, labels = ids[claimed], mask[claimed]
        some = np.zeros(INSTANCE_VOID + 1, np.uint8)
        some[ids] = labels  # one of the labels of each id: all of them are equal to it, or there are two
        wrong = np.unique(ids[some[ids] != labels])
        return [f"instance {one} lies on labels {listed(np.unique(labels[ids == one]))}" for one in wrong]


def read(
    source: LabelFiles, stem: str, faults: list[Found], convert: Callable[[np.ndarray], np.ndarray]
) -> np.ndarray | None:
    """A map as `convert` makes it; None where there is no file, or where it is one of `faults` now."""
    if stem not in source.members:
        return None
    try:
        return convert(source.read(stem))
    except BadMap as error:
        faults.append((error.kind, f"{source.path}: {source.members[stem]}: {error}"))
        return None


def present(labels: np.ndarray) -> bytes:
    """The labels of a map, void left out, one byte each."""
    return np.flatnonzero(np.bincount(labels.ravel(), minlength=VOID + 1)[:VOID]).astype(np.uint8).tobytes()


def size_of(array: np.ndarray) -> str:
    """Height and width, for a message."""
    return f"{array.shape[0]} x {array.shape[1]}"


def score_files(
    work: FileScores, classes: Sequence[str] | None, allow_missing: bool
) -> tuple[list[list[ImageCounts]], Sequence[str]]:
    """The counts of every image with a mask, a list for each prediction set, and the names of the classes.

    Args:
        work: the files.
        classes: name of each label; None for as many classes as the masks show, named by their numbers.
        allow_missing: a mask may lack its prediction.

    Raises:
        Fault: the files are not as they should be; the message lists all that is wrong with all of them.
    """
    faults = unmatched(work, allow_missing)
    counts: list[list[ImageCounts]] = [[] for _ in work.predictions]
    shown: list[Shown] = []
    stems = sorted(work.masks.members)
    for done, result in enumerate(process_map(work, stems, "score", len(stems))):
        if done % TRIM == 0:
            give_back_memory()
        faults += result.faults
        shown.append((result.stem, (result.mask_labels, *result.prediction_labels)))
        for column, value in zip(counts, result.counts, strict=False):
            column.append(value)
    in_masks = [labels[0] for _, labels in shown]
    number = len(classes) if classes else 1 + max((max(labels, default=0) for labels in in_masks if labels), default=0)
    if classes or None not in in_masks:  # a mask that could not be read may hold the highest label
        origin = "--classes names" if classes else "the masks show"
        faults += beyond(work, shown, number, f"{origin} 0..{number - 1}{'' if classes else '; --classes names more'}")
    if faults:
        raise report(faults)
    return counts, classes or tuple(map(str, range(number)))


def give_back_memory() -> None:
    """Asks the C library for the memory that is free between the small results of the images.

    It keeps what decoding an image took, and so would grow with their number, by 250 KB an image of VOC's size.
    """
    library = ctypes.CDLL(None)
    if hasattr(library, "malloc_trim"):  # glibc
        library.malloc_trim(0)


def instance_source(work: FileScores) -> str:
    """Where the instances come from: `instance_map`, or `components` of the masks."""
    return FROM_MAP if work.instances else FROM_COMPONENTS


def unmatched(work: FileScores, allow_missing: bool) -> list[Found]:
    """The files that do not go together."""
    found: list[Found] = []
    for source in (work.masks, work.instances, *work.predictions):
        if source:
            found += [("twice", f"{source.path}: {stem}") for stem in source.twice]
    masks = work.masks.members.keys()
    for source in work.predictions:
        if not allow_missing:
            found += [("missing", f"{source.path}: {stem}") for stem in sorted(masks - source.members.keys())]
        found += [("extra", f"{source.path}: {source.members[stem]}") for stem in sorted(source.members.keys() - masks)]
    if work.instances:
        lacking = sorted(masks - work.instances.members.keys())
        found += [("no_instances", f"{work.instances.path}: {stem}") for stem in lacking]
    return found


def beyond(work: FileScores, shown: Iterable[Shown], number: int, known: str) -> list[Found]:
    """The labels that are none of `number` classes; `known` says which there are and why."""
    found: list[Found] = []
    for stem, columns in shown:
        for source, labels in zip((work.masks, *work.predictions), columns, strict=True):
            wrong = np.array([label for label in labels or b"" if label >= number])
            if wrong.size:
                found.append(("beyond", f"{source.path}: {source.members[stem]}: {listed(wrong)}; {known}"))
    return found


def report(faults: Sequence[Found]) -> Fault:
    """One Fault of all faults, by kind and with at most `MOST` of each listed."""
    lines = []
    for kind, title in KINDS.items():
        texts = [text for found, text in dict.fromkeys(faults) if found == kind]  # a set compared with itself
        if texts:
            lines += [f"{title} ({len(texts)}):", *(f"  - {text}" for text in texts[:MOST])]
            lines += [f"  and {len(texts) - MOST} more"] * (len(texts) > MOST)
    return Fault("\n".join(lines))
