"""params.yaml spoilt at random: what `check` accepts, the stages can read; what it refuses, it names."""

from __future__ import annotations

import copy
import random
import re
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from dvc.parsing.context import Context
from dvc.utils.serialize import parse_yaml

from stages.check.validate import check_params
from stages.core.params import interpolate, read_yaml
from tests.faults.campaign import Tally
from tests.faults.children import Ended, in_child
from tests.faults.mutations import Tree, as_text, at, broken_texts, put, spoil
from tests.faults.small_rooms import ROOMS, do, inside, place, readers, small_params
from tests.pipeline.repository import ROOT

VALUES, TEXTS = (230, 30), (360, 40)  # mutations: of the whole campaign, of the sample
HOURS = 4 * 3600  # seconds that a test may take on a busy machine
CHECK, ROOM = 5, 5  # seconds of computing; a room that is still at work then has understood its params
LONGEST = 20_000  # characters of a message
COMPILE = ("classifier", "segmenter")


@pytest.fixture(scope="module")
def done(tmp_path_factory) -> Path:
    """A folder in which all rooms have run."""
    folder = place(tmp_path_factory.mktemp("rooms") / "done", small_params())
    with pytest.MonkeyPatch.context() as patch, inside(folder):
        patch.setenv("SIZEWISE_TRACK", "0")
        patch.setenv("SIZEWISE_JOBS", "1")
        for name in ROOMS:
            do(name)
    return folder


@pytest.fixture(autouse=True)
def quiet(monkeypatch) -> None:
    """One process, and nothing is sent to MLflow."""
    monkeypatch.setenv("SIZEWISE_TRACK", "0")
    monkeypatch.setenv("SIZEWISE_JOBS", "1")


def variant(chance: random.Random) -> Tree:
    """Valid params in which now this, now that part is in use."""
    tree = small_params()
    recipe = tree["recipes"]["tiny"]
    tree["method"] = chance.choice(list(tree["methods"]))
    tree["size_targets"]["corruption"] = chance.choice(
        ("none", "relative_gaussian", "lognormal", "human", "quantised", "biased", "swapped", "missing")
    )
    tree["size_targets"]["source"] = chance.choice(("masks", "pseudo_masks", "boxes"))
    tree["size_targets"]["bins"] = chance.choice(("none", [0.05, 0.2]))
    tree["methods"]["size_target"]["seeds"] = chance.choice(("none", "pseudo_masks"))
    tree["methods"]["size_target"]["size_loss"] = chance.choice(("forward_kl", "squared", "log_barrier"))
    tree["methods"]["pseudo_mask"]["crf"] = chance.choice(("none", "grid_potts", "dense_energy", "rloss"))
    tree["balance"]["images"] = chance.choice(("any", 2))
    recipe["classifier"]["augment"] |= {
        "resize": chance.choice(("keep", [32, 64])),
        "jitter": chance.choice((0.0, 0.3)),
    }
    if chance.random() < 0.3:
        recipe["refine"]["pamr"] = {"kernel": "par", "dilations": [1, 2], "iterations": 2}
        recipe["refine"]["threshold"] = chance.choice(("fixed", "validation", "unsupervised"))
    if chance.random() < 0.2:
        keys = (
            "batch_size",
            "lr",
            "weight_decay",
            "precision",
            "compile",
            "augment",
            "head_lr_factor",
            "biases",
            "epochs",
        )
        same = {
            key: recipe["classifier"][key] for key in (*keys, "momentum", "warmup", "accumulate", "ema", "schedule")
        }
        own = {"kind": "irn", "foreground": 0.3, "background": 0.05, "crf": "none", "stride": 4, "radius": 4}
        recipe["affinity"] = own | same | {"optimizer": "sgd", "batch_norm": "frozen"}
        recipe["refine"]["walk"] = {"radius": 3, "beta": 4, "steps": 8}
    return tree


def check(folder: Path) -> Ended:
    """The verdict on the params.yaml of a folder, from a child process."""

    def work() -> None:
        with inside(folder):
            check_params(Path("params.yaml"))

    return in_child(work, CHECK, gigabytes=2)


def refused(verdict: Ended) -> bool:
    """Whether `check` refused, after judging how it said so."""
    assert verdict.code in (0, 1), f"check ended with {verdict.code}: {verdict.text[-1500:]}"
    assert verdict.peak < 500, f"check took {verdict.peak:.0f} MB"
    if verdict.code == 0:
        return False
    assert verdict.text.startswith("params.yaml"), verdict.text[:300]
    assert len(verdict.text) < LONGEST, f"a message of {len(verdict.text)} characters"
    return True


def dvc_agrees(path: Path) -> None:
    """DVC reads the same values, of the same types, and fills the same paths with them."""
    text, ours = path.read_text(encoding="utf-8"), read_yaml(path)
    theirs = parse_yaml(text, str(path))
    assert repr(theirs) == repr(ours), "DVC reads other values"
    context = Context(theirs)
    for spoken in ("data/${dataset}/raw.zip", "${source}", "${pseudo_masks}", "${size_file}", "methods.${method}"):
        assert context.resolve(spoken) == interpolate(spoken, ours), spoken


def rooms_read(folder: Path, before: Tree) -> None:
    """The rooms that are handed other params than before do their work, or say what is wrong."""
    tree = read_yaml(folder / "params.yaml")
    if any(at(tree, ("recipes", tree["dataset"], part))["compile"] for part in COMPILE):
        return  # minutes of a compiler, and not a matter of values
    if tree["dataset"] != "tiny":
        return
    for name in readers(before, tree):
        ended = in_child(lambda name=name: run_room(folder, name), ROOM)
        assert ended.is_clean(), f"{name} ended with {ended.code}: {ended.text[-1500:]}"
        if ended.code:
            return  # the next ones lack its outs


def run_room(folder: Path, name: str) -> None:
    """A room in its folder."""
    with inside(folder):
        do(name)


def trial(folder: Path, text: str, done: Path, before: Tree, names: Callable[[str], bool]) -> str:
    """Writes params.yaml, has it judged, and goes on with what was accepted; gives the message of what was not.

    before: the params before they were spoilt.
    names: whether a message says where the fault is.
    """
    shutil.copytree(done, folder, symlinks=True)
    try:
        (folder / "params.yaml").write_bytes(text.encode("utf-8", "surrogatepass"))
        verdict = check(folder)
        if refused(verdict):
            assert names(verdict.text), f"names neither key nor line: {verdict.text[:600]}"
            return verdict.text
        agreed = in_child(lambda: dvc_agrees(folder / "params.yaml"), CHECK)
        assert agreed.code == 0, f"DVC and we differ: {agreed.text[-1500:]}"
        rooms_read(folder, before)
    finally:
        shutil.rmtree(folder)
    return ""


def named(path: tuple, text: str) -> bool:
    """Whether a message has the path of a mutated value, or says something of a section above it as a whole."""
    keys = [str(key) for key in path if type(key) is not int]  # a place in a list is named by its list
    above = [".".join(keys[:end]) for end in range(1, len(keys))]
    return (
        stands(".".join(keys), r"(?!\w)", text)
        or any(stands(section, r"(?!\.?\w)", text) for section in above)
        or "is not YAML in line" in text
    )


def stands(words: str, end: str, text: str) -> bool:
    """Whether words stand in a text and are no part of a longer path; `end` says what may not follow them."""
    return re.search(rf"(?<![\w.]){re.escape(words)}{end}", text) is not None


@pytest.mark.timeout(HOURS)
def test_a_spoilt_value_is_used_or_named(done, tmp_path, count, whole):
    accepted = mutate_values(count("params.yaml: a value, a key or a section spoilt at random"), done, tmp_path, whole)
    assert accepted > (5 if whole else 0)


def mutate_values(tally: Tally, done: Path, folder: Path, whole: bool) -> int:
    """Tries spoilt values; gives how many were accepted."""
    accepted, tried = 0, set()
    for number in range(VALUES[not whole]):
        before, paths, what, text = spoilt_params(random.Random(number), tried)
        with tally.trial(f"{number}: {what}"):
            message = trial(folder / str(number), text, done, before, partial(any_named, paths))
            accepted += not message
    return accepted


def spoilt_params(chance: random.Random, tried: set[str]) -> tuple[Tree, list[tuple], str, str]:
    """Params, the paths by which a fault may be named, what was done, and the text, which was not tried before."""
    while True:
        tree = variant(chance)
        before = copy.deepcopy(tree)
        path, what = spoil(tree, chance)
        try:
            text = as_text(tree)
        except Exception:  # what cannot be written as YAML, a person cannot write either
            put(tree, path, "\u2603")
            text = as_text(tree)
        if text not in tried | {as_text(before)}:
            tried.add(text)
            return before, [path, *meant(path, what)], what, text


def meant(path: tuple, what: str) -> list[tuple]:
    """The path that was meant by a mistyped one: it is missing now."""
    return [(*path[:-1], path[-1][:-1])] if what.startswith("typo") else []


def any_named(paths: list[tuple], message: str) -> bool:
    """Whether a message names one of the paths."""
    return any(named(path, message) for path in paths)


@pytest.mark.timeout(HOURS)
def test_broken_text_is_named_by_its_line_and_executes_nothing(done, tmp_path, count, whole):
    tally, marker = count("params.yaml: text broken at random"), tmp_path / "marker"
    chance = random.Random(1)
    texts = as_text(small_params()), (ROOT / "params.yaml").read_text(encoding="utf-8")
    tried = set(texts)
    small, shipped = (broken_texts(text, str(marker), chance) for text in texts)
    for number in range(TEXTS[not whole]):
        what, text = next(pair for pair in (small, shipped)[number % 2] if pair[1] not in tried)
        tried.add(text)
        with tally.trial(f"{number}: {what}"):
            trial(tmp_path / str(number), text, done, small_params(), says_where)
            assert not marker.exists(), "it was executed"


def says_where(message: str) -> bool:
    """Whether a message about broken text has a line or a key, or is about the whole."""
    return bool(re.search(r"in line \d+|(: |- )[\w.\[\]-]+: |unknown key", message)) or message.endswith(
        ("holds no mapping", "each use of an alias (*) counted", "is nested deeper than any params")
    )
