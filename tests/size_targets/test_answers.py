"""People's answers: their table of errors, and the file that they become."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from stages.core.faults import Fault
from stages.core.files import ZipReader
from stages.core.params import Params
from stages.size_targets.answers import answer_table, main, read_answers
from stages.size_targets.corrupt import noise, scaled
from stages.size_targets.human import human_factors
from stages.size_targets.targets import make_targets
from tests.size_targets.conftest import PARAMS, Maker

TEXT = "Image File,Response,GT\nx.jpg,12,10\ny.jpg,45,50\n"


@pytest.fixture
def answers(tmp_path: Path) -> Path:
    """Two answers."""
    path = tmp_path / "answers.csv"
    path.write_text(TEXT)
    return path


def test_the_table_by_hand(answers: Path) -> None:
    ids, said, true = read_answers(answers)
    assert ids == ["x", "y"]
    rows = {row["group"]: row for row in answer_table(said, true)}
    assert rows["all"]["mean_relative_error"] == pytest.approx(0.15)
    assert rows["all"]["bias"] == pytest.approx(0.05)
    assert rows["all"]["within_10_percent"] == 0.5
    assert rows["10-20 %"]["n"] == rows["40-60 %"]["n"] == 1
    assert rows["10-20 %"]["kl"] == pytest.approx(0.12 * np.log(1.2) + 0.88 * np.log(0.88 / 0.9))


def test_the_command(answers: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    main([str(answers), "--class", "cat", "--out", str(tmp_path / "sizes.csv")])
    assert (tmp_path / "sizes.csv").read_text() == "image,class,percent\nx,cat,12\ny,cat,45\n"
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[:3] == ["group", "n", "mean_relative_error"]
    assert lines[1].split()[:4] == ["all", "2", "0.1500", "0.1500"]
    assert len(lines) == 8


def test_others_have_their_true_sizes(answers: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    targets, out = tmp_path / "size_targets.csv", tmp_path / "sizes.csv"
    header = "id,class,name,true,target\n"
    targets.write_text(
        f"{header}x,0,background,0.7,0.6\nx,1,cat,0.1,0.2\nx,2,dog,0.2,0.2\nz,0,background,0.5,0.5\nz,1,cat,0.5,0.4\n"
    )
    command = [str(answers), "--class", "cat", "--others", str(targets), "--out", str(out)]
    main(command)
    assert out.read_text() == "image,class,percent\nx,cat,12\ny,cat,45\nx,dog,20\nz,cat,50\n"
    for content, said in {
        f"{header}x,1,cat,1.1,1\n": "line 2: true must be a share of the image, 0 to 1, is '1.1'",
        f"{header}x,1,cat\n": "line 2: true must be a share",
        "id,name\n": "is no size_targets.csv of this pipeline: it has no column true",
    }.items():
        out.unlink(missing_ok=True)
        targets.write_text(content)
        with pytest.raises(SystemExit):
            main(command)
        assert said in capsys.readouterr().err
        assert not out.exists()
    with pytest.raises(SystemExit):
        main([str(answers), "--others", str(targets)])
    assert "--others needs --out" in capsys.readouterr().err


def test_faults(answers: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    answers.write_text(TEXT + "x.jpg,3,2\nz.jpg,,0\nw.jpg,3\n")
    with pytest.raises(Fault) as caught:
        read_answers(answers)
    assert str(caught.value).splitlines()[1:] == [
        "  - line 4: a second answer about x.jpg",
        "  - line 5: Response and GT must be over 0 and up to 100 percent, are , 0",
        "  - line 6: Response and GT must be over 0 and up to 100 percent, are 3, ",
    ]
    with pytest.raises(SystemExit) as ended:
        main([str(answers), "--class", "cat", "--out", str(tmp_path / "sizes.csv")])
    assert ended.value.code == 2
    assert not (tmp_path / "sizes.csv").exists()
    with pytest.raises(SystemExit):
        main([str(answers), "--out", str(tmp_path / "sizes.csv")])
    assert "--out needs --class" in capsys.readouterr().err
    answers.write_text("image,class,percent\n")
    with pytest.raises(Fault, match="has no column Image File, Response, GT; it has image, class, percent"):
        read_answers(answers)
    answers.write_text(TEXT.splitlines()[0])
    with pytest.raises(Fault, match="no line but its header"):
        read_answers(answers)


real = pytest.mark.skipif(
    "SIZEWISE_REAL_DATA" not in os.environ, reason="SIZEWISE_REAL_DATA is not set: no real answers"
)


def real_file() -> Path:
    """The 1000 public answers about cats."""
    return Path(os.environ["SIZEWISE_REAL_DATA"]) / "voc2012_meta" / "human_sizes_cat_1000.csv"


def real_answers() -> tuple[np.ndarray, np.ndarray]:
    """Their sizes and the true ones, percent."""
    return read_answers(real_file())[1:]


@real
def test_the_real_answers_have_the_published_errors() -> None:
    """12.3 %, as their authors print it, and a table by size that was computed independently."""
    rows = answer_table(*real_answers())
    assert [row["n"] for row in rows] == [1000, 63, 86, 164, 329, 229, 129]
    found = [row["mean_relative_error"] for row in rows]
    np.testing.assert_allclose(found, [0.1226, 0.351, 0.207, 0.143, 0.101, 0.080, 0.059], atol=0.0006)
    found = [row["bias"] for row in rows]
    np.testing.assert_allclose(found, [0.040, 0.284, 0.101, 0.051, 0.019, -0.001, -0.005], atol=0.0006)
    found = [row["std_relative_error"] for row in rows[1:]]
    np.testing.assert_allclose(found, [0.444, 0.259, 0.185, 0.152, 0.121, 0.090], atol=0.0006)
    found = [100 * row["mean_absolute_error"] for row in rows[1:]]
    np.testing.assert_allclose(found, [0.87, 1.50, 2.17, 3.05, 3.90, 4.14], atol=0.006)
    assert rows[0]["median_relative_error"] == pytest.approx(0.0737, abs=0.0001)
    assert rows[0]["within_10_percent"] == pytest.approx(0.605, abs=0.002)
    assert rows[0]["kl"] == pytest.approx(0.0058, abs=0.0001)


@real
def test_the_simulator_is_like_the_real_answers() -> None:
    """On the same sizes: the table within two standard deviations of its redraws, and no other distribution.

    The two-sample Kolmogorov-Smirnov test compares the logarithm of answer / truth; the simulator's answers are rounded
    to whole percent, as the person's are.
    """
    said, true = real_answers()
    sizes = np.stack([1 - true / 100, true / 100], axis=1)
    ids = [str(number) for number in range(len(true))]
    redrawn = np.stack([scaled(sizes, human_factors(sizes, noise(ids, 2, seed), 1), True)[:, 1] for seed in range(30)])
    tables = [answer_table(100 * row, true) for row in redrawn]
    for name in ("mean_relative_error", "bias", "kl"):
        values = np.array([[row[name] for row in table] for table in tables])
        people = np.array([row[name] for row in answer_table(said, true)])
        limit = 3 if name == "kl" else 2
        assert (np.abs(values.mean(0) - people) < limit * values.std(0)).all(), name
    rounded = np.maximum(np.round(100 * redrawn), 1)
    found = stats.ks_2samp(np.log(rounded / true).ravel(), np.log(said / true))
    assert found.pvalue > 0.01


@real
def test_the_real_answers_become_targets(make_dataset: Maker, tmp_path: Path) -> None:
    """From the public file to the rows of size_targets.csv; one image is also tagged dog, another is not in it."""
    ids, said, true = read_answers(real_file())
    main([str(real_file()), "--class", "cat", "--out", str(tmp_path / "sizes.csv")])
    pixel = np.zeros((1, 1), np.uint8)
    tags = {image_id: [1] for image_id in ids} | {ids[3]: [1, 2], "other": [2]}
    dataset = make_dataset(dict.fromkeys(tags, pixel), has_masks=False, tags=tags)
    given = PARAMS | {"source": "file", "corruption": "none"}
    rows, _ = make_targets(dataset, ZipReader(tmp_path / "none"), tmp_path / "sizes.csv", Params(given))
    found = {row["id"]: float(row["target"]) for row in rows if row["class"] == 1}
    assert list(found) == ids
    np.testing.assert_allclose([100 * size for size in found.values()], said)
    error = np.abs(100 * np.array(list(found.values())) - true) / true
    assert error.mean() == pytest.approx(0.1226, abs=0.0001)
    dog = {row["class"]: float(row["target"]) for row in rows if row["id"] == ids[3]}
    assert dog == pytest.approx({0: (1 - said[3] / 100) / 2, 1: said[3] / 100, 2: (1 - said[3] / 100) / 2})
    assert {row["class"]: row["target"] for row in rows if row["id"] == "other"} == {0: "0.5", 2: "0.5"}
