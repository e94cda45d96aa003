"""A small data set in COCO's format, and outlines in all the ways in which COCO writes them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from pycocotools import mask as coco_mask

HEIGHT, WIDTH = 20, 30
SECTION = {  # of params.yaml
    "format": "coco",
    "annotations": {"train": "annotations/train.json", "val": "annotations/val.json"},
    "images": {"train": "pictures/train", "val": "pictures/val"},
    "crowd": "void",
    "ids": "annotated",
    "tags": "masks",
    "untrained": [],
    "size_bins": [16, 64],
    "headline": "val",
}
CATEGORIES = [
    {"id": 7, "name": "cup", "supercategory": "things"},
    {"id": 3, "name": "table", "supercategory": "things"},
]


def rectangle(top: int, left: int, bottom: int, right: int) -> list[list[float]]:
    """The polygon of pixel rows top to bottom and columns left to right, both without the end."""
    return [[float(v) for v in (left, top, right, top, right, bottom, left, bottom)]]


def inside(top: int, left: int, bottom: int, right: int) -> np.ndarray:
    """(HEIGHT, WIDTH) bool: the pixels of `rectangle`."""
    found = np.zeros((HEIGHT, WIDTH), bool)
    found[top:bottom, left:right] = True
    return found


def counts_of(mask: np.ndarray) -> list[int]:
    """Run lengths down the columns, outside first, pixel by pixel."""
    counts, value = [0], False
    for pixel in mask.T.ravel():
        if bool(pixel) != value:
            counts.append(0)
            value = not value
        counts[-1] += 1
    return counts


def text_of(mask: np.ndarray) -> str:
    """The compressed encoding, by pycocotools."""
    return coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))["counts"].decode()


def annotation(number: int, image: int, category: int, segmentation: Any, **more: Any) -> dict[str, Any]:
    """An entry of `annotations`."""
    entry = {"id": number, "image_id": image, "category_id": category, "segmentation": segmentation, "iscrowd": 0}
    return entry | {"area": 0, "bbox": [0, 0, 1, 1]} | more


def picture(number: int, file_name: str) -> dict[str, Any]:
    """An entry of `images`."""
    return {"id": number, "file_name": file_name, "height": HEIGHT, "width": WIDTH}


def crowd(number: int, image: int, category: int, mask: np.ndarray) -> dict[str, Any]:
    """A crowd in uncompressed run lengths."""
    return annotation(number, image, category, {"size": [HEIGHT, WIDTH], "counts": counts_of(mask)}, iscrowd=1)


def content() -> dict[str, dict[str, Any]]:
    """The two JSONs.

    Of train, image 1 has a table with a cup on it, image 2 a crowd of cups beside a table in compressed run lengths,
    image 3 nothing; of val, image 4 has a cup and a table that it covers.
    """
    train = {
        "images": [picture(2, "two.png"), picture(1, "one.png"), picture(3, "three.png")],
        "annotations": [
            annotation(12, 1, 7, rectangle(6, 8, 10, 12)),
            annotation(11, 1, 3, rectangle(4, 5, 16, 25)),
            crowd(13, 2, 7, inside(0, 0, 8, 8)),
            annotation(14, 2, 3, {"size": [HEIGHT, WIDTH], "counts": text_of(inside(5, 5, 15, 20))}),
        ],
        "categories": CATEGORIES,
    }
    val = {
        "images": [picture(4, "COCO_val2014_000000000042.png")],
        "annotations": [
            annotation(22, 4, 7, rectangle(2, 2, 9, 9)),
            annotation(21, 4, 3, rectangle(2, 2, 9, 9)),
        ],
        "categories": CATEGORIES[::-1],
    }
    return {"train": train, "val": val}


def write(root: Path, trees: dict[str, dict[str, Any]]) -> Path:
    """The folder of the data set with these JSONs; its images are noise."""
    (root / "annotations").mkdir(parents=True, exist_ok=True)
    for split in trees:
        (root / f"pictures/{split}").mkdir(parents=True, exist_ok=True)
    for split, tree in trees.items():
        (root / f"annotations/{split}.json").write_text(json.dumps(tree))
        for entry in tree["images"]:
            size = (HEIGHT, WIDTH, 3)
            image = np.random.default_rng(entry["id"]).integers(0, 256, size, dtype=np.uint8)
            Image.fromarray(image).save(root / f"pictures/{split}/{entry['file_name']}")
    return root
