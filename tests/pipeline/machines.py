"""A small repository with DVC's and the project's real commands, whose experiments take no time, and its clones."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

from stages.track import ledger
from tests.pipeline.repository import ROOT, Repository

PARAMS = "dataset: tiny\nmethod: full\nseed: 0\nlr: 0.25\ndatasets: {tiny: {headline: test}}\n"
DVC_YAML = """\
stages:
  prepare:
    cmd: mkdir -p data && echo pictures > data/dataset.zip
    params: [dataset]
    deps: [stages/__init__.py]
    outs: [data/dataset.zip]
  segment:
    cmd: mkdir -p models metrics/samples && grep "^lr" params.yaml > models/segmenter.pt
      && cp models/segmenter.pt metrics/samples/a.png && cp data/dataset.zip metrics/samples/b.png
    params: [lr]
    deps: [data/dataset.zip]
    outs: [models/segmenter.pt, metrics/samples]
  evaluate:
    cmd: sed "s/lr. \\\\(.*\\\\)/{\\"miou\\":\\\\1}/" models/segmenter.pt > metrics/summary.json
      && printf "split,dice\\nval,0.5\\ntest,0.75\\n" > metrics/miou.csv
    deps: [models/segmenter.pt]
    metrics: [{metrics/summary.json: {cache: false}}]
    plots: [{metrics/miou.csv: {cache: false}}]
  track:
    cmd: python -m stages.track
    deps: [metrics/summary.json, metrics/miou.csv]
    params: [params.yaml: []]
"""
BASELINE = {"data/dataset.zip": "pictures\n", "models/segmenter.pt": "lr: 0.25\n"}


def md5(text: str) -> str:
    """The md5 of a text, 32 hexadecimal digits."""
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def author(folder: Path, remote: str, **settings: str) -> Repository:
    """A repository with one commit, pushed to a new bare repository `git` beside it; nothing has run yet.

    Args:
        folder: is made.
        remote: the folder or address that is its default DVC remote.
        settings: of the remote, as `dvc remote modify` takes them.
    """
    ignore = shutil.ignore_patterns("__pycache__", "networks")
    for name in ("core", "track"):
        shutil.copytree(ROOT / "stages" / name, folder / "stages" / name, ignore=ignore)
    shutil.copy(ROOT / "stages" / "__init__.py", folder / "stages")
    (folder / "metrics").mkdir()
    for name, text in {
        "params.yaml": PARAMS,
        "dvc.yaml": DVC_YAML,
        "dvc.lock": "schema: '2.0'\n",
        ".gitignore": "/.scratch/\n__pycache__/\n/data/*\n/models/*\n/metrics/samples\n",
        "README.md": "<!-- table:tiny -->\n<!-- /table:tiny -->\n",
        "metrics/experiments.csv": ",".join(ledger.COLUMNS) + "\n",
    }.items():
        (folder / name).write_text(text)
    repository = Repository(folder, {"SIZEWISE_TRACK": "0"})
    repository.run("git", "init", "-q", "-b", "main")
    repository.run("dvc", "init", "-q")
    shutil.copy(ROOT / ".dvc" / "config", folder / ".dvc")
    repository.run("dvc", "remote", "add", "-q", "--default", "store", remote)
    for key, value in settings.items():
        repository.run("dvc", "remote", "modify", "-q", "store", key, value)
    name_the_user(repository)
    repository.commit("all files")
    bare = folder.parent / "git"
    repository.run("git", "clone", "-q", "--bare", ".", str(bare))
    repository.run("git", "remote", "add", "origin", str(bare))
    return repository


def name_the_user(repository: Repository) -> None:
    """Sets what git needs for a commit."""
    repository.run("git", "config", "user.name", "tester")
    repository.run("git", "config", "user.email", "tester@example.org")


def clone(repository: Repository, folder: Path) -> Repository:
    """A clone of `origin`, with an empty cache, as another machine has it."""
    repository.run("git", "clone", "-q", repository.run("git", "remote", "get-url", "origin").strip(), str(folder))
    other = Repository(folder, repository.variables)
    name_the_user(other)
    return other
