"""The embedded data set `shapes`: textured objects among clutter, with exact class and instance masks.

It stands in for photographs on a machine that has none, so it is made to need the methods and not to flatter them:

- classes differ by outline and by local appearance (texture and hue), and the hues of neighbouring classes, of the
  background and of the clutter overlap, so that the colour of a pixel alone tells little;
- the clutter is made of the classes' own textures in random hues and outlines that no class has;
- classes come in pairs that tend to occur together, so that the activation map of one leaks onto its companion;
- objects occlude each other and leave the image; their areas are spread evenly on a logarithmic scale.

Every image depends on (seed, split, index) alone: adding an image changes no other.
"""

from __future__ import annotations

import cv2
import numpy as np

CLASSES = ("beetle", "kite", "shield", "star", "clover", "drum", "moon", "tile")
HUES = (12, 38, 62, 88, 112, 136, 158, 176)  # mean hue of each class, OpenCV's half degrees (0..180)
HUE_SPREAD = 9.0
COMPANION = (1, 0, 3, 2, 5, 4, 7, 6)  # index of the class that tends to come along
COMPANION_RATE = 0.5
AREAS = (64.0, 4096.0)  # pixels of an unoccluded object in a 96-pixel image, log-uniform
OBJECTS = (1, 3)  # draws per image, before companions
PERIODS = (6.0, 9.0)  # pixels of a texture; they do not grow with the object
LEAST_VISIBLE = 24  # pixels; an object of which less is visible is not drawn at all


def lobes(x: np.ndarray, y: np.ndarray, number: int, radius: float, depth: float) -> np.ndarray:
    """A disc whose radius swings by `depth` around `radius`, `number` times in a turn."""
    return np.hypot(x, y) < radius + depth * np.cos(number * np.arctan2(y, x))


def bricks(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Rows of bricks, every second one shifted by half a brick."""
    row = np.floor(v / np.pi)
    return np.where((np.mod(v, np.pi) < 0.8) | (np.mod(u + np.pi * row, 2 * np.pi) < 0.8), -1.0, 0.6)


# Each class's outline: a bool mask in object coordinates, where the object fills about the unit disc.
OUTLINES = (
    lambda x, y: x**2 + y**2 / 0.45 < 1,  # beetle
    lambda x, y: np.abs(x) / 1.15 + np.abs(y) / 0.75 < 1,  # kite
    lambda x, y: np.maximum(np.abs(x) * 0.87 + y * 0.5, -y) < 0.55,  # shield
    lambda x, y: lobes(x, y, 5, 0.62, 0.38),  # star
    lambda x, y: lobes(x, y, 4, 0.65, 0.3),  # clover
    lambda x, y: (np.abs(x) < 0.6) & (np.abs(y) < 0.95),  # drum
    lambda x, y: (np.hypot(x, y) < 1) & (np.hypot(x - 0.55, y) > 0.75),  # moon
    lambda x, y: np.maximum(np.abs(x), np.abs(y)) < 0.8,  # tile
)

# Each class's texture in -1..1, of phases u and v that grow by 2 pi in a period.
TEXTURES = (
    lambda u, v: np.tanh(3 * (np.cos(u) * np.cos(v) - 0.1)),  # beetle
    lambda u, v: np.sin(u),  # kite
    lambda u, v: np.tanh(4 * np.sin(u) * np.sin(v)),  # shield
    lambda u, v: np.sin(np.hypot(u, v)),  # star
    lambda u, v: np.sin(u + 1.6 * np.sin(v * 0.7)),  # clover
    bricks,  # drum
    lambda u, v: np.maximum(np.cos(u), np.cos(v)) * 1.2 - 0.4,  # moon
    lambda u, v: np.sin(u) * 0.5 + np.sin(0.5 * u + v) * 0.5,  # tile
)


def paint(kind: int, hue: float, x: np.ndarray, y: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """RGB (N, 3) float in 0..255 of pattern `kind` around `hue` (0..180), at pixel coordinates x, y (N,)."""
    phase = 2 * np.pi / generator.uniform(*PERIODS)
    pattern = TEXTURES[kind](phase * x, phase * y)
    contrast = generator.uniform(30, 60)
    hsv = np.empty((1, len(x), 3), np.float32)
    hsv[0, :, 0] = np.mod(hue + 8 * pattern, 180) * 2
    hsv[0, :, 1] = np.clip(generator.uniform(0.35, 0.75) + 0.12 * pattern, 0, 1)
    hsv[0, :, 2] = np.clip(generator.uniform(110, 200) + contrast * pattern, 0, 255) / 255
    return cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)[0] * 255


def turned(size: int, centre: np.ndarray, angle: float) -> tuple[np.ndarray, np.ndarray]:
    """Pixel coordinates (size, size) around `centre`, turned by `angle`."""
    rows, columns = np.mgrid[:size, :size].astype(np.float64)
    x, y = columns - centre[1], rows - centre[0]
    return x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)


def background(size: int, generator: np.random.Generator) -> np.ndarray:
    """(size, size, 3) float RGB: soft noise in a few hues, and clutter of the classes' textures in random hues."""
    image = np.zeros((size, size, 3))
    for scale, strength in ((4, 35), (12, 30), (32, 25), (size, 10)):
        # lightness varies more than colour, as it does outdoors
        noise = generator.normal(size=(scale, scale, 1)) + 0.5 * generator.normal(size=(scale, scale, 3))
        image += strength * cv2.resize(noise, (size, size), interpolation=cv2.INTER_CUBIC)
    image += generator.uniform(90, 170, 3)
    for _ in range(int(generator.integers(3, 7))):
        x, y = turned(size, generator.uniform(0, size, 2), generator.uniform(0, 2 * np.pi))
        length, width = size * generator.uniform(0.08, 0.35), size * generator.uniform(0.03, 0.12)
        bend = generator.uniform(-1, 1) / size
        mask = (np.abs(x) < length) & (np.abs(y - bend * x**2) < width * (1 - 0.6 * np.abs(x) / length))
        kind, hue = int(generator.integers(len(CLASSES))), generator.uniform(0, 180)
        # clutter shares texture with a class and hue with another, never both
        image[mask] = 0.75 * paint(kind, hue, x[mask], y[mask], generator) + 0.25 * image[mask]
    return image


def render(seed: int, split: int, index: int, size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """One image of the data set.

    Returns:
        image (size, size, 3) uint8 RGB; mask (size, size) uint8, 0 background, 1.. classes; instances (size, size)
        uint16, 0 none, 1.. in the order of painting.
    """
    generator = np.random.default_rng([seed, split, index])
    image = background(size, generator)
    mask, instances = np.zeros((size, size), np.uint8), np.zeros((size, size), np.uint16)
    kinds: list[int] = []
    for _ in range(int(generator.integers(OBJECTS[0], OBJECTS[1], endpoint=True))):
        kind = int(generator.integers(len(CLASSES)))
        kinds.append(kind)
        if generator.random() < COMPANION_RATE:
            kinds.append(COMPANION[kind])
    unit = size / 96
    areas = np.exp(generator.uniform(np.log(AREAS[0]), np.log(AREAS[1]), len(kinds))) * unit**2
    objects = []
    for order in np.argsort(-areas):  # small objects last, or large ones would hide them
        kind = kinds[order]
        margin = 0.3 * np.sqrt(areas[order])
        x, y = turned(size, generator.uniform(margin, size - margin, 2), generator.uniform(0, 2 * np.pi))
        shape = np.sqrt(areas[order] / FILL[kind])
        objects.append((kind, OUTLINES[kind](x / shape, y / shape), x, y))
    visible = hidden_by_later(objects)
    for number, ((kind, inside, x, y), seen) in enumerate(zip(objects, visible, strict=True), 1):
        if seen.sum() < LEAST_VISIBLE:
            continue
        hue = generator.normal(HUES[kind], HUE_SPREAD)
        colours = paint(kind, hue, x[inside], y[inside], generator)
        shade = 1 + 0.2 * generator.uniform(-1, 1) * (y[inside] / max(1.0, np.abs(y[inside]).max()))
        image[inside] = colours * shade[:, None]
        mask[inside], instances[inside] = kind + 1, number
    image = cv2.GaussianBlur(image, (0, 0), 0.6) + generator.normal(scale=5, size=image.shape)
    return np.clip(image, 0, 255).astype(np.uint8), mask, instances


def hidden_by_later(objects: list) -> list[np.ndarray]:
    """What is left of each object's outline under those painted after it."""
    covered = np.zeros(objects[0][1].shape, bool)
    visible = []
    for _, inside, _, _ in reversed(objects):
        visible.append(inside & ~covered)
        covered |= inside
    return visible[::-1]


def fill(kind: int) -> float:
    """Area of class `kind`'s outline in object coordinates."""
    axis = np.linspace(-1.3, 1.3, 521)
    return float(OUTLINES[kind](*np.meshgrid(axis, axis)).mean() * 2.6**2)


FILL = tuple(fill(kind) for kind in range(len(CLASSES)))
