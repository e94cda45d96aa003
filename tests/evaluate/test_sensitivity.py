"""The sensitivity study: its curves against values worked out by hand, and its files."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from stages.evaluate import sensitivity
from stages.evaluate.sensitivity import Row, growth_image, growth_rows, main, removal_images, removal_rows

LARGE, SMALL = 128**2, 16**2  # pixels


@pytest.fixture(scope="module")
def growth() -> list[Row]:
    return list(growth_rows())


@pytest.fixture(scope="module")
def removal() -> list[Row]:
    return list(removal_rows())


def case(rows: list[Row], name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Share, mIoU and IA-mIoU of a case."""
    chosen = [row for row in rows if row["case"] == name]
    return tuple(np.array([row[column] for row in chosen]) for column in ("share", "miou_fg", "ia_miou_fg"))


def test_one_instance_is_large_and_one_is_small() -> None:
    mask, instance_map = growth_image()
    assert [(instance_map == identity).sum() for identity in (1, 2)] == [LARGE, SMALL]
    assert SMALL < 32**2 and LARGE >= 96**2
    np.testing.assert_array_equal(mask, instance_map > 0)


@pytest.mark.parametrize("growing", ["large", "small"])
@pytest.mark.parametrize(("state", "start"), [("missed", 0), ("complete", 1)])
def test_ia_miou_is_linear_in_the_covered_share_for_both_sizes(
    growth: list[Row], growing: str, state: str, start: int
) -> None:
    """The mean of the share and of the other instance's IoU, 0 or 1."""
    other = {"large": "small", "small": "large"}[growing]
    share, _, ia_miou = case(growth, f"{growing} grows, {other} {state}")
    np.testing.assert_allclose(share, np.arange(17) / 16)
    np.testing.assert_allclose(ia_miou, (share + start) / 2, atol=1e-12)


@pytest.mark.parametrize(("state", "start"), [("missed", 0), ("complete", 1)])
def test_miou_is_the_share_of_pixels(growth: list[Row], state: str, start: int) -> None:
    """No pixel is predicted wrongly, so the IoU is the found share of both instances' pixels."""
    share, miou, _ = case(growth, f"large grows, small {state}")
    np.testing.assert_allclose(miou, (share * LARGE + start * SMALL) / (LARGE + SMALL), atol=1e-12)
    share, miou, _ = case(growth, f"small grows, large {state}")
    np.testing.assert_allclose(miou, (share * SMALL + start * LARGE) / (LARGE + SMALL), atol=1e-12)


def test_miou_barely_sees_the_small_instance(growth: list[Row]) -> None:
    """256 of 256 + 16384 pixels are one of 65."""
    for state in ("missed", "complete"):
        _, miou, _ = case(growth, f"small grows, large {state}")
        assert miou.max() - miou.min() == pytest.approx(1 / 65)


def test_removal_starts_at_one_falls_and_ends_at_zero(removal: list[Row]) -> None:
    for metric in ("miou_fg", "ia_miou_fg"):
        values = [row[metric] for row in removal]
        assert (values[0], values[-1]) == (1, 0)
        assert all(after < before for before, after in pairwise(values))


def test_ia_miou_is_the_share_of_instances_that_are_left(removal: list[Row]) -> None:
    """What is left is found in full and the rest not at all, in every class alike; at half it is one half."""
    assert [row["share"] for row in removal] == pytest.approx([step / 20 for step in range(21)])
    assert [row["ia_miou_fg"] for row in removal] == pytest.approx([1 - step / 20 for step in range(21)])


def test_miou_stays_above_while_the_small_ones_go(removal: list[Row]) -> None:
    """The larger half of the instances of a class holds more than half of its pixels."""
    assert all(row["ia_miou_fg"] < row["miou_fg"] for row in removal[1:-1])


def test_miou_of_the_removal_is_the_share_of_each_class_pixels_that_are_left(removal: list[Row]) -> None:
    areas: dict[int, list[int]] = {label: [] for label in range(1, 5)}
    for mask, instance_map in removal_images():
        for identity in range(1, 7):
            inside = instance_map == identity
            areas[int(mask[inside][0])].append(inside.sum())
    assert [len(found) for found in areas.values()] == [60] * 4
    for step in range(21):
        left = [sum(sorted(found)[3 * step :]) / sum(found) for found in areas.values()]
        assert removal[step]["miou_fg"] == pytest.approx(np.mean(left))


def test_the_discs_are_of_all_sizes_and_do_not_touch() -> None:
    sizes = []
    for _, instance_map in removal_images():
        ids, areas = np.unique(instance_map, return_counts=True)
        assert ids.tolist() == list(range(7))
        sizes += areas[1:].tolist()
        for one, other in (
            ((slice(1, None),), (slice(-1),)),
            ((slice(None), slice(1, None)), (slice(None), slice(-1))),
        ):
            here, there = instance_map[one], instance_map[other]
            assert ((here == there) | (here == 0) | (there == 0)).all()
    small, large = sum(size < 32**2 for size in sizes), sum(size >= 96**2 for size in sizes)
    assert small > 40
    assert large > 20
    assert len(sizes) - small - large > 40


def test_the_command_writes_the_same_bytes_twice(tmp_path: Path) -> None:
    for name in ("one", "two"):
        main(["--out", str(tmp_path / name)])
    names = [path.name for path in sorted((tmp_path / "one").iterdir())]
    assert names == ["sensitivity.csv", "sensitivity.png"]
    for name in names:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    with Image.open(tmp_path / "one" / "sensitivity.png") as picture:
        assert picture.width == 1200
        assert picture.info.get("Software") is None
    assert (tmp_path / "one" / "sensitivity.png").stat().st_size < 150_000
    lines = (tmp_path / "one" / "sensitivity.csv").read_text().splitlines()
    assert lines[0] == "study,case,share,miou_fg,ia_miou_fg"
    assert len(lines) == 1 + 4 * 17 + 21


def test_settings_of_matplotlib_do_not_change_the_picture(growth: list[Row], removal: list[Row]) -> None:
    import matplotlib as mpl

    rows = growth + removal
    plain = sensitivity.figure(rows)
    with mpl.rc_context({"font.family": "monospace", "axes.facecolor": "red", "savefig.dpi": 30}):
        assert sensitivity.figure(rows) == plain


def test_the_committed_files_are_what_the_command_writes(tmp_path: Path) -> None:
    folder = Path(__file__).resolve().parents[2] / "docs"
    main(["--out", str(tmp_path)])
    assert (folder / "sensitivity.csv").read_text() == (tmp_path / "sensitivity.csv").read_text()


def test_a_folder_that_cannot_be_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SystemExit) as stopped:
        main(["--out", str(tmp_path / "file" / "docs")])
    assert stopped.value.code == 2
    assert "cannot be written to" in capsys.readouterr().err
