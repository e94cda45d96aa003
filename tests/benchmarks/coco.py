"""Speed and memory of COCO's conversion: `python -m tests.benchmarks.coco [FOLDER]`.

FOLDER is a data set in COCO's layout with `annotations/instances_train2017.json`; without it, objects are generated as
COCO has them: about 7 to an image of 480 x 640 pixels, polygons of some 30 corners with two decimals, areas from 10 to
100 000 pixels, 1 in 100 a crowd in run lengths. Measured are, on one core and in CPU time:

    draw     a mask and an instance map of each image, against pycocotools' frPyObjects, merge and decode of each object
    whole    the same with the image's decoding and the writing of both PNGs, which is what a worker does
    memory   the parent's peak with a generated JSON of 200 MB, and the time to read it
"""

from __future__ import annotations

import io
import json
import multiprocessing
import re
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from pycocotools import mask as coco_mask

from stages.core.files import ZipReader, csv_text, md5, write_zip
from stages.core.params import Params
from stages.download.shapes import render
from stages.download.source import INDEX_COLUMNS
from stages.prepare.coco import read_coco
from stages.prepare.coco_json import outline_of
from stages.prepare.drawing import Drawing, Outline, draw
from stages.prepare.layout import Entry, Index, RawFile, md5_of
from stages.prepare.verify import verify

HEIGHT, WIDTH, CATEGORIES = 480, 640, 80
IMAGES = 200
JSON_BYTES = 200e6


def generated_object(generator: np.random.Generator, number: int, image: int) -> dict[str, Any]:
    """An entry of `annotations`."""
    corners = int(generator.integers(10, 50))
    radius = np.sqrt(np.exp(generator.uniform(np.log(10), np.log(1e5))) / np.pi)
    angles = np.sort(generator.uniform(0, 2 * np.pi, corners))
    reach = radius * generator.uniform(0.6, 1.3, corners)
    centre = generator.uniform((0, 0), (WIDTH, HEIGHT))
    points = np.stack([np.cos(angles), np.sin(angles)], 1) * reach[:, None] + centre
    points = np.clip(points, 0, (WIDTH, HEIGHT)).round(2)
    entry = {"segmentation": [points.ravel().tolist()], "area": float(np.pi * radius**2), "iscrowd": 0}
    if number % 100 == 0:
        crowd = coco_mask.decode(coco_mask.frPyObjects(entry["segmentation"], HEIGHT, WIDTH)[0])
        change = np.flatnonzero(np.diff(np.concatenate([[0], crowd.T.ravel(), [2]])))
        counts = np.diff(np.concatenate([[0], change])).tolist()
        entry |= {"segmentation": {"size": [HEIGHT, WIDTH], "counts": counts}, "iscrowd": 1}
    low, high = points.min(0), points.max(0)
    box = [*low.tolist(), *(high - low).round(2).tolist()]
    return entry | {"image_id": image, "bbox": box, "category_id": number % CATEGORIES + 1, "id": number}


def generated() -> tuple[list[list[dict[str, Any]]], list[tuple[int, int]], list[bytes]]:
    """The objects of each image, its size and its JPEG."""
    generator = np.random.default_rng(0)
    buffer = io.BytesIO()
    Image.fromarray(render(0, 1, 3, WIDTH)[0][:HEIGHT]).save(buffer, "JPEG", quality=90)
    counts = generator.poisson(7, IMAGES)
    objects = [[generated_object(generator, 1000 * i + k, i) for k in range(n)] for i, n in enumerate(counts)]
    return objects, [(HEIGHT, WIDTH)] * IMAGES, [buffer.getvalue()] * IMAGES


def real(folder: Path) -> tuple[list[list[dict[str, Any]]], list[tuple[int, int]], list[bytes]]:
    """The same of a data set's training images."""
    tree = json.loads((folder / "annotations/instances_train2017.json").read_bytes())
    files = {path.name: path for path in folder.rglob("*.jpg")}
    objects: dict[int, list] = {}
    for entry in tree["annotations"]:
        objects.setdefault(entry["image_id"], []).append(entry)
    images = [image for image in tree["images"] if image["id"] in objects][:2000]
    ordered = [sorted(objects[image["id"]], key=lambda entry: entry["id"]) for image in images]
    sizes = [(image["height"], image["width"]) for image in images]
    return ordered, sizes, [files[image["file_name"]].read_bytes() for image in images]


def annotations_to_masks(objects: list[dict[str, Any]], height: int, width: int) -> list[np.ndarray]:
    """The steps of COCO.annToMask for each object: their masks, and no map made of them yet."""
    masks = []
    for entry in objects:
        segmentation = entry["segmentation"]
        encoded = coco_mask.frPyObjects(segmentation, height, width)
        masks.append(coco_mask.decode(coco_mask.merge(encoded) if isinstance(segmentation, list) else encoded))
    return masks


def drawing_of(objects: list[dict[str, Any]], height: int, width: int) -> Drawing:
    """What a worker is handed."""
    outlines = []
    for entry in objects:
        form, parts = outline_of(entry["segmentation"])
        parts = parts if form == "polygons" else parts[1:]
        outlines.append(Outline(entry["id"], entry["category_id"], bool(entry["iscrowd"]), form, parts))
    return Drawing("", height, width, tuple(outlines))


def speed(objects: list[list[dict[str, Any]]], sizes: list[tuple[int, int]], images: list[bytes]) -> None:
    """Instances per second of CPU time; both ways take turns, so that a busy machine slows them alike."""
    drawings = [drawing_of(found, *size) for found, size in zip(objects, sizes, strict=True)]
    instances, ours, theirs, whole = sum(map(len, objects)), [], [], 0.0
    for _ in range(5):
        for seconds, work, items in (
            (ours, draw, [(drawing,) for drawing in drawings]),
            (theirs, annotations_to_masks, [(found, *size) for found, size in zip(objects, sizes, strict=True)]),
        ):
            start = time.process_time()
            for item in items:
                work(*item)
            seconds.append(time.process_time() - start)
    with tempfile.TemporaryDirectory() as folder:
        with write_zip(Path(folder) / "raw.zip") as archive:
            for number, image in enumerate(images):
                archive.bytes(f"{number}.jpg", image)
        raw = ZipReader(Path(folder) / "raw.zip")
        names = {image: md5_of(image) for image in set(images)}
        entries = [
            Entry("", (), RawFile("", f"raw:{number}.jpg", names[image]), drawing, None)
            for number, (image, drawing) in enumerate(zip(images, drawings, strict=True))
        ]
        start = time.process_time()
        faults = [fault for entry in entries for fault in verify(raw, range(255), entry).faults]
        whole = time.process_time() - start
    if faults:
        raise SystemExit(f"the benchmark's own entries have faults: {faults[:3]}")
    first, second = instances / min(ours), instances / min(theirs)
    print(f"{instances} instances in {len(objects)} images, one core, CPU time, best of 5")
    print(f"draw: {first:.0f} instances/s; annToMask alone: {second:.0f}; {first / second:.2f} times as fast")
    print(f"whole: {instances / whole:.0f} instances/s, {len(objects) / whole:.0f} images/s")


def write_large(path: Path) -> int:
    """A JSON of `JSON_BYTES` at `path`; the number of its annotations."""
    generator = np.random.default_rng(1)
    some = [generated_object(generator, number, 0) for number in range(2000)]
    written = number = 0
    with path.open("w") as file:
        categories = [{"id": k, "name": f"class {k}", "supercategory": "thing"} for k in range(1, CATEGORIES + 1)]
        file.write('{"categories": ' + json.dumps(categories) + ', "annotations": [')
        while written < JSON_BYTES:
            number += 1
            entry = some[number % len(some)] | {"id": number, "image_id": number // 7}
            written += file.write((", " if number > 1 else "") + json.dumps(entry))
        file.write('], "images": [')
        for image in range(number // 7 + 1):
            entry = {"id": image, "file_name": f"{image:012d}.jpg", "height": HEIGHT, "width": WIDTH}
            file.write((", " if image else "") + json.dumps(entry))
        file.write("]}")
    return number


def peak() -> float:
    """The most memory that this process has had, in MB."""
    return int(re.search(r"VmHWM:\s*(\d+)", Path("/proc/self/status").read_text())[1]) / 1e3


def read_large(raw: Path, name: str) -> tuple[int, float, float]:
    """Images in the layout, seconds of CPU time to read it, and MB of memory that it takes at most."""
    split = {"annotations": {"train": name}, "images": {"train": "train"}, "headline": "train"}
    data = Params(split | {"ids": "annotated", "tags": "masks", "untrained": []})
    index, before, start = Index(raw), peak(), time.process_time()
    layout = read_coco(index, data, [])
    return len(layout.entries), time.process_time() - start, peak() - before


def memory() -> None:
    """Reads a large JSON as `prepare` does, in a process whose memory nothing else has touched."""
    with tempfile.TemporaryDirectory() as folder:
        path, raw = Path(folder) / "large.json", Path(folder) / "raw.zip"
        count = write_large(path)
        names = [f"train/{image:012d}.jpg" for image in range(count // 7 + 1)]
        rows = [{"name": path.name, "location": str(path), "size": path.stat().st_size, "md5": md5(path)}]
        rows += [{"name": name, "location": f"/{name}", "size": 0, "md5": "0" * 32} for name in names]
        with write_zip(raw) as archive:
            archive.text("index.csv", csv_text(rows, INDEX_COLUMNS))
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
            images, seconds, megabytes = pool.submit(read_large, raw, path.name).result()
        print(f"memory: {megabytes:.0f} MB for a JSON of {path.stat().st_size / 1e6:.0f} MB, read in {seconds:.1f} s")
        print(f"({count} annotations, {images} images)")


if __name__ == "__main__":
    speed(*(real(Path(sys.argv[1])) if sys.argv[1:] else generated()))
    memory()
