"""`python -m stages.evaluate.score` on files of every good kind."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from stages.core.metrics.summary import SCORES
from tests.evaluate.score_files import (
    INSTANCES,
    MASKS,
    PREDICTIONS,
    SIDE,
    Command,
    V,
    archive,
    folder,
    npy,
    painted,
    png,
    pngs,
)
from tests.structure.closure import ROOT

BINS = ("--bins", "10", "30")
EXPECTED = {
    "miou": (209 / 240 + 20 / 35 + 16 / 32) / 3,
    "miou_fg": (20 / 35 + 16 / 32) / 2,
    "ia_miou": ((74 / 96 + 135 / 144) / 2 + (4 / 6 + 16 / 20 + 0) / 3 + 16 / 32) / 3,
    "ia_miou_fg": ((4 / 6 + 16 / 20 + 0) / 3 + 16 / 32) / 2,
    "ia_s": (4 / 6 + 0) / 2,
    "ia_m": 16 / 20,
    "ia_l": 16 / 32,
    "pixel_accuracy": (209 + 20 + 16) / 276,
    "dice": (2 * 20 / (31 + 24) + 2 * 16 / (32 + 16)) / 2,
    "fw_iou": (213 * 209 / 240 + 31 * 20 / 35 + 32 * 16 / 32) / 276,
    "miou_i": ((74 / 96 + 20 / 26 + 16 / 32) / 3 + (135 / 144 + 0) / 2) / 2,
    "miou_c": ((74 / 96 + 135 / 144) / 2 + (20 / 26 + 0) / 2 + 16 / 32) / 3,
}


@pytest.fixture
def command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Command:
    return Command(tmp_path, capsys)


def test_scores_worked_out_by_hand(command: Command) -> None:
    assert command.run(*BINS, instances=pngs(INSTANCES)) == 0
    found = command.scores()
    assert {name: found[name] for name in EXPECTED} == pytest.approx(EXPECTED, abs=1e-12)
    assert (found["mode"], found["instances_from"], found["images"]) == ("exact", "instance_map", 2)
    assert found["bootstrap"] == {"resamples": 50, "seed": 0, "level": 95}
    assert set(found["ci"]) == set(SCORES)
    for name, (low, high) in found["ci"].items():
        assert 0 <= low <= high <= 1, name
    assert [entry["class"] for entry in found["per_class"]] == ["0", "1", "2"]
    entry = found["per_class"][1]
    assert (entry["iou"], entry["dice"], entry["precision"], entry["recall"], entry["ia_iou"]) == pytest.approx(
        (20 / 35, 40 / 55, 20 / 24, 20 / 31, (4 / 6 + 16 / 20) / 3)
    )
    assert entry["instances"] == 3
    assert entry["small"] == {"iou": pytest.approx(1 / 3), "instances": 2, "missed": 0.5}
    assert entry["medium"] == {"iou": pytest.approx(0.8), "instances": 1, "missed": 0}
    assert entry["large"] == {"iou": None, "instances": 0, "missed": None}


def test_a_row_for_each_instance(command: Command) -> None:
    command.run(*BINS, instances=pngs(INSTANCES))
    assert [list(row.values()) for row in command.rows()] == [
        ["a", "1", "1", "6", "small", "0.666667", "0"],
        ["a", "2", "1", "16", "medium", "0.8", "0"],
        ["a", "5", "2", "32", "large", "0.5", "0"],
        ["b", "4", "1", "9", "small", "0", "1"],
    ]


def test_without_instance_maps_components_are_the_instances_and_it_says_so(command: Command) -> None:
    assert command.run(*BINS) == 0
    found = command.scores()
    assert {name: found[name] for name in EXPECTED} == pytest.approx(EXPECTED, abs=1e-12)
    assert found["instances_from"] == "components"
    assert "connected components" in command.out
    assert [row["instance"] for row in command.rows()] == ["1", "2", "3", "1"]


def test_the_screen_shows_percent_and_its_first_lines_say_what_of(command: Command) -> None:
    command.run(*BINS, "--compare", str(folder(command.path / "other", pngs(MASKS))), instances=pngs(INSTANCES))
    lines = command.out.splitlines()
    assert lines[0] == "IA-mIoU mode exact · 2 images · instances from the instance maps"
    assert "3 classes with background" in lines[1]
    words = {line.split()[0]: line.split() for line in lines if line}
    assert words["ia_m"][1] == "80.0"
    assert max(map(len, lines)) <= 100


def test_a_long_class_name_and_large_counts_keep_the_width(command: Command) -> None:
    names = command.path / "names.txt"
    names.write_text("background\n" + "a very long name of a class indeed\nc\n\n")
    assert command.run("--classes", str(names)) == 0
    assert max(map(len, command.out.splitlines())) <= 100
    assert command.scores()["per_class"][1]["class"] == "a very long name of a class indeed"


FORMS = {
    "zip": (archive, pngs),
    "zip with a folder": (archive, lambda maps: {f"maps/{name}": file for name, file in pngs(maps).items()}),
    "npy": (folder, lambda maps: {f"{stem}.npy": npy(array) for stem, array in maps.items()}),
    "indexed": (folder, lambda maps: {f"{stem}.png": png(array, palette=True) for stem, array in maps.items()}),
    "other files": (folder, lambda maps: pngs(maps) | {"about.json": b"{}", "a.txt": b"x"}),
}


@pytest.mark.parametrize("form", FORMS)
def test_the_form_of_the_files_changes_nothing(command: Command, form: str) -> None:
    command.run(instances=pngs(INSTANCES))
    wanted = command.json.read_bytes(), command.csv.read_bytes(), command.out
    pack, write = FORMS[form]
    command.path /= "second"
    command.path.mkdir()
    maps = {"masks": MASKS, "predictions": PREDICTIONS, "instances": INSTANCES}
    assert command.run(pack=pack, **{name: write(value) for name, value in maps.items()}) == 0
    assert (command.json.read_bytes(), command.csv.read_bytes(), command.out) == wanted


def test_instances_of_8_and_16_bits_give_the_same(command: Command) -> None:
    """Void that only the instance map shows: a pixel of the background of b."""
    instances = INSTANCES | {"b": painted((0, 0, 3, 3, 4), (6, 6, 1, 1, V))}
    command.run(instances=pngs(instances))
    wanted = command.json.read_bytes()
    assert command.scores()["per_class"][0]["ia_iou"] == pytest.approx((74 / 96 + 134 / 143) / 2)
    wide = {stem: np.where(ids == V, np.uint16(65535), ids) for stem, ids in instances.items()}
    assert command.run(instances=pngs(wide)) == 0
    assert command.json.read_bytes() == wanted
    told = {stem: np.where(ids == V, np.uint16(77), ids) for stem, ids in instances.items()}
    assert command.run("--instance-void", "77", instances=pngs(told)) == 0
    assert command.json.read_bytes() == wanted


def test_another_label_for_void(command: Command) -> None:
    command.run()
    wanted = command.json.read_bytes()
    masks = {f"{stem}.npy": npy(np.where(mask == V, -1, mask.astype(int))) for stem, mask in MASKS.items()}
    command.path /= "second"
    assert command.run("--void", "-1", masks=masks) == 0
    assert command.json.read_bytes() == wanted


def test_paper_mode_cuts_shares_to_integers(command: Command) -> None:
    """Two instances of 2 px joined by 1 px: exact shares of 1/2 px each, which the published code cuts to 0."""
    mask = {"a": painted((0, 0, 1, 2, 1), (0, 3, 1, 2, 1))}
    arguments = {"masks": pngs(mask), "predictions": pngs({"a": painted((0, 0, 1, 5, 1))})}
    for mode, expected in (("exact", 2 / 2.5), ("paper", 1.0)):
        assert command.run("--mode", mode, **arguments) == 0
        assert command.scores()["ia_s"] == pytest.approx(expected)
        assert command.scores()["mode"] == mode


def test_without_a_background_label_0_is_a_class(command: Command) -> None:
    command.run("--no-background")
    found = command.scores()
    assert found["miou_fg"] == found["miou"] == pytest.approx(EXPECTED["miou"])
    assert found["per_class"][0]["instances"] == 2


def test_what_is_undefined_is_null(command: Command) -> None:
    void = {"a": painted((0, 0, SIDE, SIDE, V))}
    assert command.run(masks=pngs(void), predictions=pngs({"a": painted()})) == 0
    found = command.scores()
    assert all(found[name] is None and found["ci"][name] is None for name in SCORES)
    assert command.rows() == []
    assert "nan" not in command.out


def test_a_missing_prediction_can_count_as_background(command: Command) -> None:
    command.run()
    wanted = command.json.read_bytes()
    command.path /= "second"
    only_a = pngs({"a": PREDICTIONS["a"]})
    assert command.run("--allow-missing", predictions=only_a) == 0
    assert command.json.read_bytes() == wanted


def test_a_set_compared_with_itself_is_no_better(command: Command) -> None:
    assert command.run(compare=pngs(PREDICTIONS)) == 0
    found = command.scores()
    assert found["compare"]["scores"] == {name: found[name] for name in SCORES}
    for name, change in found["compare"]["difference"].items():
        undefined = found[name] is None
        assert change == ({"value": 0, "low": 0, "high": 0, "p": 1} if not undefined else dict.fromkeys(change))
    assert all(row["iou"] == row["iou_compare"] for row in command.rows())


def test_a_better_set_is_found_better(command: Command) -> None:
    assert command.run(*BINS, compare=pngs({stem: np.where(m == V, 0, m) for stem, m in MASKS.items()})) == 0
    change = command.scores()["compare"]["difference"]["ia_miou"]
    assert change["value"] == pytest.approx(1 - EXPECTED["ia_miou"])
    assert 0 < change["low"] <= change["high"]
    assert change["p"] == 0
    assert "<0.02" in command.out
    assert [row["iou_compare"] for row in command.rows()] == ["1"] * 4


def test_no_bootstrap_no_intervals(command: Command) -> None:
    assert command.run("--bootstrap", "0", compare=pngs(MASKS)) == 0
    found = command.scores()
    assert set(found["ci"].values()) == {None}
    assert found["compare"]["difference"]["miou"]["p"] is None


def test_one_and_two_processes_write_the_same_bytes(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(0)
    masks = {f"{n:02}": generator.choice([0, 1, 2, V], (SIDE, SIDE)).astype(np.uint8) for n in range(30)}
    predictions = {stem: generator.integers(0, 3, mask.shape, np.uint8) for stem, mask in masks.items()}
    written = []
    for jobs in "12":
        monkeypatch.setenv("SIZEWISE_JOBS", jobs)
        assert command.run(masks=pngs(masks), predictions=pngs(predictions)) == 0
        written.append((command.json.read_bytes(), command.csv.read_bytes(), command.out))
    assert written[0] == written[1]


def test_files_of_one_sub_folder_go_with_masks_of_two(command: Command) -> None:
    masks = {"val/a.png": png(MASKS["a"]), "test/b.png": png(MASKS["b"])}
    assert command.run("--allow-missing", masks=masks, predictions={"val/a.png": png(PREDICTIONS["a"])}) == 0
    assert command.scores()["miou"] == pytest.approx(EXPECTED["miou"])


def test_the_images_named_alone_are_scored(command: Command, tmp_path: Path) -> None:
    assert command.run() == 0
    whole = command.scores()
    (tmp_path / "ids.txt").write_text("a\n\n")
    assert command.run(f"--ids={tmp_path / 'ids.txt'}", predictions=pngs(PREDICTIONS | {"z": PREDICTIONS["a"]})) == 0
    assert command.scores()["images"] == 1
    assert {row["id"] for row in command.rows()} == {"a"}
    assert command.scores()["ia_miou"] > whole["ia_miou"]  # b's only instance is missed


@pytest.mark.parametrize(
    ("content", "message"),
    [("a\nc\nd\n", "2 names without a mask, c among them"), ("\n", "names no image"), (None, "cannot be read")],
)
def test_a_list_of_images_that_does_not_fit(
    command: Command, tmp_path: Path, content: str | None, message: str
) -> None:
    if content is not None:
        (tmp_path / "ids.txt").write_text(content)
    assert command.run(f"--ids={tmp_path / 'ids.txt'}") == 2
    command.refuses(message)


def test_it_needs_none_of_the_heavy_packages() -> None:
    code = (
        "import sys, stages.evaluate.score\n"
        "print(*{'torch', 'mlflow', 'dvc', 'pandas', 'matplotlib', 'torchvision'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_it_runs_as_a_command(tmp_path: Path) -> None:
    masks, predictions = folder(tmp_path / "m", pngs(MASKS)), folder(tmp_path / "p", {"a.png": b""})
    start = [sys.executable, "-m", "stages.evaluate.score", "--masks", masks]
    done = subprocess.run([*start, "--predictions", masks], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert "100.0" in done.stdout
    done = subprocess.run([*start, "--predictions", predictions], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "no prediction for a mask" in done.stderr
