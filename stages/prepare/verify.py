"""Every file of one image, opened once: does it decode, do the sizes agree, are the label values known.

An image is read as stored, whatever its EXIF orientation, as torchvision and Pillow read it. Programs that draw masks
differ: some draw on the picture as it is shown, turned by that orientation. Where the sizes tell, a mask must be of the
picture as stored; where they do not (a half turn, a mirror, a square), the result says so.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
from PIL import Image
from PIL.Image import DecompressionBombError

from stages.core.dataset import INSTANCE_VOID, VOID
from stages.core.files import PICTURES, ZipReader, encode_png
from stages.prepare.drawing import Drawing, draw, run_lengths
from stages.prepare.layout import Entry, RawFile, read
from stages.prepare.palette import voc_palette
from stages.prepare.sbd import SUFFIX, segmentation
from stages.prepare.subset import renumbered

PALETTE = voc_palette()
IMAGE_MODES = ("L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr")
LABEL_MODES = ("1", "L", "P", "I;16", "I;16B", "I;16L", "I")
GREY_STEP = {2: 85, 4: 17}  # Pillow stretches grey values of 2 and 4 bits to 0..255; labels are the values before that
# What Pillow raises for broken files.
BROKEN = (
    *(
        OSError,
        SyntaxError,
        ValueError,
        EOFError,
        LookupError,
        TypeError,
        AttributeError,
        ArithmeticError,
        RuntimeError,
    ),
    *(MemoryError, struct.error, zlib.error, DecompressionBombError),
)
SHOWN = 8
ORIENTATION = 0x0112  # the tag of EXIF 2.32: 1 is upright, 2 to 4 mirror it or turn it by half, 5 to 8 change its sides
UPRIGHT = "`mogrify -auto-orient FILE`"  # ImageMagick
Result = TypeVar("Result")


@dataclass(frozen=True)
class Picture:
    """Height and width of an image as stored, in pixels, and its EXIF orientation, 1 to 8."""

    size: tuple[int, int]
    orientation: int

    @property
    def shown(self) -> tuple[int, int]:
        """Height and width as programs show it that heed the orientation."""
        return self.size[::-1] if self.orientation >= 5 else self.size


@dataclass(frozen=True)
class Verified:
    """What became of an entry: its PNGs and facts, or the faults of its files.

    height, width: of the image, in pixels.
    mask, instances: PNG bytes of the label map (indexed) and of the instance map (16 bit); None where there is none.
    present: the labels that have a pixel, void left out.
    empty: number of drawn outlines that cover no pixel.
    unseen: a drawn class has no pixel in the mask.
    orientation: EXIF's, 2 to 8, where the sizes do not tell whether the maps are of the picture as stored; else 1.
    """

    height: int = 0
    width: int = 0
    mask: bytes | None = None
    instances: bytes | None = None
    present: tuple[int, ...] = ()
    empty: int = 0
    unseen: bool = False
    orientation: int = 1
    faults: list[str] = field(default_factory=list)


def verify(raw: ZipReader, labels: Sequence[int], entry: Entry) -> Verified:
    """Opens or draws the image, the mask and the instance map of `entry` and checks them against each other.

    labels: the label in the result of each label in the files.
    """
    faults: list[str] = []
    image = attempt(faults, entry.image.name, lambda: picture(read(raw, entry.image)))
    if isinstance(entry.mask, Drawing):
        return verify_drawing(entry.image.name, image, entry.mask, labels, faults)
    mask = instances = None
    if entry.mask is not None:
        mask = attempt(faults, entry.mask.name, lambda: label_map(numbers(raw, entry.mask), len(labels)))
    if entry.instances is not None:
        instances = attempt(faults, entry.instances.name, lambda: instance_map(numbers(raw, entry.instances)))
    for file, array in ((entry.mask, mask), (entry.instances, instances)):
        if image is not None and array is not None and array.shape != image.size:
            faults.append(of_another_size(file.name, array.shape, entry.image.name, image))
    if faults:
        return Verified(faults=faults)
    if mask is not None:
        mask, instances = renumbered(mask, instances, labels)
    return Verified(
        *image.size,
        None if mask is None else encode_png(mask, PALETTE),
        None if instances is None else encode_png(instances),
        () if mask is None else present_labels(mask),
        orientation=image.orientation if mask is None else untold(image),
    )


def of_another_size(name: str, found: tuple[int, ...], image: str, stored: Picture) -> str:
    """What a person reads whose mask or annotation `name` is of another size than its image."""
    size, shown = stored.size, stored.shown
    text = f"{name}: {found[0]} x {found[1]} pixels (height x width), but its image {image} has {size[0]} x {size[1]}"
    if found != shown:
        return text
    return (
        f"{text} as stored and that size as shown, turned by its EXIF orientation {stored.orientation}; images are "
        f"read as stored: store it upright, as {UPRIGHT} does"
    )


def untold(image: Picture) -> int:
    """The orientation of an image that goes with maps of its size; 1 where that size is only that of it as stored."""
    return image.orientation if image.shown == image.size else 1


def verify_drawing(
    name: str, image: Picture | None, drawing: Drawing, labels: Sequence[int], faults: list[str]
) -> Verified:
    """The same for maps that are drawn; `name` is the image's, and `faults` what is wrong with it."""
    stated = (drawing.height, drawing.width)
    fits = image is not None and image.size == stated
    work = draw if fits else run_lengths  # a size that is wrong may be any, and take any memory
    drawn = attempt(faults, drawing.name, lambda: work(drawing))
    if image is not None and not fits:
        faults.append(of_another_size(drawing.name, stated, name, image))
    if faults:
        return Verified(faults=faults)
    mask, instances = renumbered(drawn.mask, drawn.instances, labels)
    present = present_labels(mask)
    unseen = {labels[outline.label] for outline in drawing.outlines} - {0, *present}
    maps = encode_png(mask, PALETTE), encode_png(instances)
    return Verified(*stated, *maps, present, drawn.empty, bool(unseen), untold(image))


def present_labels(mask: np.ndarray) -> tuple[int, ...]:
    """The labels that have a pixel, void left out."""
    counts = np.bincount(mask.ravel(), minlength=VOID + 1)
    return tuple(np.flatnonzero(counts[:VOID]).tolist())


def attempt(faults: list[str], name: str, work: Callable[[], Result]) -> Result | None:
    """The result of `work()`; None, and a fault that names the file, if it raises a ValueError."""
    try:
        return work()
    except ValueError as error:
        faults.append(f"{name}: {error}")
        return None


def open_whole(content: bytes, formats: tuple[str, ...] = PICTURES) -> Image.Image:
    """A completely decoded image.

    Raises:
        ValueError: the bytes are not an image, or are cut off.
    """
    try:
        image = Image.open(io.BytesIO(content), formats=formats)
        image.load()
    except BROKEN as error:
        reason = "no format that is known here" if isinstance(error, Image.UnidentifiedImageError) else error
        raise ValueError(f"not a whole image: {reason}") from None
    return image


def picture(content: bytes) -> Picture:
    """Size and orientation of an image that has 8 bits per channel.

    Raises:
        ValueError: it does not decode, or has more bits, which would be cut to 8 unseen.
    """
    image = open_whole(content)
    if image.mode not in IMAGE_MODES:
        raise ValueError(f"an image of mode {image.mode}; convert it to 8 bits per channel, grey or RGB")
    return Picture((image.height, image.width), orientation_of(image))


def orientation_of(image: Image.Image) -> int:
    """EXIF's orientation, 1 to 8; 1 where there is none, or one that means nothing."""
    try:
        value = image.getexif().get(ORIENTATION, 1)
    except BROKEN:  # a picture is whole without its EXIF, and who shows it takes a broken one for none
        return 1
    return int(value) if value in range(1, 9) else 1


def integer_map(content: bytes) -> np.ndarray:
    """The numbers in a PNG's pixels, palette indices if it has a palette, (H, W) of an integer type.

    Raises:
        ValueError: it does not decode, or has colours instead of labels.
    """
    image = open_whole(content, ("PNG",))  # what JPEG keeps are not the labels
    if image.mode not in LABEL_MODES:
        raise ValueError(f"an image of mode {image.mode}; a label map is an indexed or grey PNG, one label per pixel")
    array = np.asarray(image)
    array = array.astype(np.uint8) if array.dtype == bool else array
    if content[25] == 0:  # colour type: grey
        array = array // GREY_STEP.get(content[24], 1)
    return array


def numbers(raw: ZipReader, file: RawFile) -> np.ndarray:
    """The numbers in the pixels of a PNG or of SBD's .mat, (H, W) of an integer type.

    Raises:
        ValueError: the file cannot be read or decoded, or has no such numbers.
    """
    content = read(raw, file)
    return segmentation(content, file.name) if file.name.endswith(SUFFIX) else integer_map(content)


def label_map(array: np.ndarray, num_classes: int) -> np.ndarray:
    """A map (H, W) of integers as a mask, uint8 with values below `num_classes` and 255 for void.

    Raises:
        ValueError: it holds other values; they are listed.
    """
    known = (array < num_classes) & (array >= 0) | (array == VOID)
    if not known.all():
        values = np.unique(array[~known]).tolist()
        listed = ", ".join(map(str, values[:SHOWN])) + (", ..." if len(values) > SHOWN else "")
        plural = "s" if len(values) > 1 else ""
        raise ValueError(f"label value{plural} {listed}; allowed are 0 to {num_classes - 1} and {VOID} (void)")
    return array.astype(np.uint8)


def instance_map(array: np.ndarray) -> np.ndarray:
    """A map (H, W) of integers as an instance map, uint16: 0 none, 65535 void; of 8 bits, as VOC's, 255 is void.

    Raises:
        ValueError: it holds values beyond 16 bits.
    """
    if array.size and (array.min() < 0 or array.max() > INSTANCE_VOID):
        raise ValueError(f"instance values {array.min()} to {array.max()}; allowed are 0 to {INSTANCE_VOID}")
    result = array.astype(np.uint16)
    if array.dtype == np.uint8:
        result[array == VOID] = INSTANCE_VOID
    return result
