"""The pictures of the annotation tool on generated images, in a real browser.

python -m tests.size_targets.annotate.screenshot docs/annotate.png [--dark] [--aid grid] [--feedback]
"""

from __future__ import annotations

import argparse
import io
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from stages.core.files import decode_image, encode_png, write_csv
from stages.download.shapes import CLASSES, render
from stages.size_targets.annotate.answers import COLUMNS
from tests.browser import headless
from tests.size_targets.annotate.running import running

WIDTH, HEIGHT = 1200, 900  # pixels of the window
LEAST = 0.06  # area share of the class in an image that is shown
DONE = 5  # images that have been answered before


def write_images(folder: Path, name: str, count: int = 12, size: int = 480) -> None:
    """Images of the generated data set that have a class, as the folder layout has them."""
    label = CLASSES.index(name) + 1
    for part in ("images", "masks"):
        (folder / part).mkdir()
    (folder / "classes.txt").write_text("\n".join(("background", *CLASSES)) + "\n")
    index = 0
    while count:
        image, mask, _ = render(7, 0, index, size)
        index += 1
        if np.mean(mask == label) > LEAST:
            top = size // 8 * (index % 2)  # landscape and square
            (folder / f"images/shape_{index:03}.png").write_bytes(encode_png(image[top : size - top]))
            (folder / f"masks/shape_{index:03}.png").write_bytes(encode_png(mask[top : size - top]))
            count -= 1


def write_answers(folder: Path, name: str) -> None:
    """What a person might have answered about the first images: true sizes in steps of 2.5 %, in ten seconds each."""
    label = CLASSES.index(name) + 1
    rows = []
    for path in sorted((folder / "masks").iterdir())[:DONE]:
        size = 100 * np.mean(decode_image(path.read_bytes()) == label)
        rows.append({"image": path.stem, "class": name, "percent": max(2.5, 2.5 * round(size / 2.5)), "seconds": 10.0})
    write_csv(folder / "sizes.csv", rows, COLUMNS)


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--dark", action="store_true")
    parser.add_argument("--aid", default="grid")
    parser.add_argument("--feedback", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, headless(WIDTH, HEIGHT) as browser:
        folder = Path(name)
        write_images(folder, "star")
        arguments = ["--images", folder / "images", "--classes", "star", "--aid", options.aid]
        if options.feedback:
            arguments += ["--truth", folder / "masks", "--train", "4"]
        else:
            write_answers(folder, "star")
        with running(folder / "sizes.csv", *arguments) as url:
            browser.dark(options.dark)
            browser.open(url)
            browser.wait(lambda: "Press Enter" in browser.text("#notice"))
            browser.press("Enter")
            browser.wait(lambda: browser.run("return document.querySelector('#frame canvas')"))
            browser.press(*"42.5")
            if options.feedback:
                browser.press("Enter")
                browser.wait(lambda: "True size" in browser.text("#message"))
            browser.run("return new Promise((done) => setTimeout(done, 500))")
            picture = Image.open(io.BytesIO(browser.screenshot())).convert("RGB")
    picture.quantize(256, dither=Image.Dither.NONE).save(options.out, optimize=True)


if __name__ == "__main__":
    main()
