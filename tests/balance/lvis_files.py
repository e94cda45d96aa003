"""Annotations of LVIS v1 and COCO 2017 in their exact form, for tests."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from stages.balance.mapping import COCO_CLASSES, table

HEIGHT, WIDTH = 120, 160


def rectangle(top: int, left: int, height: int, width: int) -> list[list[float]]:
    """A polygon as COCO writes it."""
    return [[left, top, left + width, top, left + width, top + height, left, top + height]]


def category_id(synset: str) -> int:
    """The id in LVIS v1."""
    return table()[synset].lvis_id


class Files:
    """LVIS v1 and COCO 2017 annotations in their exact form, written object by object."""

    def __init__(self, folder: Path) -> None:
        self.lvis_path, self.coco_path = folder / "lvis_v1_val.json", folder / "instances_val2017.json"
        categories = [
            {
                "id": row.lvis_id,
                "name": row.lvis_name,
                "synset": row.synset,
                "synonyms": [row.lvis_name],
                "def": "",
                "frequency": "f",
                "image_count": 1,
                "instance_count": 1,
            }
            for row in table().values()
        ]
        categories.append({"id": 1, "name": "aerosol_can", "synset": "aerosol.n.02", "synonyms": [], "def": ""})
        self.lvis: dict[str, Any] = {"info": {}, "licenses": [], "images": [], "annotations": []}
        self.lvis["categories"] = sorted(categories, key=lambda category: category["id"])
        self.coco: dict[str, Any] = {"info": {}, "licenses": [], "images": [], "annotations": []}
        self.coco["categories"] = [{"id": key, "name": name, "supercategory": ""} for _, key, name in COCO_CLASSES]
        self.coco["categories"].append({"id": 8, "name": "truck", "supercategory": "vehicle"})

    def image(self, number: int, split: str = "val2017", neg: tuple = (), incomplete: tuple = (), coco: bool = True):
        url = f"http://images.cocodataset.org/{split}/{number:012d}.jpg"
        image = {"id": number, "height": HEIGHT, "width": WIDTH, "coco_url": url, "license": 1, "flickr_url": ""}
        federated = {"neg_category_ids": list(map(category_id, neg))}
        federated["not_exhaustive_category_ids"] = list(map(category_id, incomplete))
        self.lvis["images"].append(image | federated)
        if coco:
            self.coco["images"].append(image | {"file_name": f"{number:012d}.jpg"})

    def add_lvis(self, image: int, synset: str, *place: int) -> None:
        key = category_id(synset) if synset in table() else 1
        self._add(self.lvis, image, key, rectangle(*place), {})

    def add_coco(self, image: int, name: str, *place: int) -> None:
        key = {**{voc: key for voc, key, _ in COCO_CLASSES}, "truck": 8}[name]
        self._add(self.coco, image, key, rectangle(*place), {"iscrowd": 0})

    def _add(self, content: dict, image: int, key: int, segmentation: Any, more: dict) -> None:
        number = len(content["annotations"]) + 1
        base = {"id": number, "image_id": image, "category_id": key, "area": 1.0, "bbox": [0, 0, 1, 1]}
        content["annotations"].append(base | more | {"segmentation": segmentation})

    def write(self) -> list[str]:
        self.lvis_path.write_text(json.dumps(self.lvis))
        self.coco_path.write_text(json.dumps(self.coco))
        return ["--lvis", str(self.lvis_path), "--coco", str(self.coco_path)]
