"""Questions in order, answers in their files, and a session that goes on where it stopped."""

import io

import numpy as np
import pytest
from filelock import FileLock
from PIL import Image, ImageOps

from stages.core.faults import Fault
from stages.size_targets.annotate.__main__ import find_class_list, main, make_session, parse
from stages.size_targets.annotate.questions import ORIENTATION
from stages.size_targets.annotate.session import Refused
from tests.size_targets.annotate.conftest import CATS, SIZES


def start(folder, *arguments):
    """The session of a command line."""
    texts = ["--images", folder / "images", "--out", folder / "sizes.csv", *arguments]
    return make_session(parse(list(map(str, texts))))


def rows(path):
    return path.read_text().splitlines()[1:]


def pairs(session):
    return [question.pair for question in session.questions]


def test_an_answer_is_saved_and_the_next_session_knows_it(folder):
    session = start(folder, "--classes", "cat,dog")
    assert pairs(session) == [(image, name) for name in ("cat", "dog") for image in "abcd"]
    session.answer(1, "12.346", 0, 3.14159)
    assert rows(folder / "sizes.csv") == ["b,cat,12.35,3.14"]
    again = start(folder, "--classes", "cat,dog").describe()["questions"]
    assert [entry["percent"] for entry in again] == [None, 12.35, *[None] * 6]


def test_a_correction_replaces_the_answer_and_adds_its_seconds(folder):
    session = start(folder, "--classes", "cat")
    session.answer(0, "10", 0, 5)
    session.answer(1, "20", 0, 6)
    session.answer(0, "15", 0, 2.5)
    assert sorted(rows(folder / "sizes.csv")) == ["a,cat,15,7.5", "b,cat,20,6"]


def test_what_a_person_cannot_tell_is_kept_apart_and_not_asked_again(folder):
    session = start(folder, "--classes", "cat")
    assert session.answer(0, None, 0, 4)["skipped"]
    assert rows(folder / "sizes.csv") == []
    assert rows(folder / "sizes_skipped.csv") == ["a,cat,,4"]
    session = start(folder, "--classes", "cat")
    assert session.describe()["questions"][0]["skipped"]
    session.answer(0, "30", 0, 1)
    assert (rows(folder / "sizes.csv"), rows(folder / "sizes_skipped.csv")) == (["a,cat,30,5"], [])
    session.answer(0, None, 0, 1)
    assert (rows(folder / "sizes.csv"), rows(folder / "sizes_skipped.csv")) == ([], ["a,cat,,6"])


def test_only_tagged_pairs_are_asked(folder):
    session = start(folder, "--tags", folder / "tags.csv")
    assert pairs(session) == [*((name, "cat") for name in "abcd"), ("b", "dog"), ("d", "dog")]
    assert pairs(start(folder, "--tags", folder / "tags.csv", "--classes", "dog")) == [("b", "dog"), ("d", "dog")]


@pytest.mark.parametrize("aid", ["grid", "box"])
def test_boxes_become_percent_of_the_image(folder, aid):
    session = start(folder, "--classes", "cat", "--aid", aid, "--unit", "boxes")
    cells = {"grid": (5, 100 / 9), "box": (100 * 8 * 8 / 800, 100 * 16 * 16 / 800)}[aid]  # of a, 40 x 20
    for scale in (0, 1):
        assert session.answer(0, "2.5", scale, 1)["percent"] == round(2.5 * cells[scale], 2)


def test_numbers_that_are_no_sizes_are_refused_and_nothing_is_saved(folder):
    session = start(folder, "--classes", "cat", "--aid", "grid", "--unit", "boxes")
    for value in ("", ".", "-1", "1e1", "nan", "inf", "1_0", "٣", " 1", "1\n", "1,5", "20.1", "9999999", "0.0001"):
        with pytest.raises(Refused):
            session.answer(0, value, 0, 1)
    for number, scale, seconds in ((-1, 0, 1), (4, 0, 1), (0, 2, 1), (0, -1, 1), (0, 0, -1), (0, 0, 1e9)):
        with pytest.raises(Refused):
            session.answer(number, "1", scale, seconds)
    assert rows(folder / "sizes.csv") == []
    assert session.answer(0, "20", 0, 1)["percent"] == 100
    assert session.answer(0, "0", 0, 1)["percent"] == 0


def test_a_tagged_class_cannot_have_size_0(folder):
    session = start(folder, "--tags", folder / "tags.csv")
    with pytest.raises(Refused, match="the tags say"):
        session.answer(0, "0", 0, 1)


def test_training_comes_first_shows_the_truth_after_the_answer_and_stays_out_of_the_sizes(folder):
    options = ("--classes", "cat", "--truth", folder / "masks", "--train", "2")
    session = start(folder, *options)
    entries = session.describe()["questions"]
    assert [entry["training"] for entry in entries] == [True, True, False, False]
    assert {entry["image"] for entry in entries} == set(SIZES)
    assert [entry["truth"] for entry in entries] == [None] * 4
    with pytest.raises(Refused, match="no truth"):
        session.truth(0)
    image = entries[0]["image"]
    reply = session.answer(0, "10", 0, 1)
    assert reply["truth"] == pytest.approx(100 * CATS[image] / SIZES[image][1])
    mask = np.array(Image.open(io.BytesIO(session.truth(0))))
    assert mask.shape == (SIZES[image][1], SIZES[image][0], 4)
    assert mask[: CATS[image], :, 3].min() == 255
    assert mask[CATS[image] :].max() == 0
    with pytest.raises(Refused, match="stays"):
        session.answer(0, "11", 0, 1)
    assert session.answer(0, "10", 0, 1) == reply  # sent twice
    with pytest.raises(Refused, match="no truth"):
        session.truth(2)
    assert rows(folder / "sizes.csv") == []
    assert rows(folder / "sizes_training.csv") == [f"{image},cat,10,1"]
    assert pairs(start(folder, *options)) == pairs(session)
    without = pairs(start(folder, "--classes", "cat"))
    assert (image, "cat") not in without
    assert len(without) == 3


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_photograph_that_exif_turns_is_measured_as_shown_and_its_mask_turned_with_it(folder, orientation):
    (folder / "images/a.png").unlink()
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    photo = Image.fromarray(np.random.default_rng(0).integers(0, 2, (20, 40), np.uint8))
    photo.save(folder / "masks/a.png")
    photo.convert("RGB").save(folder / "images/a.jpg", exif=exif)
    (folder / "tags.csv").write_text("a,cat\n")
    session = start(folder, "--tags", folder / "tags.csv", "--truth", folder / "masks")
    with Image.open(folder / "images/a.jpg") as stored:
        wanted = ImageOps.exif_transpose(stored).size
    entry = session.answer(0, "50", 0, 1)
    assert (entry["width"], entry["height"]) == wanted
    photo.getexif()[ORIENTATION] = orientation
    truth = np.array(Image.open(io.BytesIO(session.truth(0))))[..., 3] > 0
    np.testing.assert_array_equal(truth, np.array(ImageOps.exif_transpose(photo)) > 0)


def test_a_file_of_other_classes_or_other_images_is_refused(folder):
    start(folder, "--classes", "cat").answer(0, "10", 0, 1)
    with pytest.raises(Fault, match="holds answers about cat, which this session does not ask"):
        start(folder, "--classes", "dog")
    assert len(pairs(start(folder, "--classes", "dog,cat"))) == 8
    (folder / "images/a.png").unlink()
    with pytest.raises(Fault, match="1 images that are not in --images, such as a"):
        start(folder, "--classes", "cat")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--classes", "cow"], "unknown class cow; known are background, cat, dog"),
        ([], "name them with --classes"),
        (["--classes", "cat", "--aid", "none", "--unit", "boxes"], "needs boxes to count"),
        (["--classes", "cat", "--train", "3"], "needs --truth"),
        (["--classes", "cat", "--port", "70000"], "not between 0 and 65535"),
        (["--classes", "cat", "--out", "none/sizes.csv"], "is no folder"),
        (["--classes", "cat", "--images", "none"], "there is no such folder"),
    ],
)
def test_a_wrong_command_line_is_one_clear_line_and_exit_code_1(folder, monkeypatch, arguments, message):
    monkeypatch.chdir(folder)
    with pytest.raises(SystemExit) as end:
        main(["--images", "images", *arguments])
    assert str(end.value).startswith("sizewise annotate: ")
    assert message in str(end.value)
    assert "\n" not in str(end.value)


def test_two_programs_do_not_write_one_file(folder, monkeypatch):
    monkeypatch.chdir(folder)
    with (
        FileLock(folder / ".sizes.csv.lock"),
        pytest.raises(SystemExit, match="another program is writing .*sizes.csv"),
    ):
        main(["--images", "images", "--classes", "cat"])
    assert not (folder / "sizes.csv").exists()


def test_the_class_list_lies_beside_what_is_given(folder):
    beside = parse(["--images", str(folder / "images")])
    assert find_class_list(beside) == ("background", "cat", "dog")
    (folder / "classes.txt").rename(folder / "names.txt")
    assert find_class_list(beside) == ()
    named = parse(["--images", str(folder / "images"), "--class-list", str(folder / "names.txt")])
    assert find_class_list(named) == ("background", "cat", "dog")
    with pytest.raises(Fault, match="--truth needs --class-list"):
        find_class_list(parse(["--images", str(folder / "images"), "--truth", str(folder / "masks")]))
