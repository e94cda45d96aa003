"""The CSV of answers: each on the disk at once, none twice, and nothing lost when something breaks."""

import errno
import os

import numpy as np
import pytest

from stages.core.faults import Fault
from stages.size_targets.annotate import answers
from stages.size_targets.annotate.answers import Answer, AnswerFile

HEADER = "image,class,percent,seconds\n"


def test_a_file_is_made_at_once_and_each_answer_is_a_line_in_it(tmp_path):
    file = AnswerFile(tmp_path / "sizes.csv")
    assert file.path.read_text() == HEADER
    file.put(("a", "cat"), Answer(12.5, 9.87))
    assert file.path.read_text() == HEADER + "a,cat,12.5,9.87\n"
    file.put(("x/b,c", 'a "dog"'), Answer(100.0, 0.0))
    assert file.path.read_text() == HEADER + 'a,cat,12.5,9.87\n"x/b,c","a ""dog""",100,0\n'
    assert AnswerFile(file.path).answers == file.answers


def test_random_answers_and_corrections_are_read_as_the_last_of_each_pair(tmp_path):
    generator = np.random.default_rng(0)
    path = tmp_path / "sizes.csv"
    file, wanted = AnswerFile(path), {}
    for _ in range(300):
        pair = (f"image {generator.integers(40)}", ("cat", "dog")[generator.integers(2)])
        if generator.random() < 0.1:
            file.drop(pair)
            wanted.pop(pair, None)
        else:
            wanted[pair] = Answer(round(100 * generator.random(), 2), round(30 * generator.random(), 2))
            file.put(pair, wanted[pair])
    assert AnswerFile(path).answers == wanted
    assert path.read_text().count("\n") == len(wanted) + 1


def test_of_a_pair_that_stands_twice_the_last_counts_and_stays_alone(tmp_path):
    path = tmp_path / "sizes.csv"
    path.write_text(HEADER + "a,cat,1,2\nb,cat,3,4\na,cat,5,6\n")
    assert AnswerFile(path).answers[("a", "cat")] == Answer(5, 6)
    assert path.read_text() == HEADER + "a,cat,5,6\nb,cat,3,4\n"


@pytest.mark.parametrize("cut", range(1, len("b,cat,3,4\n")))
def test_a_line_that_a_crash_cut_off_spoils_nothing(tmp_path, cut):
    path = tmp_path / "sizes.csv"
    path.write_text(HEADER + "a,cat,1,2\n" + "b,cat,3,4\n"[:-cut])
    file = AnswerFile(path)
    assert file.answers[("a", "cat")] == Answer(1, 2)
    file.put(("c", "cat"), Answer(7, 8))
    assert ("c", "cat") in AnswerFile(path).answers
    assert ("b", "cat") not in file.answers  # its seconds, or its percent, may have lost digits


def test_a_full_disk_leaves_the_file_and_the_answers_as_they_were(tmp_path, monkeypatch):
    file = AnswerFile(tmp_path / "sizes.csv")
    file.put(("a", "cat"), Answer(1, 2))

    def full(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(answers.os, "fsync", full)
        for pair in (("b", "cat"), ("a", "cat")):  # an append and a rewriting
            with pytest.raises(OSError, match="No space"):
                file.put(pair, Answer(3, 4))
        with pytest.raises(OSError, match="No space"):
            file.drop(("a", "cat"))
    assert file.answers == {("a", "cat"): Answer(1, 2)}
    assert file.path.read_text() == HEADER + "a,cat,1,2\n"
    assert [path.name for path in tmp_path.iterdir()] == ["sizes.csv"]


def test_a_file_that_was_removed_meanwhile_is_written_again(tmp_path):
    file = AnswerFile(tmp_path / "sizes.csv")
    file.put(("a", "cat"), Answer(1, 2))
    file.path.unlink()
    file.put(("b", "cat"), Answer(3, 4))
    assert set(AnswerFile(file.path).answers) == {("a", "cat"), ("b", "cat")}


def test_skipped_pairs_have_no_percentage(tmp_path):
    file = AnswerFile(tmp_path / "skipped.csv", blank=True)
    file.put(("a", "cat"), Answer(None, 2.5))
    assert file.path.read_text() == HEADER + "a,cat,,2.5\n"
    assert AnswerFile(file.path, blank=True).answers == file.answers
    with pytest.raises(Fault, match="row 2"):
        AnswerFile(file.path)


@pytest.mark.parametrize("text", ["", "image,class,size,seconds\n", "x\n", "\x00\n"])
def test_a_file_of_something_else_is_refused_and_kept(tmp_path, text):
    path = tmp_path / "sizes.csv"
    path.write_text(text)
    with pytest.raises(Fault, match="image,class,percent,seconds"):
        AnswerFile(path)
    assert path.read_text() == text


def test_a_cell_without_end_is_a_fault(tmp_path):
    path = tmp_path / "sizes.csv"
    path.write_text(HEADER + "x" * 200_000 + "\n")
    with pytest.raises(Fault, match="is no CSV file .field larger"):
        AnswerFile(path)


def test_all_rows_that_are_no_answers_are_named(tmp_path):
    path = tmp_path / "sizes.csv"
    rows = ["a,cat,101,1", "b,cat,-1,1", "c,cat,nan,1", "d,cat,,1", "e,cat,1,-1", "f,cat,1,inf", "g,cat,1", "h,c,1,1,1"]
    path.write_text(HEADER + "ok,cat,1,1\n" + "\n".join(rows) + "\n")
    with pytest.raises(Fault) as fault:
        AnswerFile(path)
    assert [line for line in str(fault.value).splitlines() if line.startswith("  - ")] == [
        f"  - row {number}: {row}" for number, row in enumerate(rows, 3)
    ]


def test_a_path_that_cannot_be_written_is_a_fault(tmp_path):
    with pytest.raises(Fault, match="cannot be read and written"):
        AnswerFile(tmp_path)
    (tmp_path / "bytes.csv").write_bytes(b"\xff\xfe")
    with pytest.raises(Fault, match="cannot be read and written"):
        AnswerFile(tmp_path / "bytes.csv")
