"""`python -m stages.evaluate.score` on bad files and arguments: exit code 2, everything named, nothing written."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.evaluate.score_files import (
    INSTANCES,
    MASKS,
    PREDICTIONS,
    VOID_ROW,
    Command,
    npy,
    painted,
    png,
    pngs,
)


@pytest.fixture
def command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Command:
    return Command(tmp_path, capsys)


RGB = png(np.zeros((12, 12, 3), np.uint8))
SOURCES = {"masks": pngs(MASKS), "predictions": pngs(PREDICTIONS), "instances": pngs(INSTANCES)}
SPANNING = painted((1, 1, 2, 3, 1), (1, 7, 4, 4, 1), (7, 1, 4, 8, 5), VOID_ROW)  # as it should be
SPANNING[7, 1] = 1

BAD = {  # source, its files, what is said
    "missing prediction": ("predictions", {"b.png": None}, ("no prediction for a mask", "predictions: b")),
    "extra prediction": ("predictions", {"c.png": png(painted())}, ("without a mask", "predictions: c.png")),
    "missing instance map": ("instances", {"a.png": None}, ("no instance map for a mask", "instances: a")),
    "two of a stem": ("predictions", {"a.npy": npy(painted())}, ("two files of one name", "predictions: a")),
    "another size": (
        "predictions",
        {"a.png": png(painted()[:, :11])},
        ("another size", "a is 12 x 11, its mask 12 x 12"),
    ),
    "another size of instances": ("instances", {"a.png": png(painted()[:9])}, ("a is 9 x 12, its mask 12 x 12",)),
    "predicted label": (
        "predictions",
        {"a.png": png(painted((0, 0, 1, 1, 3)))},
        ("beyond the classes", "predictions: a.png: 3; the masks show 0..2; --classes"),
    ),
    "palette that is no classes": (
        "predictions",
        {"a.png": png(painted((0, 0, 1, 1, 37), (1, 1, 1, 1, 40)), palette=True)},
        ("indices, not its colours", "predictions: a.png: 37, 40;"),
    ),
    "label under void": ("predictions", {"a.png": png(painted((11, 3, 1, 1, 9)))}, ("predictions: a.png: 9;",)),
    "truncated": ("predictions", {"a.png": SOURCES["predictions"]["a.png"][:60]}, ("cannot be read", "cut off")),
    "truncated mask": ("masks", {"b.png": SOURCES["masks"]["b.png"][:-14]}, ("cannot be read", "masks: b.png")),
    "RGB": ("masks", {"a.png": RGB}, ("no map of labels", "masks: a.png: an RGB picture")),
    "floats": (
        "masks",
        {"a.png": None, "a.npy": npy(MASKS["a"].astype(float))},
        ("no map of labels", "type float64"),
    ),
    "zero size": (
        "masks",
        {"a.png": None, "a.npy": npy(np.zeros((0, 12), np.uint8))},
        ("without pixels", "a.npy: 0 x 12 pixels"),
    ),
    "label out of range": (
        "masks",
        {"a.png": png(MASKS["a"].astype(np.uint16) * 200)},
        ("no class may have", "a.png: 400, 51000; labels are 0..254"),
    ),
    "id out of range": (
        "instances",
        {"a.png": None, "a.npy": npy(INSTANCES["a"].astype(int) - 1)},
        ("no instance may have", "a.npy: -1;"),
    ),
    "two classes": (
        "instances",
        {"a.png": png(SPANNING)},
        ("on pixels of two classes", "instances: a: instance 1 lies on labels 1, 2"),
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_named_and_nothing_is_written(command: Command, case: str) -> None:
    source, changes, texts = BAD[case]
    files = {name: content for name, content in (SOURCES[source] | changes).items() if content}
    assert command.run(**SOURCES | {source: files}) == 2
    command.refuses(*texts)
    assert command.err.count("  - ") == 1


def test_an_instance_may_lie_on_background_and_void_too(command: Command) -> None:
    ids = INSTANCES["a"].copy()
    ids[10:12, 0:3] = 5
    assert command.run(**SOURCES | {"instances": SOURCES["instances"] | {"a.png": png(ids)}}) == 0


def test_without_a_background_an_instance_on_label_0_and_1_spans_two(command: Command) -> None:
    ids = INSTANCES["b"].copy()
    ids[5, 5] = 4
    files = SOURCES["instances"] | {"b.png": png(ids)}
    assert command.run("--no-background", **SOURCES | {"instances": files}) == 2
    command.refuses("b: instance 4 lies on labels 0, 1")


def test_all_faults_of_all_files_are_told_together(command: Command) -> None:
    masks = {f"{n:02}": painted((0, 0, 1, 1, 1)) for n in range(60)}
    predictions = pngs(masks)
    for n in range(25):
        del predictions[f"{n:02}.png"]
    predictions |= {"30.png": RGB, "31.png": png(painted()[1:]), "32.png": b"", "33.png": png(painted((0, 0, 1, 1, 9)))}
    assert command.run(masks=pngs(masks), predictions=predictions | {"x.png": RGB}) == 2
    command.refuses("(25):", "  and 5 more", "30.png: an RGB", "31 is 11 x 12", "32.png: no PNG", "33.png: 9", "x.png")
    assert command.err.count("  - ") == 20 + 5


def test_faults_of_both_prediction_sets_are_told(command: Command) -> None:
    bad = {"a.png": RGB, "b.png": RGB}
    assert command.run(predictions=bad, compare={"a.png": RGB}) == 2
    command.refuses("predictions: a.png", "predictions: b.png", "compare: a.png", "compare: b")


def test_a_mask_that_cannot_be_read_makes_no_label_of_the_others_wrong(command: Command) -> None:
    assert command.run(masks=SOURCES["masks"] | {"a.png": RGB}) == 2
    command.refuses("masks: a.png")
    assert "beyond" not in command.err


def test_label_255_beside_another_void_is_refused(command: Command) -> None:
    assert command.run("--void", "254") == 2
    command.refuses("masks: a.png: label 255, which is kept for void, is in use beside void 254")


def test_classes_limit_the_labels_of_the_masks_too(command: Command) -> None:
    names = command.path / "names.txt"
    names.write_text("background\ncat\n")
    assert command.run("--classes", str(names)) == 2
    command.refuses("masks: a.png: 2; --classes names 0..1", "predictions: a.png: 2;")


def test_classes_that_no_mask_shows_may_be_predicted(command: Command) -> None:
    names = command.path / "names.txt"
    names.write_text("background\ncat\ndog\ncow\n")
    predictions = SOURCES["predictions"] | {"b.png": png(painted((0, 0, 1, 1, 3)))}
    assert command.run("--classes", str(names), predictions=predictions) == 0
    entry = command.scores()["per_class"][3]
    assert (entry["class"], entry["iou"], entry["instances"]) == ("cow", None, 0)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"", "0 names"),
        (b"a\n\nb\n", "line 2 is empty"),
        (b"a\nb\na\n", "two labels of one name: a"),
        (b"\xff\xfe", "cannot be read"),
        ("".join(f"{n}\n" for n in range(256)).encode(), "256 names"),
    ],
)
def test_names_of_classes_that_are_none(command: Command, content: bytes, text: str) -> None:
    names = command.path / "names.txt"
    names.write_bytes(content)
    assert command.run("--classes", str(names)) == 2
    command.refuses(text)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (("--bins", "10", "10"), "--bins 10 10"),
        (("--bins", "0", "10"), "--bins 0 10"),
        (("--bootstrap", "-1"), "--bootstrap -1"),
        (("--allow-missing", "--no-background"), "needs a background"),
        (("--instance-void", "0"), "needs --instances"),
        (("--mode", "fast"), "fast"),
        (("--void", "x"), "--void"),
        (("--csv", "."), "is a folder"),
        (("--json", "same", "--csv", "same"), "the same file"),
    ],
)
def test_arguments_that_make_no_sense(command: Command, options: tuple[str, ...], text: str) -> None:
    assert command.run(*options) == 2
    command.refuses(text, "usage:")


def test_all_sources_that_are_not_there_are_named(command: Command) -> None:
    arguments = {name: command.path / name for name in ("masks", "predictions", "instances", "compare", "classes")}
    assert command.call(*(f"--{name}={path}" for name, path in arguments.items()), f"--json={command.json}") == 2
    command.refuses(*map(str, arguments.values()))


def test_a_number_of_processes_that_is_none(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIZEWISE_JOBS", "many")
    assert command.run() == 2
    command.refuses("SIZEWISE_JOBS is 'many'")


def test_old_outputs_stay_where_the_input_is_bad_or_one_cannot_be_written(command: Command) -> None:
    assert command.run() == 0
    old = command.json.read_bytes()
    assert command.run(predictions={"a.png": RGB, "b.png": RGB}) == 2
    blocked = command.path / "file"
    blocked.write_text("")
    command.path /= "second"
    assert command.run(f"--csv={blocked}/x.csv", predictions=pngs(MASKS)) == 2
    assert "nothing was written" in command.err
    assert command.json.read_bytes() == old
    assert {path.name for path in command.json.parent.iterdir()} == {"scores.json", "instances.csv"}


def test_a_fault_of_a_set_compared_with_itself_is_told_once(command: Command) -> None:
    assert command.run("--compare", str(command.path / "predictions"), predictions=pngs({"a": MASKS["a"]})) == 2
    assert command.err.count("predictions: b") == 1
