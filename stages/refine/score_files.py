"""Score maps of any other method, from which pseudo masks are made here: a folder or a zip of .npy and .npz files.

Methods of weakly supervised segmentation leave their activation maps in one of these forms, a file per image. Classes
are numbered from 0 without the background, unless a form says otherwise.

- .npy of the dictionary {"keys": (K,) classes, "cam": (K, h, w), "high_res": (K, H, W)}, as IRN (arXiv 1904.05044)
  writes it and what is built on it (AdvCAM, ReCAM); maps are arrays or torch tensors, and the finer ones are read. If
  there is one map more than keys (AMN, CVPR 2022), the first is the background's. The keys have the background as 0
  if there is one key more than maps, the first being 0, or if they run from 0 to the number of classes itself.
- .npy of the dictionary {class: (H, W)}, as psa (arXiv 1803.10464), EPS and MCTformer write it.
- .npz of the arrays `keys` and `cam` or `high_res`, or of an array per class under its number.
- .npy of an array (C, H, W) of floats with a map for each class.

Dictionaries are read without executing anything, see `npy_objects`.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from stages.core.faults import Fault, combine
from stages.core.files import read_member
from stages.core.label_files import MOST_BYTES, SUFFIXES, BadMap, LabelFiles, find_maps, listed, read_header
from stages.core.npy_objects import read_npy, short

SCORE_SUFFIXES = (".npy", ".npz")

Entries = list[tuple[int | str, np.ndarray]]


def is_score_source(path: Path, ids: Iterable[str]) -> bool:
    """Whether a folder or zip holds score maps of images, and no label maps.

    The first of the images' files that can be read decides: .npz, or .npy of no integers. If there is none, the reader
    of label maps says what is wrong.
    """
    ids = set(ids)
    try:
        files = find_maps(path, ids, (*SUFFIXES, ".npz")).only(ids)
    except Fault:
        return False
    for stem, member in sorted(files.members.items(), key=lambda item: item[1]):
        if not member.lower().endswith(".npy"):
            return member.lower().endswith(".npz")
        try:
            return read_header(io.BytesIO(files.content(stem)))[2].kind in "Of"
        except Exception:  # noqa: S112 - NumPy's header parser has its own dozen for broken bytes; the next file tells
            continue
    return False


def find_scores(path: Path, needed: Iterable[str], others: set[str] = frozenset()) -> LabelFiles:
    """The score maps of another method, by image id: of the images `needed`, and of the `others` that have some.

    Raises:
        Fault: there are none, or some of the images needed have none, or some of all of them two.
    """
    needed = list(needed)
    files = find_maps(path, others.union(needed), SCORE_SUFFIXES).only(others.union(needed))
    faults = [f"{image_id}: no score maps" for image_id in needed if image_id not in files.members]
    faults += [f"{image_id}: two files of score maps" for image_id in files.twice]
    if faults:
        raise combine(f"pseudo_masks: {path} does not fit the data set", faults)
    return files


def scores_of(
    files: LabelFiles, image_id: str, foreground: range, tags: np.ndarray, size: tuple[int, int]
) -> np.ndarray:
    """The score maps of an image's tagged classes, (K, h, w) uint8 with 255 for 1, in the order of the tags.

    A map whose scores are 0..1 stays as it is: it is normalised already (IRN's by its maximum, so that it is 1), or
    holds probabilities, of which a low maximum says something. One that goes beyond 1 is divided by its maximum, as the
    maps of the room `cam` are. The maps have the file's resolution.

    Args:
        files: of `find_scores`.
        image_id: the image.
        foreground: the labels that can be tagged; a file's class 0 is the first of them.
        tags: (K,) labels.
        size: (H, W) of the image.

    Raises:
        BadMap: see `read_scores`; a tagged class has no map, or the maps have another shape than the image.
    """
    scores = read_scores(files.content(image_id), files.members[image_id], len(foreground))
    tagged = [int(label) - foreground.start for label in tags]
    missing = [label for label in tagged if label not in scores]
    shifted = {label - 1 for label in scores if label}
    doubtful = 0 in scores and set(scores) != set(tagged) and shifted == set(tagged)
    if tagged and doubtful and has_keys(files.content(image_id), files.members[image_id]):
        raise BadMap(
            "keys",
            f"{image_id}: classes {named(scores)}, the tags are {named(tagged)}, as if class 0 were the background; "
            "leave it out and number the others from 0",
        )
    if missing:
        raise BadMap("missing", f"{image_id}: no map of class {named(missing)}, which is tagged; only {named(scores)}")
    if not tagged:
        return np.zeros((0, 1, 1), np.uint8)
    maps = np.stack([scores[label] for label in tagged])
    height, width = maps.shape[1:]
    # a stride and its rounding change either side by less than one pixel of the map
    if abs(height * size[1] - width * size[0]) > sum(size):
        raise BadMap("size", f"{image_id}: maps of {height} x {width}, the image has {size[0]} x {size[1]} pixels")
    maps /= np.maximum(maps.max((1, 2), keepdims=True), 1)
    return (maps.clip(0, 1) * 255).round().astype(np.uint8)


def has_keys(content: bytes, name: str) -> bool:
    """Whether a file that was read numbers its maps itself; an array has one for each class, in their order."""
    return name.lower().endswith(".npz") or read_header(io.BytesIO(content))[2].hasobject


def read_scores(content: bytes, name: str, num_foreground: int) -> dict[int, np.ndarray]:
    """The maps of a file: by class, from 0 without the background, (h, w) float32 in the file's own scale.

    Negative scores are cut to 0, as a ReLU does: they speak against the class, and activation maps end there.

    Args:
        content: the file.
        name: of the file; its suffix tells the form.
        num_foreground: number of classes without the background.

    Raises:
        BadMap: the file cannot be read, would have to be executed, or is none of the forms; its classes are not those
            of the data set; its maps differ in size, or hold what is no number.
    """
    found = read_npz(content) if name.lower().endswith(".npz") else read_npy(content)
    if isinstance(found, np.ndarray):
        if found.dtype.kind != "f" or found.ndim != 3 or len(found) != num_foreground:
            raise BadMap(
                "no_map",
                f"an array of shape {found.shape} and type {found.dtype}; without keys it must be floats of shape "
                f"({num_foreground}, height, width), a map for each class",
            )
        found = list(enumerate(found))
    by_name = {key: array for key, array in found if isinstance(key, str)}
    maps = split_keys(by_name, num_foreground) if "keys" in by_name else by_class(found)
    numbers = [label for label, _ in maps]
    wrong = sorted({label for label in numbers if not 0 <= label < num_foreground})
    if wrong:
        text = listed(np.array([short(label) for label in wrong]))
        raise BadMap("keys", f"class {text}, beyond 0..{num_foreground - 1} (from 0, without the background)")
    if len(set(numbers)) < len(numbers):
        raise BadMap("keys", f"classes {named(numbers)}: one of them twice")
    shapes = {array.shape for _, array in maps}
    if any(len(shape) != 2 or 0 in shape for shape in shapes) or len(shapes) > 1:
        raise BadMap("no_map", f"arrays of shape {', '.join(map(str, sorted(shapes)))}; maps are (height, width)")
    if not name.lower().endswith(".npz") and sum(array.nbytes for _, array in maps) > len(content):
        raise BadMap("unreadable", "more maps than the file has bytes for")  # one array under many keys
    return {label: as_scores(array, label) for label, array in maps}


def as_scores(array: np.ndarray, label: int) -> np.ndarray:
    """A map as float32, cut below at 0."""
    with np.errstate(over="ignore"):  # it is refused below
        scores = array.astype(np.float32)
    if not np.isfinite(scores).all():
        raise BadMap("no_map", f"a score of class {label} that is no finite number")
    return np.maximum(scores, 0)


def split_keys(arrays: dict[str, np.ndarray], num_foreground: int) -> list[tuple[int, np.ndarray]]:
    """Class and map of the form with `keys`; the background's are left out, where it is there without doubt."""
    keys = arrays["keys"]
    if keys.ndim != 1 or keys.dtype.kind not in "iu":
        raise BadMap("keys", f"`keys` of shape {keys.shape} and type {keys.dtype}, and not a list of classes")
    labels = keys.tolist()
    if not labels:
        return []  # an image without tags
    maps = arrays.get("high_res", arrays.get("cam"))
    if maps is None:
        raise BadMap("no_map", f"neither `cam` nor `high_res` beside `keys`, but {', '.join(sorted(arrays))[:80]}")
    if maps.ndim != 3:
        raise BadMap("no_map", f"maps of shape {maps.shape}; they are (classes, height, width)")
    if len(maps) == len(labels) + 1:
        maps = maps[1:]
    elif labels[0] == 0 and len(maps) == len(labels) - 1:
        labels = [label - 1 for label in labels[1:]]
    elif labels[0] == 0 and len(maps) == len(labels) and max(labels) == num_foreground:
        labels, maps = [label - 1 for label in labels[1:]], maps[1:]
    elif len(maps) != len(labels):
        raise BadMap("keys", f"{len(maps)} maps for {len(labels)} keys")
    return list(zip(labels, maps, strict=True))


def by_class(entries: Entries) -> list[tuple[int, np.ndarray]]:
    """Class and map of the form with an array per class; an .npz has the classes as text."""
    numbers = [(int(key) if isinstance(key, str) and is_number(key) else key, array) for key, array in entries]
    other = [key for key, _ in numbers if isinstance(key, str)]
    if other:
        raise BadMap("keys", f"the key {other[0][:40]!r}; keys are `keys` with `cam` or `high_res`, or class numbers")
    return numbers


def is_number(text: str) -> bool:
    """Whether a text is a class number."""
    return text.isascii() and text.isdecimal() and len(text) < 10


def read_npz(content: bytes) -> Entries:
    """The arrays of an .npz by name.

    Raises:
        BadMap: it is no zip of .npy files, or is too large unpacked.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = archive.infolist()
            unpacked = sum(member.file_size for member in members)
            if unpacked > MOST_BYTES:
                raise BadMap("unreadable", f"an .npz of {unpacked} bytes unpacked, more than {MOST_BYTES}")
            return [(member.filename.removesuffix(".npy"), plain(read_member(archive, member))) for member in members]
    except BadMap:
        raise
    except Exception as error:  # zipfile and its decoders have their own dozen for broken bytes
        raise BadMap("unreadable", f"{type(error).__name__}: {error}"[:300]) from None


def plain(content: bytes) -> np.ndarray:
    """An .npy file that is an array of numbers."""
    array = read_npy(content)
    if not isinstance(array, np.ndarray):
        raise BadMap("unreadable", "a dictionary in an .npz")
    return array


def named(labels: Iterable[int]) -> str:
    """Class numbers as text, sorted; `none` if there are none."""
    return listed(np.array(sorted(labels))) if list(labels) else "none"
