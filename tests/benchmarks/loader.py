"""What one core of the loader does in a second: `python -m tests.benchmarks.loader`.

A generated photograph-like image of 375 x 500 pixels as JPEG (quality 90), its label map as PNG, and the segmenter's
augmentation of `recipes.voc12`. A training waits for data where its images per second are more than the last line's
rate times the number of workers.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from stages.core.dataset import decode_rgb
from stages.core.files import decode_image, encode_png
from stages.core.params import Params, read_yaml
from stages.core.samples import View, collate
from stages.core.transforms import augment, colour_jitter, resize
from stages.download.shapes import render
from stages.segment.losses.size_weights import size_weights
from tests.benchmarks.timing import shortest

REPEATS, IMAGES = 5, 20


def main() -> None:
    """Prints a line per step."""
    torch.set_num_threads(1)
    segmenter = Params(read_yaml(Path("params.yaml"))["recipes"]["voc12"]["segmenter"])
    recipe = segmenter.augment
    image, mask = (np.ascontiguousarray(array[:375]) for array in render(0, 1, 3, 500)[:2])
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=90)
    jpeg, png = buffer.getvalue(), encode_png(mask)
    no_targets = np.zeros(0, np.float32)

    def view(weighted: bool) -> View:
        random = np.random.default_rng(0)
        picture, labels = augment(decode_rgb(jpeg), decode_image(png), recipe, random)
        return View(picture, labels, no_targets, size_weights(labels, 5, "image", True) if weighted else None)

    views = [view(False)] * segmenter.batch_size
    steps: dict[str, tuple[Callable[[], object], int]] = {
        "decode the image (JPEG)": (lambda: decode_rgb(jpeg), 1),
        "decode the label map (PNG)": (lambda: decode_image(png), 1),
        "resize both, 500 to 750 pixels": (lambda: (resize(image, 563, 750), resize(mask, 563, 750, nearest=True)), 1),
        "colour jitter of 0.3 (not in the recipe)": (
            lambda: colour_jitter(image, 0.3, np.random.default_rng(0)),
            1,
        ),
        "size weights (method size_balanced)": (lambda: size_weights(mask, 5, "image", True), 1),
        f"a batch of {segmenter.batch_size} from its views": (lambda: collate(views), segmenter.batch_size),
        "a view, all of the recipe": (lambda: view(False), 1),
        "a view, with size weights": (lambda: view(True), 1),
    }
    print("| step | ms | images / s |")
    print("|---|---:|---:|")
    for name, (work, count) in steps.items():
        seconds = shortest(lambda work=work: [work() for _ in range(IMAGES)], REPEATS) / IMAGES / count
        print(f"| {name} | {1000 * seconds:.2f} | {1 / seconds:.0f} |")


if __name__ == "__main__":
    main()
