"""The README's result tables."""

from pathlib import Path

import pytest

from stages.core.faults import Fault
from stages.track import ledger, table

README = (
    "# Title\n\n<!-- table:tiny -->\nold\n<!-- /table:tiny -->\n\ntext\n<!-- table:voc -->\n<!-- /table:voc -->\nend\n"
)


def row(method, seed, miou, **cells):
    base = {"experiment": f"{method}{seed}", "dataset": "tiny", "method": method, "seed": str(seed), "miou": str(miou)}
    return dict.fromkeys(ledger.COLUMNS, "") | base | cells


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.delenv("DVC_ROOT", raising=False)
    monkeypatch.chdir(tmp_path)
    Path("README.md").write_text(README)
    ledger.gather(table.EXPERIMENTS, [row("full", 0, 0.6), row("full", 1, 0.7), row("tags", 0, 0.2, ia_s="0.125")])


def test_tables_are_filled_and_filling_again_changes_nothing():
    table.main()
    filled = Path("README.md").read_text()
    # Mean 0.65; sample deviation sqrt((0.05^2 + 0.05^2) / 1) = 0.0707.
    assert filled == (
        "# Title\n\n<!-- table:tiny -->\n"
        "| method | `dvc exp run` | seeds | mIoU | 95 % | IA small |\n"
        "| --- | --- | --- | ---: | ---: | ---: |\n"
        "| full | `-S dataset=tiny -S method=full` | 2 | 0.650 ± 0.071 | – | – |\n"
        "| tags | `-S dataset=tiny -S method=tags` | 1 | 0.200 | – | 0.125 |\n"
        "<!-- /table:tiny -->\n\ntext\n<!-- table:voc -->\n"
        "No experiment on voc has finished yet.\n"
        "<!-- /table:voc -->\nend\n"
    )
    table.main()
    assert Path("README.md").read_text() == filled


def test_the_newest_row_of_a_seed_counts():
    rows = [row("full", 0, 0.1, commit="a"), row("full", 0, 0.3, commit="b")]
    assert "| 1 | 0.300 |" in table.table(rows, "tiny")


def test_intervals_and_differences_of_the_same_seeds():
    """0.5, 0.6, 0.7: mean 0.6, deviation 0.1, half the interval 4.3027 * 0.1 / sqrt(3) = 0.2484.

    Differences at the seeds 0, 1, 2, which both have: 0.1, 0.1, 0.4; mean 0.2, deviation 0.1732, half 0.4303.
    """
    rows = [row("full", seed, value) for seed, value in enumerate((0.5, 0.6, 0.7))]
    rows += [row("tags", seed, value) for seed, value in enumerate((0.4, 0.5, 0.3, 0.9))]
    rows += [row("tags", 1, 0.1, params="a=1"), row("full", 4, 0.1, params="b=1")]
    lines = table.table(rows, "tiny", "tags").splitlines()
    assert lines[0].endswith("| mIoU | 95 % | − tags |")
    assert lines[2].endswith("| 3 | 0.600 ± 0.100 | 0.352 to 0.848 | +0.200 (-0.230 to +0.630) |")
    assert lines[3].startswith("| tags | `-S dataset=tiny -S method=tags` | 4 |") and lines[3].endswith(" | – |")
    assert lines[4].endswith("| 1 | 0.100 | – | – |")  # no seed in common
    assert lines[5].endswith("| 1 | 0.100 | – | -0.400 |")


def test_the_baseline_stands_in_the_marker():
    text = table.fill("<!-- table:tiny baseline:tags -->\n<!-- /table:tiny -->\n", [row("tags", 0, 0.5)])
    assert "| − tags |" in text
    assert table.fill(text, [row("tags", 0, 0.5)]) == text
    with pytest.raises(Fault, match="compares tiny with tags, of which no experiment has finished"):
        table.fill(text, [row("full", 0, 0.5)])


def test_where_the_data_lie_makes_no_other_baseline():
    rows = [row("full", 0, 0.5, params="source=.../data"), row("tags", 0, 0.4, params="source=.../data")]
    assert table.table(rows, "tiny", "full").splitlines()[3].endswith("| 0.400 | – | -0.100 |")


def test_time_and_memory_have_one_decimal():
    rows = [row("full", 0, 0.1, train_minutes="2.54", train_memory_gb="1.049")]
    assert table.table(rows, "tiny").splitlines()[0].endswith("| mIoU | 95 % | min | GB |")
    assert table.table(rows, "tiny").splitlines()[2].endswith("| 0.100 | – | 2.5 | 1.0 |")


def test_changed_params_make_a_line_of_their_own_best_first():
    rows = [row("full", 0, 0.1), row("full", 0, 0.3, params="a.b=1 c=[1,2]"), row("full", 0, 0.2, dataset="other")]
    lines = table.table(rows, "tiny").splitlines()[2:]
    assert [line.split("|")[2].strip() for line in lines] == [
        "`-S dataset=tiny -S method=full -S a.b=1 -S c=[1,2]`",
        "`-S dataset=tiny -S method=full`",
    ]


def test_a_section_is_quoted_for_the_shell():
    text = table.command("tiny", "full", "a={b:1,c:[2,3]} d=4")
    assert text == "`-S dataset=tiny -S method=full -S 'a={b:1,c:[2,3]}' -S d=4`"


def test_a_value_with_a_space_is_one_word():
    text = table.command("tiny", "full", "source=.../my data d=4")
    assert text == "`-S dataset=tiny -S method=full -S 'source=.../my data' -S d=4`"


def test_an_experiment_without_the_metric_comes_last():
    rows = [row("tags", 0, ""), row("full", 0, 0.0)]
    assert [line.split("|")[1].strip() for line in table.table(rows, "tiny").splitlines()[2:]] == ["full", "tags"]


@pytest.mark.parametrize(
    ("readme", "message"),
    [
        ("# Title\n", "has no <!-- table:NAME -->"),
        ("<!-- table:tiny -->\n", "without <!-- /table:tiny -->"),
        ("<!-- table:a -->\n<!-- table:b -->\n<!-- /table:b -->\n<!-- /table:a -->\n", "inside another table"),
    ],
)
def test_a_broken_marker_is_a_fault_and_changes_nothing(readme, message):
    Path("README.md").write_text(readme)
    with pytest.raises(Fault, match=message):
        table.main()
    assert Path("README.md").read_text() == readme


def test_a_missing_readme_is_a_fault():
    Path("README.md").unlink()
    with pytest.raises(Fault, match=r"README\.md is missing"):
        table.main()
