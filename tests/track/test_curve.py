"""The curve: which rows belong to which setting, what is queued, and the picture and its numbers."""

import io
import shlex
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
from PIL import Image
from scipy import stats

from stages.core.faults import Fault
from stages.core.files import read_csv
from stages.core.params import read_yaml
from stages.track import curve, ledger
from stages.track.curve_figure import LEVELS, LINES, POINTS, TICKS, apart, figure
from stages.track.curve_points import CURVES, Point, essential, rows_of
from stages.track.frontier_figure import FRONTIER, frontier
from stages.track.intervals import half_interval

PARAMS = {"size_targets": {"corruption": "relative_gaussian", "sigma": 0.0, "bins": "none"}, "seed": 0}
NOISE = Point(
    "size_targets", "16 %", "size_target", ("size_targets.corruption=relative_gaussian", "size_targets.sigma=0.2")
)
BOXES = next(point for point in CURVES["shapes"] if point.series == "boxes")
EXACT = Point("size_targets", "0 %", "size_target")


def unchanged(commit):
    """params.yaml of any commit, as it is today."""
    return PARAMS


def row(params="", seed=0, **cells):
    base = {"experiment": "e", "dataset": "shapes", "method": "size_target", "seed": str(seed), "params": params}
    return dict.fromkeys(ledger.COLUMNS, "") | base | {"size_error": "0.16", "miou": "0.7"} | cells


@pytest.mark.parametrize(
    "params",
    [
        "size_targets.sigma=0.2",
        "size_targets.sigma=0.20",
        "size_targets.sigma=2e-1",
        "size_targets.corruption=relative_gaussian size_targets.sigma=0.2",
        "size_targets.sigma=0.2 size_targets.corruption=relative_gaussian",
        "source=.../my data size_targets.sigma=.2",
    ],
)
def test_a_row_of_the_same_changes_belongs_to_the_setting(params):
    assert list(rows_of(NOISE, "shapes", [row(params, 3)], PARAMS, unchanged)) == [3]
    assert rows_of(EXACT, "shapes", [row(params)], PARAMS, unchanged) == {}


@pytest.mark.parametrize(
    "other",
    [
        row("size_targets.sigma=0.21"),
        row(""),
        row("size_targets.sigma=0.2 recipes.shapes.predict.crf=none"),
        row("size_targets.sigma=0.2 size_targets.corruption=lognormal"),
        row("size_targets.sigma=0.2", dataset="shapes_long"),
        row("size_targets.sigma=0.2", method="full"),
    ],
)
def test_any_other_row_does_not(other):
    assert rows_of(NOISE, "shapes", [other], PARAMS, unchanged) == {}


def test_a_list_and_a_default_that_is_said_again():
    bins = Point("bins", "three", "size_target", ("size_targets.bins=[0.03,0.11]",))
    assert list(rows_of(bins, "shapes", [row("size_targets.bins=[0.030, 0.11]")], PARAMS, unchanged)) == [0]
    assert list(rows_of(EXACT, "shapes", [row("size_targets.sigma=0")], PARAMS, unchanged)) == [0]
    assert essential("+a.b=1 source=/x y") == {"a.b": 1}


def test_a_file_is_known_by_its_name_as_in_the_table():
    people = Point("human", "cats", "size_target", ("size_targets.source=file", "size_file=/data/here/cats.csv"))
    there = row("size_file=.../cats.csv size_targets.source=file")
    assert list(rows_of(people, "shapes", [there], PARAMS, unchanged)) == [0]
    assert rows_of(people, "shapes", [row("size_file=.../dogs.csv size_targets.source=file")], PARAMS, unchanged) == {}


def test_the_newest_row_of_a_seed_counts_and_seeds_are_in_order():
    rows = [row(seed=2, miou="0.1"), row(seed=0, miou="0.2"), row(seed=2, miou="0.3")]
    assert {seed: found["miou"] for seed, found in rows_of(EXACT, "shapes", rows, PARAMS, unchanged).items()} == {
        0: "0.2",
        2: "0.3",
    }


def test_a_row_is_judged_by_the_params_of_its_commit(capsys):
    """What was the default then counts, what was no key then has today's default, and a commit may be unknown."""

    def then(commit):
        return {"old": {"size_targets": {"sigma": 0.2}}, "older": {"size_targets": {"gone": 1}}}.get(commit)

    assert rows_of(EXACT, "shapes", [row(commit="old")], PARAMS, then) == {}
    assert list(rows_of(NOISE, "shapes", [row(commit="old")], PARAMS, then)) == [0]
    assert list(rows_of(EXACT, "shapes", [row("size_targets.sigma=0", commit="old")], PARAMS, then)) == [0]
    for commit in ("older", "unknown"):
        assert list(rows_of(EXACT, "shapes", [row(commit=commit)], PARAMS, then)) == [0]
    assert curve.params_at("HEAD+") == curve.params_at("HEAD") is not None
    assert curve.params_at("0" * 40) is None
    assert curve.params_at("0" * 40) is None
    assert capsys.readouterr().out.count("is not in this clone") == 1


@pytest.mark.parametrize("dataset", CURVES)
def test_no_two_settings_are_the_same_experiment(dataset):
    names = [curve.experiment_name(point, dataset, seed) for point in CURVES[dataset] for seed in point.seeds]
    assert len(set(names)) == len(names)
    labels = [(point.series, point.name) for point in CURVES[dataset]]
    assert len(set(labels)) == len(labels)


def test_the_committed_results_are_found():
    """Of the committed table: exact and 16 % sizes, masks, pseudo masks and tags."""
    root = Path(__file__).parents[2]
    rows, params = ledger.read(root / "metrics" / ledger.FILE), read_yaml(root / "params.yaml")
    found = {(p.series, p.name): rows_of(p, "shapes", rows, params, curve.params_at) for p in CURVES["shapes"]}
    for setting in (("size_targets", "0 %"), ("full", "exact"), ("pseudo_mask", "from tags"), ("tags", "alone")):
        assert 0 in found[setting]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A project's folder with params.yaml and an empty table, and a DVC that only notes what it is told."""
    for name in ("DVC_ROOT", "DVC_EXP_NAME", "DVC_EXP_BASELINE_REV"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    Path("params.yaml").write_text("size_targets: {corruption: relative_gaussian, sigma: 0.0}\n")
    calls, status = [], []

    def dvc(*arguments, read=False):
        if arguments == ("queue", "status"):
            return "Task     Name    Created    Status\n" + "".join(status)
        calls.append(arguments)
        return ""

    monkeypatch.setattr(curve, "dvc", dvc)
    return calls, status


def settings(call):
    """What follows each -S."""
    return [value for option, value in zip(call, call[1:], strict=False) if option == "-S"]


def test_everything_that_is_missing_is_queued(folder, capsys):
    calls, _ = folder
    curve.main(["queue", "--dataset", "shapes"])
    assert len(calls) == sum(len(point.seeds) for point in CURVES["shapes"])
    assert all(call[:4] == ("exp", "run", "--queue", "-n") for call in calls)
    assert [
        "dataset=shapes",
        "method=full",
        "seed=0",
        "methods.full.match_sizes=true",
        "size_targets.corruption=relative_gaussian",
        "size_targets.sigma=0.2",
    ] in [settings(call) for call in calls]
    assert ["dataset=shapes", "method=size_target", "seed=2"] in [settings(call) for call in calls]
    printed = capsys.readouterr().out.splitlines()
    assert [tuple(shlex.split(text)[1:]) for text in printed[:-1]] == calls
    assert "`dvc queue start` runs them" in printed[-1]


def test_what_has_finished_or_waits_is_not_queued_again(folder, capsys):
    calls, status = folder
    rows = [row(), row(seed=1), row("size_targets.sigma=0.20", 1)]
    ledger.gather(curve.EXPERIMENTS, [cells | {"experiment": str(n)} for n, cells in enumerate(rows)])
    status += [
        "a1b2c3d  curve-shapes-tags-seed0  04:10 PM  Queued\n",
        "a1b2c3e  curve-shapes-full-seed0  04:10 PM  Running\n",
        "a1b2c3f  curve-shapes-pseudo_mask-seed0  04:10 PM  Failed\n",
        "a1b2c3f  04:10 PM  Queued\n",
    ]
    curve.main(["queue"])
    names = {call[4] for call in calls}
    everything = sum(len(point.seeds) for point in CURVES["shapes"])
    assert len(names) == len(calls) == everything - 3 - 2
    assert "curve-shapes-pseudo_mask-seed0" in names
    assert "2 were waiting" in capsys.readouterr().out


def test_a_dry_run_queues_nothing_and_a_limit_holds(folder, capsys):
    calls, _ = folder
    curve.main(["queue", "--dry"])
    assert calls == []
    assert "-S size_targets.corruption=human" in capsys.readouterr().out
    curve.main(["queue", "--at-most", "3"])
    assert [settings(call)[2] for call in calls] == ["seed=0", "seed=1", "seed=2"]


def test_further_changes_are_part_of_every_experiment(folder):
    calls, _ = folder
    curve.main(["queue", "-S", "source=/data/x", "-S", "recipes.shapes.segmenter.epochs=3", "--at-most", "1"])
    assert settings(calls[0])[-2:] == ["source=/data/x", "recipes.shapes.segmenter.epochs=3"]
    assert calls[0][4] == "curve-shapes-size_target-epochs-3-seed0"


def test_classes_of_a_data_set_were_all_before_there_was_a_choice():
    def of(*classes):
        return PARAMS | {"datasets": {"shapes": {"classes": list(classes) or "all"}}}

    def then(commit):
        return {"chosen": of("disk"), "before": PARAMS | {"datasets": {"shapes": {"seed": 0}}}}[commit]

    for params, expected in ((of(), ["before"]), (of("disk"), ["chosen"]), (PARAMS, ["before", "chosen"])):
        found = [
            commit for commit in ("before", "chosen") if rows_of(EXACT, "shapes", [row(commit=commit)], params, then)
        ]
        assert found == expected


@pytest.mark.parametrize(
    ("method", "changes", "same"),
    [
        ("full", (), True),
        ("size_target", (), True),
        ("size_target", ("methods.size_target.seeds=pseudo_masks",), False),
        ("size_target", ("size_targets.source=pseudo_masks",), False),
        ("pseudo_mask", (), False),
    ],
)
def test_how_pseudo_masks_are_made_counts_where_they_are_read(method, changes, same):
    def of(scale, lr):
        return PARAMS | {"recipes": {"shapes": {"cam": {"scales": [scale]}, "classifier": {"lr": lr}}}}

    point = Point("", "", method, changes)
    one = row(" ".join(changes)) | {"method": method}
    assert bool(rows_of(point, "shapes", [one], of(1, 0.1), lambda _: of(2, 0.1))) == same
    assert rows_of(point, "shapes", [one], of(1, 0.1), lambda _: of(1, 0.1))
    assert not rows_of(point, "shapes", [one], of(1, 0.1), lambda _: of(1, 0.2))


def test_a_point_without_a_file_of_sizes_has_the_rows_of_any_but_of_boxes():
    sizes, boxes = (
        Point(source, "", "size_target", (f"size_targets.source={source}",)) for source in ("file", "boxes")
    )
    own = Point("file", "", "size_target", (*sizes.changes, "size_file=/there/cats.csv"))
    said, other = "size_file=.../cats.csv", "size_file=.../dogs.csv"
    for text in (said, other):
        assert rows_of(sizes, "shapes", [row(f"size_targets.source=file {text}")], PARAMS, unchanged)
        assert not rows_of(boxes, "shapes", [row(f"size_targets.source=boxes {text}")], PARAMS, unchanged)
        found = rows_of(own, "shapes", [row(f"size_targets.source=file {text}")], PARAMS, unchanged)
        assert bool(found) == (text == said)
    assert rows_of(boxes, "shapes", [row("size_targets.source=boxes")], PARAMS, unchanged)


def test_a_file_of_sizes_is_for_the_settings_that_read_one(folder, capsys):
    calls, _ = folder
    curve.main(["queue", "--dataset", "voc_animals_small"])
    alone = len(calls)
    assert "left out: people, answers about cats, which needs -S size_file=/abs/sizes.csv" in capsys.readouterr().out
    curve.main(["queue", "--dataset", "voc_animals_small", "-S", "size_file=/abs/cats.csv", "-S", "source=/abs/VOC"])
    calls = calls[alone:]
    assert len(calls) == alone + 1
    for call in calls:
        assert ("size_file=/abs/cats.csv" in settings(call)) == ("size_targets.source=file" in settings(call))
        assert "source=/abs/VOC" in settings(call)
    assert curve.points("shapes", ["size_file=/b.csv"]).count(BOXES) == 0
    of_all = curve.points("shapes", ["size_file=/b.csv", "size_targets.source=file"])
    assert all("size_file=/b.csv" in point.changes for point in of_all)


def test_all_runs_the_queue_and_draws(folder):
    calls, _ = folder
    ledger.gather(curve.EXPERIMENTS, [row()])
    curve.main(["all"])
    assert calls[-1] == ("exp", "run", "--run-all")
    assert Path("docs/curve_shapes.png").exists()


def test_the_picture_and_its_numbers(folder, capsys):
    rows = [
        row("", 0, size_error="0", miou="0.72", ia_miou="0.51"),
        row("size_targets.sigma=0.2", 0, experiment="f", ia_miou="0.5", dice="0.8"),
        row("methods.full.match_sizes=true size_targets.sigma=0.2", method="full", experiment="g", ia_miou="0.5"),
        row("", method="tags", experiment="h", miou="0.4", ia_miou="0.4"),
        row("", dataset="tiny", experiment="i"),
    ]
    ledger.gather(curve.EXPERIMENTS, rows)
    curve.main(["draw", "--dataset", "shapes"])
    written = read_csv(Path("metrics/curve_shapes.csv"))
    assert tuple(written[0]) == curve.COLUMNS
    assert [(r["series"], r["setting"], r["seed"], r["size_error"], r["miou"], r["dice"]) for r in written] == [
        ("size_targets", "0 %", "0", "0", "0.72", ""),
        ("size_targets", "16 %", "0", "0.16", "0.7", "0.8"),
        ("masks", "16 %", "0", "0.16", "0.7", ""),
        ("tags", "alone", "0", "0.16", "0.4", ""),
    ]
    with Image.open("docs/curve_shapes.png") as picture:
        assert picture.width == 1200
        assert np.asarray(picture.convert("L")).std() > 5
    assert "not there yet: size_targets, 64 %, seed 2" in capsys.readouterr().out


def test_nothing_to_draw_and_no_such_curve_are_faults(folder):
    with pytest.raises(Fault, match="no experiment of the curve of shapes has finished"):
        curve.main(["draw"])
    with pytest.raises(Fault, match="no curve of data set 'voc'; there are: shapes"):
        curve.main(["queue", "--dataset", "voc"])


def results():
    """Rows of a whole curve with invented numbers."""
    rng, rows = np.random.default_rng(0), []
    errors = {"0 %": 0, "4 %": 0.04, "8 %": 0.081, "16 %": 0.16, "32 %": 0.31, "64 %": 0.6}
    for point in CURVES["shapes"]:
        error = {"steps": 0.3, "bins": 0.5}.get(point.series, errors.get(point.name, 0))
        error = 0.55 if point.name == "10 % steps" else error
        best = {"masks": 0.82, "full": 0.82, "pseudo_mask": 0.58, "tags": 0.39}.get(point.series, 0.72)
        slope = 0.35 if point.series == "masks" else 0.15
        for seed in point.seeds:
            miou = best - slope * error**1.5 + rng.normal(0, 0.006)
            scores = {"miou": miou, "ia_miou": miou - 0.18 + 0.2 * (point.series == "tags"), "dice": miou + 0.08}
            cells = {"series": point.series, "setting": point.name, "seed": seed, "size_error": f"{error}"}
            rows.append(cells | {name: f"{value:.6f}" for name, value in scores.items()})
    return rows


def test_the_same_rows_give_the_same_picture_whatever_the_settings_of_matplotlib():
    plain = figure(results())
    with mpl.rc_context({"font.family": "monospace", "axes.facecolor": "red", "savefig.dpi": 30}):
        assert figure(results()) == plain
    assert len(plain) < 150_000
    without_dice = figure([cells | {"dice": ""} for cells in results()])
    assert Image.open(io.BytesIO(without_dice)).width == 1200
    assert without_dice != plain


def test_every_series_is_drawn():
    series = {point.series for settings in CURVES.values() for point in settings}
    assert series == {*LINES, *POINTS, *LEVELS, *FRONTIER}


def test_a_frontier_is_drawn_where_there_are_few_masks():
    """The same bytes for the same rows; the settings without masks begin the lines that have sizes."""
    rows = [
        {"series": point.series, "setting": point.name, "size_error": "0", "miou": f"{0.5 + number / 100:.2f}"}
        | {"ia_miou": "0.4", "dice": ""}
        for number, point in enumerate(CURVES["acdc_small"])
        if point.series in (*FRONTIER, "full", "alone", "size_targets")
    ]
    picture = frontier(rows)
    assert frontier(rows[::-1]) == picture
    assert Image.open(io.BytesIO(picture)).width == 1200
    for series in FRONTIER:
        assert frontier([row for row in rows if row["series"] != series]) != picture
    assert frontier([row for row in rows if row["series"] not in ("alone", "size_targets")]) != picture


def test_ticks_whose_labels_would_touch_are_left_out():
    assert apart(TICKS, 0.08) == list(TICKS)
    assert apart(TICKS, 0.16) == [0, 0.04, 0.16, 0.32, 0.64, 1.28, 2.56]


def test_the_interval_is_students():
    values = [0.71, 0.74, 0.72]
    low, high = stats.t.interval(0.95, 2, np.mean(values), stats.sem(values))
    assert half_interval(values) == pytest.approx((high - low) / 2)
    assert half_interval(values[:2]) is None
