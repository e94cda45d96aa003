"""Augmentation that treats image and label map alike, drawn per sample and so independent of worker processes."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from torchvision.transforms.v2 import functional as tv

from stages.core.params import Params

MEAN = (0.485, 0.456, 0.406)  # of ImageNet, RGB in 0..1: the field's normalisation
STD = (0.229, 0.224, 0.225)


def normalise(images: torch.Tensor) -> torch.Tensor:
    """(B, 3, H, W) uint8 RGB to float32 with ImageNet's mean and deviation."""
    mean = torch.tensor(MEAN, device=images.device).view(3, 1, 1)
    std = torch.tensor(STD, device=images.device).view(3, 1, 1)
    return (images.float() / 255 - mean) / std


def resize(image: np.ndarray, height: int, width: int, nearest: bool = False) -> np.ndarray:
    """Bilinear (area-averaging when it shrinks) or nearest resize of (H, W) or (H, W, C) uint8."""
    if image.shape[:2] == (height, width):
        return image
    shrinks = height < image.shape[0]
    mode = cv2.INTER_NEAREST_EXACT if nearest else cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return cv2.resize(image, (width, height), interpolation=mode)


def augment(
    image: np.ndarray, labels: np.ndarray | None, recipe: Params, generator: np.random.Generator
) -> tuple[np.ndarray, np.ndarray | None]:
    """One random view of an image (H, W, 3) uint8 and its label map (H, W) uint8.

    Without a crop, every step keeps the relative sizes of the objects: resizing, flips, quarter turns and colour
    jitter move or recolour pixels but leave each class its share of the image. A crop does not, and `check` refuses it
    for methods that use sizes.

    recipe: `resize` (keep, or the range [low, high] of the long side in pixels), `crop` (none, or a side in pixels;
    smaller images are padded with void), `flip`, `rotate90`, `jitter` (0..1: strength of brightness, contrast and
    saturation; hue a third of it).
    """
    if recipe.resize != "keep":
        low, high = recipe.resize
        scale = generator.integers(low, high, endpoint=True) / max(image.shape[:2])
        height, width = (max(1, round(side * scale)) for side in image.shape[:2])
        image = resize(image, height, width)
        labels = None if labels is None else resize(labels, height, width, nearest=True)
    if recipe.crop != "none":
        image, labels = crop(image, labels, recipe.crop, generator)
    if recipe.flip and generator.random() < 0.5:
        image, labels = image[:, ::-1], None if labels is None else labels[:, ::-1]
    if recipe.rotate90:
        turns = int(generator.integers(4))
        image, labels = np.rot90(image, turns), None if labels is None else np.rot90(labels, turns)
    if recipe.jitter:
        image = colour_jitter(image, recipe.jitter, generator)
    return np.ascontiguousarray(image), None if labels is None else np.ascontiguousarray(labels)


def crop(
    image: np.ndarray, labels: np.ndarray | None, side: int, generator: np.random.Generator
) -> tuple[np.ndarray, np.ndarray | None]:
    """A random window of at most `side` x `side` pixels; what is smaller stays as it is and is padded in the batch."""
    height, width = image.shape[:2]
    top, left = (int(generator.integers(max(0, length - side) + 1)) for length in (height, width))
    window = np.s_[top : top + side, left : left + side]
    return image[window], None if labels is None else labels[window]


def colour_jitter(image: np.ndarray, strength: float, generator: np.random.Generator) -> np.ndarray:
    """Random brightness, contrast, saturation (factors in 1 +- strength) and hue (+- strength / 3, of a full turn)."""
    tensor = torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)
    brightness, contrast, saturation = generator.uniform(max(0, 1 - strength), 1 + strength, 3)
    tensor = tv.adjust_brightness(tensor, brightness)
    tensor = tv.adjust_contrast(tensor, contrast)
    tensor = tv.adjust_saturation(tensor, saturation)
    tensor = tv.adjust_hue(tensor, min(0.5, strength / 3) * generator.uniform(-1, 1))
    return tensor.permute(1, 2, 0).numpy()


def pad_batch(arrays: list[np.ndarray], value: int = 0) -> np.ndarray:
    """Stacks arrays (H, W) or (H, W, C) of different size, padded right and below with `value`."""
    height, width = (max(array.shape[axis] for array in arrays) for axis in (0, 1))
    batch = np.full((len(arrays), height, width, *arrays[0].shape[2:]), value, arrays[0].dtype)
    for row, array in enumerate(arrays):
        batch[row, : array.shape[0], : array.shape[1]] = array
    return batch


def valid_pixels(sizes: list[tuple[int, int]], height: int, width: int) -> np.ndarray:
    """(B, height, width) bool, False on the padding of images of the given (height, width) sizes."""
    rows = np.arange(height)[None, :, None] < np.array([size[0] for size in sizes])[:, None, None]
    columns = np.arange(width)[None, None, :] < np.array([size[1] for size in sizes])[:, None, None]
    return rows & columns
