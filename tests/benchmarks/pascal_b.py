"""Time and memory of PASCAL-B's rebuild: `python -m tests.benchmarks.pascal_b [IMAGES]`.

Annotations are generated in the zips and in the numbers of LVIS v1 val: 19 809 images with 12.35 objects each, half of
them of a category in the table, polygons of some 50 corners; and of COCO with 7.3 objects to each of the same images.
All of them count as images of COCO's val, where in truth 4 809 do, so that every one is drawn. A fresh process
rebuilds, with SIZEWISE_JOBS workers. Times are of the CPU, all processes together; memory is the most that a process
has had.
"""

from __future__ import annotations

import json
import multiprocessing
import resource
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from stages.balance.annotations import read_images
from stages.balance.conversion import converted
from stages.balance.flattest import bound, flattest
from stages.balance.mapping import COCO_CLASSES, table
from stages.balance.pascal_b import IMAGES as CHOSEN
from stages.balance.selection import priorities
from stages.balance.sources import COCO, LVIS, sources

IMAGES, LVIS_OBJECTS, COCO_OBJECTS, CATEGORIES = 19_809, 12.35, 7.3, 1203
HEIGHT, WIDTH = 480, 640


def outlines(generator: np.random.Generator, count: int) -> list[str]:
    """Segmentations as JSON: areas from 10 to 100 000 pixels, most of them small."""
    result = []
    for _ in range(count):
        corners = int(generator.integers(20, 80))
        radius = np.sqrt(np.exp(generator.uniform(np.log(10), np.log(1e5))) / np.pi)
        angles = np.sort(generator.uniform(0, 2 * np.pi, corners))
        points = np.stack([np.cos(angles), np.sin(angles)], 1) * (radius * generator.uniform(0.6, 1.3, (corners, 1)))
        points = np.clip(points + generator.uniform((0, 0), (WIDTH, HEIGHT)), 0, (WIDTH, HEIGHT)).round(2)
        result.append(json.dumps([points.ravel().tolist()]))
    return result


def annotations(generator: np.random.Generator, images: int, mean: float, keys: list[int]) -> Iterator[str]:
    """Entries of `annotations`, image by image, with categories of `keys`."""
    shapes = outlines(generator, 3000)
    number = 0
    for image, count in enumerate(generator.poisson(mean, images), 1):
        for shape, key in zip(generator.integers(len(shapes), size=count), generator.choice(keys, count), strict=True):
            number += 1
            head = f'"id": {number}, "image_id": {image}, "category_id": {key}, "area": 1.0, "bbox": [0, 0, 1, 1]'
            yield f'{{{head}, "segmentation": {shapes[shape]}}}'


def write(path: Path, member: str, images: list[dict[str, Any]], categories: list[dict], objects: Iterator[str]) -> int:
    """A zip with one JSON; the number of its bytes, unpacked."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        with archive.open(member, "w", force_zip64=True) as file:
            file.write(f'{{"images": {json.dumps(images)}, "categories": {json.dumps(categories)}'.encode())
            for place, entry in enumerate(objects):
                file.write((", " if place else ', "annotations": [').encode() + entry.encode())
            file.write(b"]}")
        return archive.getinfo(member).file_size


def generate(folder: Path, images: int) -> tuple[int, int]:
    """The zips of LVIS and COCO; the bytes of their JSON."""
    generator = np.random.default_rng(0)
    known = {row.lvis_id: row.synset for row in table().values()}
    names = {key: known.get(key, f"thing_{key}.n.01") for key in range(1, CATEGORIES + 1)}
    others = sorted(set(names) - set(known))
    heads = [row.lvis_id for row in table().values() if row.head]
    pictures = [
        {
            "id": number,
            "height": HEIGHT,
            "width": WIDTH,
            "file_name": f"{number:012d}.jpg",
            "coco_url": f"http://images.cocodataset.org/val2017/{number:012d}.jpg",
            "neg_category_ids": generator.choice(others, 12).tolist() + generator.choice(heads, 2).tolist(),
            "not_exhaustive_category_ids": generator.choice(heads, 1).tolist(),
        }
        for number in range(1, images + 1)
    ]
    keys = [*known, *others[: len(known)]]  # half of the objects are of the table
    lvis = [{"id": key, "name": name, "synset": name} for key, name in names.items()]
    coco = [{"id": key, "name": name} for _, key, name in COCO_CLASSES]
    coco += [{"id": 100 + k, "name": f"thing {k}"} for k in range(20)]
    first = annotations(generator, images, LVIS_OBJECTS, keys)
    second = annotations(generator, images, COCO_OBJECTS, [category["id"] for category in coco])
    return (
        write(folder / LVIS["val"], "lvis_v1_val.json", pictures, lvis, first),
        write(folder / COCO, "annotations/instances_val2017.json", pictures, coco, second),
    )


def seconds() -> float:
    """CPU time of this process and of its children that have ended."""
    return sum(sum(resource.getrusage(who)[:2]) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))


def megabytes(who: int) -> float:
    """The most memory of this process, or of the largest of its children."""
    return resource.getrusage(who).ru_maxrss / 1e3


def rebuild(folder: Path) -> None:
    """The steps of the command, each with its time and the most memory until then."""
    print(f"before: {megabytes(resource.RUSAGE_SELF):.0f} MB")
    taken = {}

    def timed(title: str, work: Callable[[], Any]) -> Any:
        start = seconds()
        result = work()
        taken[title] = seconds() - start
        print(f"{title}: {taken[title]:.1f} s, {megabytes(resource.RUSAGE_SELF):.0f} MB", flush=True)
        return result

    lvis, coco = sources(str(folder / LVIS["val"]), [folder / COCO], False)
    works, _ = timed("read", lambda: read_images(lvis, coco, False))
    out = folder / "out"
    out.mkdir()
    counts = timed("draw", lambda: converted(out, works))
    objects = sum(len(work.lvis) + len(work.coco) for work in works)
    print(f"  {len(works) / taken['draw']:.0f} images/s, {objects / taken['draw']:.0f} objects/s per core")
    print(f"  the largest worker: {megabytes(resource.RUSAGE_CHILDREN):.0f} MB")
    flat, order = counts.reshape(len(works), -1), priorities([work.name for work in works], 0)
    chosen = timed("choose", lambda: flattest(flat, min(CHOSEN, len(works) // 2), order))
    timed("bound", lambda: bound(flat, chosen))


def main(images: int) -> None:
    """Generates and rebuilds."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for work, *arguments in ((generate, folder, images), (rebuild, folder)):
            with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
                result = pool.submit(work, *arguments).result()
            if result:
                print(f"{images} images; JSON of {result[0] / 1e6:.0f} MB (LVIS) and {result[1] / 1e6:.0f} MB (COCO)")


if __name__ == "__main__":
    main(int(sys.argv[1]) if sys.argv[1:] else IMAGES)
