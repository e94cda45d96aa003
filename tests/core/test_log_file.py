"""The log of a stage: all that it said and how it ended, no frame of a bar, and nothing else is changed by it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from stages.core import log_file
from stages.core.log_file import logged

ROOT = Path(__file__).parents[2]
WORK = """
import os, sys, time, warnings
from pathlib import Path
from tqdm import tqdm
from stages.core.faults import Fault
from stages.core.pool import process_map
from stages.core.stage import run

def divide(number):
    return 1 / number

def work(stage):
{body}

if __name__ == "__main__":
    run("demo", work)
"""
LINE = re.compile(r"\d\d:\d\d:\d\d \d+ (.*)")


@pytest.fixture
def project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("params.yaml").write_text("seed: 0\n")
    Path("dvc.yaml").write_text("stages: {demo: {outs: [out.txt]}}\n")
    return tmp_path


def begin(body, **environment):
    lines = "".join(f"    {line}\n" for line in body.strip().splitlines())
    Path("demo.py").write_text(WORK.format(body=lines))
    return subprocess.Popen(
        [sys.executable, "demo.py"],
        env=os.environ | {"PYTHONPATH": str(ROOT)} | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def ended(body, **environment):
    process = begin(body, **environment)
    output, errors = process.communicate(timeout=120)
    return process.returncode, output, errors


def log(path=".scratch/logs/demo.log"):
    """Start, what was said, end."""
    first, *lines, last = Path(path).read_text().splitlines()
    return first, [LINE.fullmatch(line)[1] for line in lines], last


def test_what_a_stage_prints_is_in_the_terminal_and_in_the_log(project):
    code, output, errors = ended('print("to the one")\nsys.stderr.write("to the other\\n")\nwarnings.warn("careful")')
    assert (code, output) == (0, "to the one\n")
    assert errors.startswith("to the other\n")
    first, lines, last = log()
    assert re.fullmatch(r"=== \d{4}-\d\d-\d\dT[\d:]{8}\S* demo, process \d+: started by \S*python\S* demo.py", first)
    assert lines[:2] == ["to the one", "to the other"]
    assert any("careful" in line for line in lines)
    assert re.search(r"demo, process \d+: exit code 0, \d+\.\d s, at most \d+ MB$", last)


@pytest.mark.parametrize(
    ("body", "code", "said"),
    [
        ('raise Fault("two\\nlines")', 1, ["sizewise demo: two", "lines"]),
        ('raise OSError(28, "full", "x")', 1, ["sizewise demo: no space left on the disk for x; free some and run "
                                               "`dvc repro` again"]),
        ("raise KeyboardInterrupt", 130, ["sizewise demo: stopped; `dvc repro` goes on from here"]),
        ("sys.exit(7)", 7, []),
    ],
)  # fmt: skip
def test_each_end_is_logged_as_the_terminal_shows_it(project, body, code, said):
    assert ended(body) == (code, "", "".join(f"{line}\n" for line in said))
    _, lines, last = log()
    assert lines == said
    assert f": exit code {code}, " in last


def test_a_traceback_is_logged(project):
    code, _, errors = ended("1 / 0")
    _, lines, last = log()
    assert code == 1
    assert lines[0] == "Traceback (most recent call last):"
    assert lines[-1] == "ZeroDivisionError: division by zero" == errors.splitlines()[-1]
    assert ": exit code 1, " in last


def test_the_failure_of_a_worker_process_is_logged(project):
    code, _, _ = ended('list(process_map(divide, [1] * 60 + [0], "divide", 61))', SIZEWISE_JOBS="2")
    _, lines, last = log()
    assert code == 1
    assert "    return 1 / number" in [line.rstrip() for line in lines]
    assert lines[-1] == "ZeroDivisionError: division by zero"
    assert re.search(r"at most \d+ MB, \d+ MB in a child process$", last)


def test_a_run_that_is_ended_or_killed(project):
    for number in (signal.SIGTERM, signal.SIGKILL):
        process = begin('print("here", flush=True)\ntime.sleep(600)')
        assert process.stdout.readline() == "here\n"
        process.send_signal(number)
        process.communicate(timeout=60)
    heads = [line for line in Path(".scratch/logs/demo.log").read_text().splitlines() if line.startswith("===")]
    assert [word for line in heads for word in ("started", "exit code 143") if word in line] == [
        "started",
        "exit code 143",
        "started",
    ]


def test_frames_of_a_bar_are_left_out_and_what_is_said_between_them_is_not(project, capsys):
    body = (
        "for n in tqdm(range(3), 'bar', file=sys.stderr, mininterval=0):\n"
        "    tqdm.write(f'item {n}', file=sys.stderr)\n"
        "    sys.stderr.write('plain\\n')\n"
        "print('\\x1b[31mred\\x1b[0m')\n"
        "print('begun', end='')\n"
    )
    code, output, errors = ended(body)
    _, lines, _ = log()
    assert (code, output) == (0, "\x1b[31mred\x1b[0m\nbegun")
    assert errors.count("bar:") >= 4
    assert lines == ["item 0", "plain", "item 1", "plain", "item 2", "plain", "red", "begun"]


def test_a_bar_is_drawn_on_a_terminal(project):
    """A tee that is no terminal would turn the bars off."""

    class Terminal:
        encoding, errors, said = "utf-8", "strict", ""

        def isatty(self):
            return True

        def write(self, text):
            self.said += text
            return len(text)

    tee = log_file.Tee(Terminal(), log_file.LogFile(Path("x.log"), "x"))
    assert tee.isatty()
    assert tee.write("\r 50%") == 5
    assert tee.said == "\r 50%"
    assert not Path("x.log").exists()


def test_runs_are_appended_and_a_full_file_is_rotated(project, monkeypatch):
    monkeypatch.setattr(log_file, "LIMIT", 2000)
    for _ in range(2):
        with logged(Path("logs"), "demo"):
            pass
    assert Path("logs/demo.log").read_text().count("started by") == 2
    with logged(Path("logs"), "demo"):
        for number in range(500):
            print(f"line {number}")  # noqa: T201 - what is tested
    assert sorted(path.name for path in Path("logs").iterdir()) == ["demo.log", "demo.log.1"]
    assert all(path.stat().st_size < 2300 for path in Path("logs").iterdir())
    assert "line 499\n=== " in Path("logs/demo.log").read_text()
    for _ in range(30):
        with logged(Path("logs"), "demo"):
            pass
    assert sum(path.stat().st_size for path in Path("logs").iterdir()) < 4600


@pytest.mark.parametrize(
    ("name", "expected"), [("lr-0.1", "lr-0.1"), ("../../x", "__.._x"), ("a/b c", "a_b_c"), ("", "temporary")]
)
def test_a_temporary_run_logs_in_the_main_repository(project, monkeypatch, name, expected):
    main, folder = project / "main", project / "temporary"
    main.mkdir()
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("DVC_ROOT", str(main))
    monkeypatch.setenv("DVC_EXP_NAME", name)
    with logged(Path("logs"), "demo"):
        pass
    assert list(folder.iterdir()) == []
    (path,) = main.rglob("*.log")
    assert path == main / "logs" / expected / "demo.log"
    assert f", experiment {name}: " in path.read_text() or not name


def test_an_experiment_in_the_users_folder_is_named_in_the_line(project, monkeypatch):
    monkeypatch.setenv("DVC_ROOT", str(project))
    monkeypatch.setenv("DVC_EXP_NAME", "high")
    with logged(Path("logs"), "demo"):
        pass
    assert Path("logs/demo.log").read_text().count(", experiment high: ") == 2


def test_a_log_that_cannot_be_written_is_said_once_and_costs_nothing(project):
    Path(".scratch").mkdir()
    Path(".scratch/logs").write_text("in the way")
    code, output, errors = ended('print("a")\nprint("b")\nPath("out.txt").write_text("x")')
    assert (code, output, Path("out.txt").read_text()) == (0, "a\nb\n", "x")
    assert errors.count("\n") == 1
    assert errors.startswith("sizewise demo: no more is written to .scratch/logs/demo.log: [Errno ")


def test_streams_are_given_back_and_a_held_tee_still_prints(project, capsys):
    before = sys.stdout, sys.stderr
    with pytest.raises(ZeroDivisionError), logged(Path("logs"), "demo"):
        held = sys.stderr
        raise ZeroDivisionError
    assert (sys.stdout, sys.stderr) == before
    held.write("later\n")
    assert capsys.readouterr().err == "later\n"


def test_writing_costs_little(project, capsys):
    start = time.perf_counter()
    with logged(Path("logs"), "demo"):
        for number in range(2000):
            sys.stderr.write(f"\r {number}")
            sys.stderr.write(f"line {number}\n")
    assert time.perf_counter() - start < 5
