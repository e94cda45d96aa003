"""The room from a data set on disk to its two tables."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from stages.balance.__main__ import main
from stages.balance.flattest import effective_cells
from stages.balance.pool import pool_counts
from stages.core.dataset import Dataset, DatasetInfo, ImageRecord, write_header
from stages.core.faults import Fault
from stages.core.files import read_csv, write_zip
from stages.core.params import Params
from stages.core.stage import Declared, Stage
from stages.download.source import write_index
from stages.prepare.build import prepare
from tests.prepare import coco_files

IMAGES = 60


def write_dataset(path: Path, background: bool = True, instances: bool = True, masks: bool = True) -> Dataset:
    """Images of 16 x 16 pixels with up to four squares of side 1, 3 or 6 in two classes."""
    info = DatasetInfo(
        "blocks", ("nothing", "cat", "dog"), background, ((0, 0, 0),) * 256, (5, 20), "masks", masks, instances
    )
    generator = np.random.default_rng(0)
    records = [
        ImageRecord(f"{number:03d}", ("val",) if number % 4 else ("train",), f"raw:{number}.png", 16, 16, "")
        for number in range(IMAGES)
    ]
    with write_zip(path) as archive:
        write_header(archive, info, records, {record.id: [1] for record in records})
        for record in records:
            mask, ids = np.zeros((16, 16), np.uint8), np.zeros((16, 16), np.uint16)
            for number in range(generator.integers(1, 5)):
                side = generator.choice([1, 3, 6])
                corner = np.array([number // 2, number % 2]) * 8
                window = np.s_[corner[0] : corner[0] + side, corner[1] : corner[1] + side]
                mask[window], ids[window] = generator.integers(1, 3), 3 * number + 1
            if masks:
                archive.png(f"masks/{record.id}.png", mask)
            if instances:
                archive.png(f"instances/{record.id}.png", ids)
    return Dataset(path)


def run_room(
    folder: Path, target: int = 4, seed: int = 0, images: int | str = "any"
) -> tuple[list[dict[str, str]], list[dict[str, str]]]:
    """Runs the command's function and returns the rows of balanced.csv and of the histogram."""
    outs = {"balanced": folder / "balanced.csv", "balance": folder / "balance.csv"}
    balance = Params({"seed": seed, "instances_per_cell": target, "images": images})
    params = {"balance": balance, "datasets.${dataset}.headline": "val"}
    main(
        Stage(
            "balance",
            Declared("balance", "the key", params),
            Declared("balance", "the dependency", {"dataset": folder / "dataset.zip"}),
            Declared("balance", "the out", outs),
        )
    )
    return read_csv(outs["balanced"]), read_csv(outs["balance"])


def test_the_room_counts_what_it_chose(tmp_path: Path) -> None:
    dataset = write_dataset(tmp_path / "dataset.zip")
    chosen, histogram = run_room(tmp_path)
    ids = [row["id"] for row in chosen]
    assert ids == sorted(set(ids))
    assert set(ids) <= set(dataset.ids("val"))

    counted: dict[str, Counter] = {"pool": Counter(), "instances": Counter()}
    for image_id in dataset.ids("val"):
        mask, instance_map = dataset.mask(image_id), dataset.instances(image_id)
        for identity in np.unique(instance_map[instance_map > 0]):
            area = (instance_map == identity).sum()
            size = "small" if area < 5 else "medium" if area < 20 else "large"
            cell = dataset.info.classes[mask[instance_map == identity][0]], size
            counted["pool"][cell] += 1
            counted["instances"][cell] += image_id in ids
    assert [(row["class"], row["size"]) for row in histogram] == [
        (name, size) for name in ("cat", "dog") for size in ("small", "medium", "large")
    ]
    for column, counter in counted.items():
        assert {(row["class"], row["size"]): int(row[column]) for row in histogram} == dict(counter)
    assert all(3 <= int(row["instances"]) <= 5 for row in histogram)
    assert {row["instances_from"] for row in histogram} == {"instance_map"}
    for size in ("small", "medium", "large"):
        total = sum(int(row["instances"]) for row in histogram if row["size"] == size)
        assert sum(int(row[size]) for row in chosen) == total
    assert all(int(row["instances"]) == sum(int(row[s]) for s in ("small", "medium", "large")) for row in chosen)


def test_twice_the_same_bytes_and_another_seed_another_set(tmp_path: Path) -> None:
    write_dataset(tmp_path / "dataset.zip")
    files = [tmp_path / "balanced.csv", tmp_path / "balance.csv"]
    first = run_room(tmp_path)[0]
    content = [path.read_bytes() for path in files]
    run_room(tmp_path)
    assert [path.read_bytes() for path in files] == content
    assert run_room(tmp_path, seed=1)[0] != first


def test_without_instance_maps_components_count_and_the_table_says_so(tmp_path: Path) -> None:
    write_dataset(tmp_path / "dataset.zip", instances=False)
    _, histogram = run_room(tmp_path)
    assert {row["instances_from"] for row in histogram} == {"components"}
    assert sum(int(row["pool"]) for row in histogram) > 0


def test_without_a_background_label_0_is_balanced_too(tmp_path: Path) -> None:
    dataset = write_dataset(tmp_path / "dataset.zip", background=False, instances=False)
    _, histogram = run_room(tmp_path)
    assert [row["class"] for row in histogram[::3]] == ["nothing", "cat", "dog"]
    assert pool_counts(dataset, dataset.ids("val"))[:, 0, 2].sum() == int(histogram[2]["pool"]) > 0


def test_without_masks_the_set_is_empty(tmp_path: Path) -> None:
    write_dataset(tmp_path / "dataset.zip", masks=False, instances=False)
    assert run_room(tmp_path) == ([], [])


def test_a_pool_without_instances_is_refused(tmp_path: Path) -> None:
    info = DatasetInfo("empty", ("nothing", "cat"), True, ((0, 0, 0),) * 256, (5, 20), "file", True, False)
    with write_zip(tmp_path / "dataset.zip") as archive:
        write_header(archive, info, [ImageRecord("a", ("val",), "raw:a.png", 4, 4, "")], {"a": [1]})
        archive.png("masks/a.png", np.zeros((4, 4), np.uint8))
    with pytest.raises(Fault, match="data set empty has an instance"):
        run_room(tmp_path)


def test_a_number_of_images_is_kept_and_the_cells_are_level(tmp_path: Path, capsys) -> None:
    dataset = write_dataset(tmp_path / "dataset.zip")
    chosen, histogram = run_room(tmp_path, images=20)
    assert len(chosen) == 20
    cells = [int(row["instances"]) for row in histogram]
    assert max(cells) <= min(cells) + 3
    [flat, best] = re.findall(r"effective cells ([0-9.]+) of 6; .* more than ([0-9.]+) ", capsys.readouterr().out)[0]
    assert float(flat) == round(effective_cells(np.array(cells)), 2)
    assert float(flat) <= float(best) <= 6
    with pytest.raises(Fault, match="46 images cannot be chosen: 45 images"):
        run_room(tmp_path, images=len(dataset.ids("val")) + 1)


@pytest.mark.parametrize("background", [True, False])
def test_how_flat_a_choice_is_counts_every_class_that_is_balanced(tmp_path: Path, capsys, background: bool) -> None:
    write_dataset(tmp_path / "dataset.zip", background=background, instances=False)
    run_room(tmp_path, images=10)
    assert f" of {6 if background else 9}; the pool has " in capsys.readouterr().out
    run_room(tmp_path)
    assert capsys.readouterr().out == ""


def test_a_data_set_of_coco_is_balanced_by_its_drawn_instances(tmp_path, monkeypatch):
    monkeypatch.setenv("SIZEWISE_JOBS", "1")
    trees = coco_files.content()
    trees["val"]["annotations"].append(coco_files.annotation(23, 4, 7, coco_files.rectangle(12, 12, 18, 18)))
    source, data = coco_files.write(tmp_path / "coco", trees), Params(coco_files.SECTION | {"ids": "all"})
    write_index(tmp_path / "raw.zip", "coco", source, data)
    prepare(tmp_path / "raw.zip", tmp_path / "dataset.zip", "coco", data, tmp_path / "parts")
    chosen, histogram = run_room(tmp_path, images=1)
    [row] = chosen
    assert (row["id"], row["instances"]) == ("COCO_val2014_000000000042", "2")  # the covered table has no pixel
    assert {row["instances_from"] for row in histogram} == {"instance_map"}
    assert sum(int(row["instances"]) for row in histogram if row["class"] == "cup") == 2
