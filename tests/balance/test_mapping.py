"""The table of categories against the rules that it follows, and by synset in real categories of LVIS."""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path

import pytest

from stages.balance.mapping import CLASSES, COCO_CLASSES, TABLE, lvis_rows, table
from stages.core.faults import Fault
from stages.core.files import read_csv

# id in LVIS v1 of each category by class and role; 1050, 1052 and the parts have a rule
CORE = {
    "aeroplane": {3, 436, 596, 931},
    "bicycle": {94, 1120, 1135},
    "bird": {99, 241, 280, 332, 388, 401, 402, 408, 428, 453, 507, 522, 557, 576, 662, 737, 741, 761, 767, 780, 786}
    | {802, 852, 929, 1148},
    "boat": {118, 52, 200, 214, 336, 366, 434, 506, 575, 601, 769, 886, 1199},
    "bottle": {133, 83, 1162, 1188, 1082},
    "bus": {173, 922},
    "car": {207, 178, 300, 593, 648, 692, 862},
    "cat": {225, 612},
    "chair": {232, 19, 358, 464, 558, 878, 889},
    "cow": {80, 162, 186},
    "diningtable": {367, 610, 1050},
    "dog": {378, 857, 163, 355, 853, 944},
    "horse": {569, 463, 830, 384},
    "motorbike": {703, 701, 1113},
    "person": {793},
    "sheep": {943, 107, 624, 871},
    "sofa": {982, 656},
    "train": {1115, 165, 208, 768, 471, 180},
    "tvmonitor": {1077, 698},
}
VOID = {868, 903, 202, 191, 800, 337, 8, 702, 420, 837, 1139, 461, 1185, 301, 233, 480}
OUT = {555, 113, 397, 611, 1128, 102, 1168, 513, 204, 134, 1123, 1114, 1107, 483, 441, 505, 1111, 209, 649, 1088, 316}
OUT |= {1018, 710, 1013, 468, 90, 795, 1179, 738, 81, 285, 361, 831, 1049, 1052, 1193, 1202, 380, 1008, 977, 920, 501}
OUT |= {631, 847}


def test_the_categories_of_each_class_and_role():
    found: dict[str, set[int]] = {}
    for row in table().values():
        if row.role == "CORE":
            found.setdefault(CLASSES[row.label], set()).add(row.lvis_id)
    assert found == CORE
    assert {row.lvis_id for row in table().values() if row.role == "VOID"} == VOID
    assert {row.lvis_id for row in table().values() if row.role == "OUT"} == OUT


def test_no_synset_no_id_and_no_name_stands_twice():
    lines = read_csv(TABLE)
    for column in ("synset", "lvis_id", "lvis_name"):
        assert max(Counter(line[column] for line in lines).values()) == 1, column
    assert len(table()) == len(lines)
    assert all(all(line[key] for key in line if key != "rule") for line in lines)


def test_the_synsets_that_a_name_would_confuse():
    rows = table()
    assert rows["person.n.01"].label == CLASSES.index("person")
    assert (rows["beef.n.01"].label, rows["beef.n.01"].role) == (CLASSES.index("cow"), "CORE")
    assert rows["beef.n.02"].role == "OUT"
    assert [rows[f"car.n.0{sense}"].role for sense in (1, 2, 4)] == ["CORE", "CORE", "OUT"]
    assert [CLASSES[rows[f"car.n.0{sense}"].label] for sense in (1, 2)] == ["car", "train"]
    assert rows["convertible.n.01"].role == "CORE"
    assert rows["convertible.n.03"].role == "VOID"


def test_the_conditions():
    rules = {row.lvis_name: row.rule for row in table().values() if row.rule}
    assert rules == {
        "sail": "part",
        "table": "with_coco",
        "tablecloth": "on_table",
        **dict.fromkeys(("flowerpot", "vase", "flower_arrangement", "window_box_(for_plants)"), "without_coco"),
        "railcar_(part_of_a_train)": "part",
        "passenger_car_(part_of_a_train)": "part",
        "freight_car": "part",
        "cabin_car": "part",
    }


def test_each_class_but_potted_plant_has_a_head():
    heads = [CLASSES[row.label] for row in table().values() if row.head]
    assert sorted(heads) == sorted(set(CLASSES) - {"background", "pottedplant"})
    synsets = {row.synset for row in table().values() if row.head}
    assert {"beef.n.01", "sofa.n.01", "television_receiver.n.01", "dining_table.n.01", "train.n.01"} <= synsets


def test_the_classes_are_those_of_voc_in_its_order():
    assert len(CLASSES) == 21
    assert list(CLASSES[1:]) == sorted(CLASSES[1:])
    assert {coco_id for _, coco_id, _ in COCO_CLASSES} == {
        1, 2, 3, 4, 5, 6, 7, 9, 16, 17, 18, 19, 20, 21, 44, 62, 63, 64, 67, 72,
    }  # fmt: skip


def test_ids_are_those_of_the_file_and_a_name_counts_for_nothing():
    rows = lvis_rows([{"id": 7, "name": "baby", "synset": "person.n.01"}, {"id": 8, "name": "car", "synset": "x.n.01"}])
    assert {key: row.lvis_name for key, row in rows.items()} == {7: "person"}
    with pytest.raises(Fault, match="none of the 162 synsets"):
        lvis_rows([{"id": 8, "name": "car", "synset": "x.n.01"}])
    with pytest.raises(Fault, match="'car' has no synset"):
        lvis_rows([{"id": 3, "name": "car"}])


def test_real_categories_of_lvis_by_synset():
    folder = os.environ.get("SIZEWISE_REAL_DATA")
    path = Path(folder or "", "coco_real/lvis/lvis_val_100.json")
    if not folder or not path.is_file():
        pytest.skip(f"no real LVIS annotations at SIZEWISE_REAL_DATA ({path})")
    categories = json.loads(path.read_text())["categories"]
    names = {category["id"]: category["name"] for category in categories}
    found = lvis_rows(categories)
    missing = {row.lvis_name for row in table().values()} - {row.lvis_name for row in found.values()}
    assert missing == {"mallard", "dalmatian"}  # which v0.5 does not have
    renamed = {names[key]: row.lvis_name for key, row in found.items() if names[key] != row.lvis_name}
    assert renamed == {"baby": "person"}
