"""The sections under `datasets`, by format."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator

from stages.check.section import (
    Count,
    Name,
    Section,
    Seed,
    SplitName,
    Text,
    all_different,
    broken,
    rises,
)


def is_all_or_names(value: Any) -> Any:
    """The word all, or names of classes, each once."""
    if value != "all" and not (isinstance(value, list) and value and all(isinstance(name, str) for name in value)):
        raise broken("must be all or a list of names of classes")
    return value if value == "all" else all_different(value)


Classes = Annotated[Any, AfterValidator(is_all_or_names)]
SizeBins = Annotated[list[Count], Field(min_length=2, max_length=2), AfterValidator(rises)]
Percent = Annotated[float, Field(ge=0, le=100)]
NEEDED_SPLITS = ("train", "val")  # pseudo masks, scores and samples are made of these two


class ShapesSplits(Section):
    """Number of generated images in each split."""

    train: Count
    val: Count
    test: Count


class Shapes(Section):
    """The generated data set."""

    format: Literal["shapes"]
    seed: Seed
    image_size: Annotated[int, Field(ge=32, le=1024)]
    splits: ShapesSplits
    size_bins: SizeBins
    headline: Literal["train", "val", "test"]


def is_archive(value: str) -> str:
    """The file name of an archive."""
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*\.(tar|tgz|tar\.gz|zip)", value, re.ASCII):
        raise broken("must be a file name that ends in .tar, .tgz, .tar.gz or .zip")
    return value


def is_address(value: str) -> str:
    """Where a file can be had."""
    if not re.fullmatch(r"https?://[^\s/]+/\S+", value):
        raise broken("must be an address that begins with http:// or https://")
    return value


def is_checksum(value: str) -> str:
    """A whole digest."""
    if not re.fullmatch(r"md5:[0-9a-f]{32}|sha256:[0-9a-f]{64}", value, re.ASCII):
        raise broken("must be md5: and 32, or sha256: and 64, of the digits 0 to 9 and a to f")
    return value


def is_prefix(value: str) -> str:
    """The beginning of paths inside an archive."""
    if value != "none" and (not value.endswith("/") or value.startswith("/") or ".." in value.split("/")):
        raise broken("must be none or a relative folder that ends with a slash")
    return value


def is_none_or_count(value: Any) -> Any:
    """The word none, or a number of bytes."""
    if value != "none" and (type(value) is not int or value <= 0):
        raise broken("must be none or a whole number > 0")
    return value


class Archive(Section):
    """A file that a data set comes in, of any format whose section has `archives`."""

    file: Annotated[str, AfterValidator(is_archive)]
    url: Annotated[str, AfterValidator(is_address)]
    mirrors: list[Annotated[str, AfterValidator(is_address)]]
    size: Annotated[Any, AfterValidator(is_none_or_count)]
    checksum: Annotated[str, AfterValidator(is_checksum)]
    confirmed: bool
    strip: Annotated[str, AfterValidator(is_prefix)]
    under: Annotated[str, AfterValidator(is_prefix)]


def different_files(archives: list[Archive]) -> list[Archive]:
    """Archives lie in one folder."""
    files = [archive.file for archive in archives]
    if len(set(files)) < len(files):
        raise broken("must not name a file twice")
    return archives


Archives = Annotated[list[Archive], AfterValidator(different_files)]


class Voc(Section):
    """A folder in the layout of PASCAL VOC 2012; `classes` and `archives` may be left out."""

    format: Literal["voc"]
    lists: dict[SplitName, Text]
    masks: Annotated[list[Text], Field(min_length=1), AfterValidator(all_different)]
    instances: Text
    tags: Literal["masks", "xml", "file"]
    tags_file: Text
    size_bins: SizeBins
    headline: SplitName
    classes: Classes = "all"
    untrained: Annotated[list[Text], AfterValidator(all_different)]
    archives: Archives = []

    @model_validator(mode="after")
    def fits(self) -> Voc:
        """The splits and the tags that are named are there."""
        missing = [split for split in NEEDED_SPLITS if split not in self.lists]
        if missing:
            raise broken(f"must name a list for {' and '.join(missing)}", "lists", self.lists)
        if self.headline not in self.lists:
            raise broken(f"must be one of lists ({', '.join(self.lists)})", "headline", self.headline, self.lists)
        if self.tags == "file" and not self.tags_file.startswith("/"):
            raise broken("must be an absolute path where tags is file", "tags_file", self.tags_file)
        return self


class Folder(Section):
    """A folder in the project's own layout; its splits are the files in splits/; `classes` may be left out."""

    format: Literal["folder"]
    background: bool
    masks: Literal["all", "evaluated", "none"]
    tags: Literal["masks", "file", "sizes"]
    size_bins: SizeBins
    headline: Name
    classes: Classes = "all"
    untrained: Annotated[list[Text], AfterValidator(all_different)]

    @model_validator(mode="after")
    def fits(self) -> Folder:
        """Tags come from masks only where every image has one."""
        if self.tags == "masks" and self.masks != "all":
            raise broken(f"must be file or sizes where masks is {self.masks}", "tags", self.tags)
        if self.masks == "evaluated" and self.headline == "train":
            raise broken("must be an evaluated split where masks is evaluated", "headline", self.headline)
        if self.classes != "all" and not self.background:
            raise broken("must be all where background is false: others become background", "classes", self.classes)
        return self


class Coco(Section):
    """Instances JSONs and images in the layout of COCO; `classes` and `archives` may be left out."""

    format: Literal["coco"]
    annotations: dict[SplitName, Text]
    images: dict[SplitName, Text]
    crowd: Literal["void"]
    ids: Literal["annotated", "all"]
    tags: Literal["masks", "annotations"]
    size_bins: SizeBins
    headline: SplitName
    archives: Archives = []
    classes: Classes = "all"
    untrained: Annotated[list[Text], AfterValidator(all_different)]

    @model_validator(mode="after")
    def fits(self) -> Coco:
        """The splits that are named are there, each with a folder."""
        missing = [split for split in NEEDED_SPLITS if split not in self.annotations]
        if missing:
            raise broken(f"must name a file for {' and '.join(missing)}", "annotations", self.annotations)
        if set(self.images) != set(self.annotations):
            raise broken(f"must name a folder for each of {', '.join(self.annotations)}", "images", self.images)
        if self.headline not in self.annotations:
            rule = f"must be one of annotations ({', '.join(self.annotations)})"
            raise broken(rule, "headline", self.headline, self.annotations)
        slashed = next((folder for folder in self.images.values() if folder.endswith("/")), None)
        if slashed:
            raise broken("must name folders without a slash at the end", "images", self.images)
        return self


def is_none_or_spacing(value: Any) -> Any:
    """The word none, or millimetres."""
    if value != "none" and not (type(value) in (int, float) and 0.05 <= value < 1000):
        raise broken("must be none or millimetres >= 0.05 and < 1000")
    return value


class Acdc(Section):
    """The NIfTI volumes of the ACDC challenge; its splits are made by patient.

    `classes` and `archives` may be left out.
    """

    format: Literal["acdc"]
    val_every: Annotated[int, Field(ge=2)]
    clip: Annotated[list[Percent], Field(min_length=2, max_length=2), AfterValidator(rises)]
    spacing: Annotated[Any, AfterValidator(is_none_or_spacing)]
    size_bins: SizeBins
    headline: Literal["val", "test"]
    classes: Classes = "all"
    archives: Archives = []


DataSet = Annotated[Shapes | Voc | Folder | Coco | Acdc, Field(discriminator="format")]
