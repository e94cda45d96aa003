"""Files of sizes: what they may say, and every fault of one file in one message."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from stages.core.dataset import Dataset
from stages.core.faults import Fault
from stages.size_targets.imported import read_sizes
from tests.size_targets.conftest import Maker

NAN = float("nan")
IDS = ["a", "b", "c"]


@pytest.fixture
def dataset(make_dataset: Maker) -> Dataset:
    """Images a (cat, dog), b (dog), c (nothing); v is in val."""
    return make_dataset(tags={"a": [1, 2], "b": [2], "v": [1]})


def written(folder: Path, text: str, encoding: str = "utf-8") -> Path:
    """A file of sizes."""
    path = folder / "sizes.csv"
    path.write_text(text, encoding=encoding)
    return path


def test_percent_and_fraction(dataset: Dataset, tmp_path: Path) -> None:
    expected = [[NAN, 0.25, NAN], [NAN, NAN, 0.005], [NAN] * 3]
    for text in (
        "image,class,percent\na,cat,25\nb,dog,0.5\n",
        "image,class,fraction\na,cat,0.25\nb,dog,0.005\n",
        "image,class,percent\na.jpg,1,25\nb.PNG,2,.5\n",
        "seconds, Percent ,Class,Image\n9.5, 25 ,cat, a \n\n11,5e-1,dog,b\n",
    ):
        np.testing.assert_allclose(read_sizes(written(tmp_path, text), dataset, IDS), expected, err_msg=text)


def test_files_of_spreadsheets(dataset: Dataset, tmp_path: Path) -> None:
    """A byte order mark, quotes, and line ends of Windows."""
    path = written(tmp_path, '"image","class","percent"\r\n"a","cat","25"\r\n', "utf-8-sig")
    assert read_sizes(path, dataset, IDS)[0, 1] == 0.25


def test_images_that_are_not_trained_on_are_counted(
    dataset: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    path = written(tmp_path, "image,class,percent\na,cat,25\nv,dog,200\n2007_000032,aeroplane,x\n")
    assert np.isfinite(read_sizes(path, dataset, IDS)).sum() == 1
    assert "2 lines of" in capsys.readouterr().err


def test_classes_that_are_left_out_are_ignored_and_no_number_is_a_class(
    make_dataset: Maker, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    """Of a source's classes bird, cat and dog, dog was 3 and is 2 now: whose number is meant cannot be known."""
    dataset = make_dataset(tags={"a": [1, 2], "b": [2], "v": [1]}, left_out=("bird",))
    path = written(tmp_path, "image,class,percent\na,bird,x\na,cat,25\nb,bird,0\nb,dog,0.5\n")
    np.testing.assert_allclose(read_sizes(path, dataset, IDS)[:2], [[NAN, 0.25, NAN], [NAN, NAN, 0.005]])
    assert "2 lines of" in capsys.readouterr().err
    with pytest.raises(Fault, match=r"line 2: no class '2'; there are background, cat, dog"):
        read_sizes(written(tmp_path, "image,class,percent\nb,2,25\n"), dataset, IDS)


def test_sizes_that_fill_an_image_within_rounding(dataset: Dataset, tmp_path: Path) -> None:
    path = written(tmp_path, "image,class,percent\na,cat,33.3\na,dog,66.7\n")
    assert np.nansum(read_sizes(path, dataset, IDS)[0]) <= 1 + 1e-12


def test_what_an_image_does_not_have(dataset: Dataset, tmp_path: Path) -> None:
    """As the annotation tool writes it where every class is asked of every image."""
    path = written(tmp_path, "image,class,percent\na,cat,25\na,dog,5\nb,cat,0\nb,dog,5\nc,dog,0.0\nc,,\n")
    assert np.isfinite(read_sizes(path, dataset, IDS)).sum() == 3
    path = written(tmp_path, "image,class,percent\na,cat,0\nb,,5\nb,bird,0\n")
    with pytest.raises(
        Fault, match=r"(?s)3 faults.*line 3: no class ''.*line 4: no class 'bird'.*line 2: percent must"
    ):
        read_sizes(path, dataset, IDS)


def test_more_than_the_image_is_scaled_down_and_said(
    dataset: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    path = written(tmp_path, "image,class,percent\na,cat,60\na,dog,50\nb,dog,100\n")
    sizes = read_sizes(path, dataset, IDS)
    np.testing.assert_allclose(sizes[0, 1:], [0.999 * 60 / 110, 0.999 * 50 / 110])
    assert sizes[1, 2] == 1
    assert "the sizes of 1 images come to more than the image" in (said := capsys.readouterr().err)
    assert "most those of a with 110 %" in said


def test_a_size_of_0_for_a_class_without_tag_agrees_with_the_tags(dataset: Dataset, tmp_path: Path) -> None:
    """People who are asked about every image say so of those without the class."""
    path = written(tmp_path, "image,class,percent,seconds\na,cat,25,9\nb,cat,0,2\nc,cat,0.0,3\n")
    assert np.argwhere(np.isfinite(read_sizes(path, dataset, IDS))).tolist() == [[0, 1]]
    for line in ("b,dog,0,2", "b,background,0,2", "b,bird,0,2", "b,cat,,2"):
        with pytest.raises(Fault, match="line 2"):
            read_sizes(written(tmp_path, f"image,class,percent,seconds\n{line}\na,cat,25,9\n"), dataset, IDS)


def test_all_faults_at_once(dataset: Dataset, tmp_path: Path) -> None:
    lines = [
        "image,class,percent",
        "a,cat,60",
        "a,dog,50",
        "a,cat,10",
        "b,cat,10",
        "b,dog,-3",
        "b,dog,many",
        "b,dog,nan",
        "b,dog,0",
        "b,dog,101",
        "b,bird,3",
        "b,background,3",
        "b,dog",
    ]
    with pytest.raises(Fault) as caught:
        read_sizes(written(tmp_path, "\n".join(lines)), dataset, IDS)
    message = str(caught.value)
    assert "(10 faults)" in message
    for line in (
        "line 4: the same image and class as in line 2",
        "line 5: image b is not tagged 'cat'",
        "line 6: percent must be a number over 0 and up to 100, is '-3'",
        "line 7: percent must be a number over 0 and up to 100, is 'many'",
        "line 8: percent must be a number over 0 and up to 100, is 'nan'",
        "line 9: percent must be a number over 0 and up to 100, is '0'",
        "line 10: percent must be a number over 0 and up to 100, is '101'",
        "line 11: no class 'bird'; there are background, cat, dog",
        "line 12: 'background' is the background, whose size is what the objects leave; take the line out",
        "line 13: 2 cells, the header has 3",
    ):
        assert f"  - {line}" in message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "",
            "has no column image, class; its first line must name the columns, separated by commas, and names nothing",
        ),
        ("image;class;percent\na;cat;3\n", "has no column image, class"),
        ("Image File,Response,GT\na.jpg,13,11.7\n", "names image file, response, gt"),
        ("image,class,size\na,cat,3\n", "must have one of the columns percent .* and fraction"),
        ("image,class,percent,fraction\na,cat,3,0.03\n", "must have one of the columns percent"),
        ("image,class,percent,percent\na,cat,3,3\n", "two columns have the same name"),
        ("image,class,percent\nx,cat,3\n", "has no line about any of the 3 training images, such as a"),
        ("image,class,percent\n", "has no line about any of the 3 training images"),
    ],
)
def test_files_that_are_none(dataset: Dataset, tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(Fault, match=message):
        read_sizes(written(tmp_path, text), dataset, IDS)


def test_files_that_cannot_be_read(dataset: Dataset, tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"image,class,percent\n\xff\xfe,cat,3\n")
    for path in (tmp_path / "absent", tmp_path, tmp_path / "x"):
        with pytest.raises(Fault, match="cannot be read as UTF-8 text"):
            read_sizes(path, dataset, IDS)


def test_an_id_may_end_like_a_file(make_dataset: Maker, tmp_path: Path) -> None:
    mask = np.ones((2, 4), np.uint8)
    dataset = make_dataset({"x.png": mask, "x": mask}, tags={"x.png": [1], "x": [1]})
    path = written(tmp_path, "image,class,percent\nx.png,cat,30\nx,cat,20\n")
    np.testing.assert_allclose(read_sizes(path, dataset, ["x.png", "x"])[:, 1], [0.3, 0.2])
