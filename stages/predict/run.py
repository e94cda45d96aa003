"""Segments anybody's pictures: a label map for each image of a folder.

python -m stages.predict.run --model models/shapes/segmenter.pt --images FOLDER --out FOLDER [--overlay] [--plain]

It writes OUT/NAME.png, an indexed PNG of the image's size with the colours of the data set that the model learnt from,
OUT/classes.txt (line n names label n, from 0), and with --overlay also OUT/overlay/NAME.png, the labels over the
picture. Scales, flips and dense CRF are those of that data set's recipe in params.yaml; --plain takes one pass and no
CRF. An image that cannot be read is named in the end (exit code 1), when all others are done. A photograph that its
camera marked as turned is segmented, and its label map stored, upright, as viewers show it.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps
from PIL.Image import DecompressionBombError

from stages.core.command import exit_on_fault
from stages.core.device import be_deterministic, device
from stages.core.faults import Fault, combine
from stages.core.files import PICTURES, atomic, encode_png
from stages.core.inference import average_softmax
from stages.core.networks.encoders import read_segmenter
from stages.core.networks.segmentation import Segmenter
from stages.core.params import Params, look_up, read_yaml
from stages.core.pool import process_map
from stages.predict.label_maps import Decide
from stages.predict.network import build

SUFFIXES = (".jpg", ".jpeg", ".png")
PLAIN = {"scales": [1.0], "flip": False, "crf": "none", "model": "last"}
OPACITY = 0.55  # of the labels over the picture


@dataclass
class Pictures:
    """The images of a folder and its sub-folders, by name without suffix; `faults` gets those that cannot be read."""

    folder: Path
    out: Path
    overlay: bool = False
    faults: list[str] = field(default_factory=list)

    def paths(self) -> dict[str, Path]:
        """The files by name, sorted.

        Raises:
            Fault: there is no such folder or no image in it, it lies in `out`, or two images would have the same file.
        """
        if not self.folder.is_dir():
            raise Fault(f"{self.folder} is no folder")
        if self.out == self.folder or self.out in self.folder.parents:
            raise Fault(f"--out {self.out} holds the images, which label maps could replace; name another folder")
        found: dict[str, Path] = {}
        for path in sorted(self.folder.rglob("*")):
            if path.suffix.lower() not in SUFFIXES or self.out in path.parents or not path.is_file():
                continue
            name = path.relative_to(self.folder).with_suffix("").as_posix()
            if name in found:
                raise Fault(f"{found[name]} and {path} would have the same label map {name}.png; rename one")
            found[name] = path
        over = [name for name in found if self.overlay and f"overlay/{name}" in found]
        if over:
            faults = [f"{found[name]}, and the label map of {found[f'overlay/{name}']}" for name in over]
            raise combine("--overlay: the drawing of an image would be the same file as a label map; rename", faults)
        if not found:
            raise Fault(f"{self.folder} holds no image ({', '.join(suffix[1:] for suffix in SUFFIXES)})")
        return found

    def probabilities(
        self, network: Segmenter, paths: dict[str, Path], recipe: Params
    ) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
        """Each image's name, the image (H, W, 3) uint8 and its class probabilities (K, H, W) float32."""
        for name, path in paths.items():
            try:
                image = upright(path)
            except (OSError, ValueError, SyntaxError, DecompressionBombError) as error:
                self.faults.append(f"{path}: {error}")
                continue
            planes = torch.from_numpy(image).permute(2, 0, 1)[None]
            with torch.inference_mode():
                yield name, image, average_softmax(network, planes, recipe.scales, recipe.flip)[0].cpu().numpy()


def upright(path: Path) -> np.ndarray:
    """The image as a viewer shows it, (H, W, 3) uint8 RGB.

    Raises:
        ValueError: it has more than 8 bits a channel, which RGB would cut off.
        OSError, SyntaxError, DecompressionBombError: it cannot be decoded.
    """
    with Image.open(path, formats=PICTURES) as image:
        if image.mode.startswith(("I", "F")):
            raise ValueError(f"it has more than 8 bits a pixel ({image.mode}); convert it to 8 bits first")
        return np.array(ImageOps.exif_transpose(image).convert("RGB"))


class Draw:
    """The label map of an image, and the labels over it where they are wanted, as PNG bytes."""

    def __init__(self, crf: Params | str, palette: tuple[tuple[int, int, int], ...], overlay: bool) -> None:
        self.decide, self.palette, self.overlay = Decide(crf), palette, overlay

    def __call__(self, item: tuple[str, np.ndarray, np.ndarray]) -> tuple[str, bytes, bytes | None]:
        """item: name, image (H, W, 3) uint8, probabilities (K, H, W) float32."""
        name, image, _ = item
        _, labels = self.decide(item)
        return name, encode_png(labels, self.palette), encode_png(self.over(image, labels)) if self.overlay else None

    def over(self, image: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """The labels over the image; where their colour is black, as the background's, the image stays as it is."""
        colours = np.array(self.palette, np.float32)[labels]
        opacity = OPACITY * (colours.max(2, keepdims=True) > 0)
        return (image * (1 - opacity) + colours * opacity).round().astype(np.uint8)


def segment_folder(model: dict[str, Any], images: Path, out: Path, recipe: Params, overlay: bool = False) -> int:
    """Writes the label maps of the images of a folder, see the module; returns their number.

    Args:
        model: the content of segmenter.pt.
        images, out: folders; `out` may lie in `images`.
        recipe: `scales`, `flip`, `crf` and `model`, as in a recipe's `predict`.
        overlay: also draw the labels over the pictures.

    Raises:
        Fault: there are no images; or some cannot be read, and then all others have been written.
    """
    pictures = Pictures(images, out, overlay)
    paths = pictures.paths()
    network, _ = build(model, recipe.model)
    network.eval().to(device())
    be_deterministic(0)
    out.mkdir(parents=True, exist_ok=True)
    write(out / "classes.txt", "".join(f"{name}\n" for name in model["classes"]).encode())
    done = 0
    stream = pictures.probabilities(network, paths, recipe)
    for name, labels, drawn in process_map(Draw(recipe.crf, model["palette"], overlay), stream, "segment", len(paths)):
        write(out / f"{name}.png", labels)
        if drawn is not None:
            write(out / "overlay" / f"{name}.png", drawn)
        done += 1
    if pictures.faults:
        raise combine(f"{done} images are done, these cannot be read", pictures.faults)
    return done


def write(path: Path, content: bytes) -> None:
    """A file that is there whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic(path) as temporary:
        temporary.write_bytes(content)


def recipe_of(model: dict[str, Any], plain: bool) -> Params:
    """How the model's data set is predicted.

    Raises:
        Fault: params.yaml has no recipe of that data set.
    """
    if plain:
        return Params(PLAIN)
    return Params(look_up(read_yaml(Path("params.yaml")), f"recipes.{model['dataset']}.predict"))


def main(arguments: list[str] | None = None) -> None:
    """The command, see the module."""
    parser = argparse.ArgumentParser(prog="python -m stages.predict.run", description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, required=True, help="a segmenter.pt")
    parser.add_argument("--images", type=Path, required=True, help="a folder of pictures (jpg, jpeg, png)")
    parser.add_argument("--out", type=Path, required=True, help="the folder to write")
    parser.add_argument("--overlay", action="store_true", help="also draw the labels over the pictures")
    parser.add_argument("--plain", action="store_true", help="one pass at scale 1, without a CRF")
    options = parser.parse_args(arguments)
    with exit_on_fault("predict"):
        model = read_segmenter(options.model)
        recipe = recipe_of(model, options.plain)
        count = segment_folder(model, options.images.resolve(), options.out.resolve(), recipe, options.overlay)
    sys.stdout.write(f"{count} label maps in {options.out.resolve()}\n")


if __name__ == "__main__":
    main()
