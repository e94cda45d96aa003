"""One layout for every data set: what `prepare` writes and every later room reads."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from PIL import Image

from stages.core.faults import Fault
from stages.core.files import PICTURES, ZipReader, ZipWriter, csv_text
from stages.core.locations import RAW_PREFIX, read_location

VOID = 255  # label of pixels that count nowhere
INSTANCE_VOID = 65535
LABELLED_SPLITS = ("train", "val")  # have activation maps and pseudo masks: to train on, and to judge them
IMAGE_COLUMNS = ("id", "splits", "location", "height", "width", "md5")


@dataclass(frozen=True)
class ImageRecord:
    """One image: its id, splits, location (see `stages.core.locations`), size in pixels and md5."""

    id: str
    splits: tuple[str, ...]
    location: str
    height: int
    width: int
    md5: str


@dataclass(frozen=True)
class DatasetInfo:
    """What holds for the whole data set.

    classes: name of each label, label 0 first (the background, where `background` is true).
    background: label 0 is the background; otherwise it is the first class.
    palette: 256 RGB triples for indexed PNGs.
    size_bins: areas in pixels; an instance is small below the first, large from the second on, else medium.
    tags: where the image tags come from: masks, xml or file.
    masks: every image has a mask; where not, `Dataset.has_mask` and `Dataset.masked` say which have.
    instances: instance maps exist, for evaluated images at least.
    left_out: classes of the source that are background here; the labels are then not those of the source.
    """

    name: str
    classes: tuple[str, ...]
    background: bool
    palette: tuple[tuple[int, int, int], ...]
    size_bins: tuple[int, int]
    tags: str
    masks: bool
    instances: bool
    left_out: tuple[str, ...] = ()


def write_header(archive: ZipWriter, info: DatasetInfo, records: list[ImageRecord], tags: dict[str, list[int]]) -> None:
    """Writes dataset.json, images.csv and tags.csv; masks/ID.png and instances/ID.png are added by the caller."""
    # an empty left_out is not written, so that the bytes of a data set with all its classes are what they always were
    values = {key: value for key, value in info.__dict__.items() if key != "left_out" or value}
    archive.text("dataset.json", json.dumps(values, indent=1) + "\n")
    rows = [record.__dict__ | {"splits": " ".join(record.splits)} for record in records]
    archive.text("images.csv", csv_text(rows, IMAGE_COLUMNS))
    tag_rows = [{"id": record.id, "tags": " ".join(map(str, tags[record.id]))} for record in records]
    archive.text("tags.csv", csv_text(tag_rows, ("id", "tags")))


class Dataset:
    """Read access to a prepared data set; cheap to copy to worker processes.

    Args:
        path: dataset.zip of `prepare`.
        raw: raw.zip of `download`, which holds the images of a generated set.
    """

    def __init__(self, path: Path, raw: Path | None = None) -> None:
        self._zip = ZipReader(path)
        self._raw = ZipReader(raw) if raw else None

    @cached_property
    def info(self) -> DatasetInfo:
        """What holds for the whole data set."""
        values = json.loads(self._zip.text("dataset.json"))
        values["palette"] = tuple(map(tuple, values["palette"]))
        return DatasetInfo(**{k: tuple(v) if isinstance(v, list) else v for k, v in values.items()})

    @cached_property
    def records(self) -> dict[str, ImageRecord]:
        """Every image by id, in the order of `prepare`."""
        return {
            row["id"]: ImageRecord(
                row["id"],
                tuple(row["splits"].split()),
                row["location"],
                int(row["height"]),
                int(row["width"]),
                row["md5"],
            )
            for row in self._zip.rows("images.csv")
        }

    @cached_property
    def _tags(self) -> dict[str, np.ndarray]:
        return {row["id"]: np.array(row["tags"].split(), dtype=np.int64) for row in self._zip.rows("tags.csv")}

    @property
    def num_classes(self) -> int:
        """Number of labels, the background included where there is one."""
        return len(self.info.classes)

    @property
    def foreground(self) -> range:
        """The labels that can be tagged: all but the background."""
        return range(int(self.info.background), self.num_classes)

    def ids(self, split: str) -> list[str]:
        """The ids of a split.

        Raises:
            Fault: there is no such split or it is empty.
        """
        ids = [record.id for record in self.records.values() if split in record.splits]
        if not ids:
            known = sorted({name for record in self.records.values() for name in record.splits})
            raise Fault(f"data set {self.info.name} has no split {split!r}; it has {', '.join(known)}")
        return ids

    def image(self, image_id: str) -> np.ndarray:
        """The image, (H, W, 3) uint8 RGB; grey images are repeated over the channels.

        Raises:
            Fault: it cannot be read, or its bytes changed since `prepare` read them.
        """
        location = self.records[image_id].location
        if location.startswith(RAW_PREFIX) and self._raw is None:
            raise Fault(f"image {image_id} lies in raw.zip, which was not given")
        try:
            content = read_location(location, self._raw)
        except OSError as error:
            raise Fault(f"image {image_id} cannot be read: {location}: {error.strerror}") from None
        expected = self.records[image_id].md5
        if not location.startswith(RAW_PREFIX) and expected != hashlib.md5(content, usedforsecurity=False).hexdigest():
            raise Fault(
                f"image {image_id} is not what it was when `prepare` read it: {location}; put a sound copy there, or "
                "`dvc repro -f download` reads the data set as it is"
            )
        return decode_rgb(content)

    def has_mask(self, image_id: str) -> bool:
        """Whether the image has a true label map; in a data set without `info.masks` those of some splits may."""
        return f"masks/{image_id}.png" in self._zip

    def masked(self, ids: Iterable[str]) -> bool:
        """Whether all of the images have a true label map."""
        return all(map(self.has_mask, ids))

    def mask(self, image_id: str) -> np.ndarray:
        """The true label map, (H, W) uint8, 255 void.

        Raises:
            Fault: the image has none.
        """
        return self._zip.png(f"masks/{image_id}.png")

    def instances(self, image_id: str) -> np.ndarray | None:
        """The instance map, (H, W) uint16, 0 none, 65535 void; None where the image has none."""
        name = f"instances/{image_id}.png"
        return self._zip.png(name).astype(np.uint16) if name in self._zip else None

    def tags(self, image_id: str) -> np.ndarray:
        """The tagged labels, sorted int64, never the background."""
        return self._tags[image_id]

    def tag_matrix(self, ids: list[str]) -> np.ndarray:
        """Tags as 0 or 1, (len(ids), len(foreground)) float32."""
        matrix = np.zeros((len(ids), len(self.foreground)), np.float32)
        for row, image_id in enumerate(ids):
            matrix[row, self.tags(image_id) - self.foreground.start] = 1
        return matrix


def decode_rgb(content: bytes) -> np.ndarray:
    """An image file's bytes as (H, W, 3) uint8 RGB.

    Raises:
        OSError: the bytes are not an image, or are cut off.
    """
    with Image.open(io.BytesIO(content), formats=PICTURES) as image:
        return np.array(image.convert("RGB"))
