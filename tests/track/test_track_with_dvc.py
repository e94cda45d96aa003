"""`track` under real DVC commands, in a small repository whose only other stage writes a summary."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from stages.track import ledger

ROOT = Path(__file__).parents[2]
PARAMS = "dataset: tiny\nmethod: full\nseed: 0\nlr: 0.25\ndatasets: {tiny: {headline: test}}\n"
DVC_YAML = """\
stages:
  evaluate:
    cmd: mkdir -p metrics && grep -oP "lr. \\\\K.*" params.yaml | sed "s/.*/{\\"miou\\":&}/" > metrics/summary.json
      && printf "split,dice\\nval,0.5\\ntest,0.75\\n" > metrics/miou.csv
    params: [lr]
    metrics: [{metrics/summary.json: {cache: false}}]
    outs: [{metrics/miou.csv: {cache: false}}]
  track:
    cmd: python -m stages.track
    deps: [metrics/summary.json, metrics/miou.csv]
    params: [params.yaml: []]
"""


def command(*arguments):
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = os.environ | {"PATH": path, "DVC_NO_ANALYTICS": "1", "CI": "1", "SIZEWISE_TRACK": "0"}
    done = subprocess.run(arguments, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def table():
    return {
        row["experiment"].split("-")[0]: (row["params"], row["miou"])
        for row in ledger.read(Path("metrics/experiments.csv"))
    }


@pytest.fixture
def repository(tmp_path, monkeypatch):
    for name in ("DVC_ROOT", "DVC_EXP_NAME", "DVC_EXP_BASELINE_REV"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    ignore = shutil.ignore_patterns("__pycache__", "networks")
    for name in ("core", "track"):
        shutil.copytree(ROOT / "stages" / name, Path("stages") / name, ignore=ignore)
    shutil.copy(ROOT / "stages" / "__init__.py", "stages")
    Path("params.yaml").write_text(PARAMS)
    Path("dvc.yaml").write_text(DVC_YAML)
    Path(".gitignore").write_text("/.scratch/\n__pycache__/\n")
    Path("metrics").mkdir()
    Path("metrics/experiments.csv").write_text(",".join(ledger.COLUMNS) + "\n")
    command("git", "init", "-q")
    command("git", "config", "user.name", "n")
    command("git", "config", "user.email", "n@example.org")
    command("dvc", "init", "-q")
    command("git", "add", ".")
    command("git", "commit", "-qm", "one")


def test_rows_through_repro_experiments_and_apply(repository):
    command("dvc", "repro")
    after_repro = {"repro": ("", "0.25")}
    assert table() == after_repro
    assert "didn't change, skipping" in command("dvc", "repro")
    command("git", "add", ".")
    command("git", "commit", "-qm", "two")

    command("dvc", "exp", "run", "-n", "here", "-S", "lr=1e-5")
    with_here = after_repro | {"here": ("lr=1e-05", "1e-05")}
    assert table() == with_here

    command("dvc", "exp", "run", "--temp", "-n", "there", "-S", "lr=0.75")
    assert table() == with_here, "a temporary experiment changed the user's workspace"
    logs = {path: (Path(".scratch/logs") / path).read_text() for path in ("track.log", "there/track.log")}
    assert [logs["track.log"].count(word) for word in ("started by", "experiment here: exit code 0")] == [2, 1]
    assert logs["there/track.log"].count("experiment there: exit code 0") == 1
    command("git", "checkout", "-q", ".")
    assert table() == after_repro

    command("dvc", "exp", "apply", "there")
    with_there = with_here | {"there": ("lr=0.75", "0.75")}
    assert table() == with_there, "the experiment started with the row of `here` uncommitted, and carries it"
    command("dvc", "exp", "apply", "here")
    assert table() == with_here, "DVC sets the file back, which is why rows are gathered"
    Path("README.md").write_text("<!-- table:tiny -->\n<!-- /table:tiny -->\n")
    command("python", "-m", "stages.track.table")
    assert table() == with_there
    assert Path("README.md").read_text().count("| full | `-S dataset=tiny") == 3
