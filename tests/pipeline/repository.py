"""A copy of the project as a repository of its own, for tests that run the real commands."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

from ruamel.yaml import YAML

ROOT = Path(__file__).parents[2]
FOREIGN = re.compile(r"DVC_|MLFLOW_|SIZEWISE_|GIT_|NPROC$|CUDA_")  # settings of the caller that would change a run
TIMEOUT = 1500  # seconds; a busy machine with two cores is slow


@dataclass
class Repository:
    """A git repository with this project's files.

    folder: where it lies.
    variables: added to the environment of every command.
    """

    folder: Path
    variables: dict[str, str] = field(default_factory=dict)

    def environment(self) -> dict[str, str]:
        """The environment of a command: this Python, no caller's settings, one thread so that bytes are comparable."""
        kept = {key: value for key, value in os.environ.items() if not FOREIGN.match(key)}
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        fixed = {"PATH": path, "DVC_NO_ANALYTICS": "1", "CI": "1", "OMP_NUM_THREADS": "1", "SIZEWISE_JOBS": "1"}
        return kept | fixed | self.variables

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """A command in a process group of its own, stdout and stderr in one pipe."""
        return subprocess.Popen(
            arguments,
            cwd=self.folder,
            env=self.environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def attempt(self, *arguments: str) -> tuple[int, str]:
        """The exit code of a command and all that it printed."""
        with self.start(*arguments) as process:
            try:
                output, _ = process.communicate(timeout=TIMEOUT)
            finally:
                process.kill()
        return process.returncode, output

    def run(self, *arguments: str) -> str:
        """All that a command printed; it must end with exit code 0."""
        code, output = self.attempt(*arguments)
        assert code == 0, f"{' '.join(arguments)} ended with {code}:\n{output}"
        return output

    def edit(self, **changes: object) -> None:
        """Sets values of params.yaml; `__` in a name stands for the dot between keys."""
        edit_params(self.folder / "params.yaml", **changes)

    def commit(self, message: str) -> None:
        """Commits every file that git does not ignore."""
        self.run("git", "add", "--all")
        self.run("git", "commit", "-qm", message)

    def read(self, name: str) -> str:
        """The text of a file."""
        return (self.folder / name).read_text(encoding="utf-8")

    def md5s(self) -> dict[str, str]:
        """The md5 of every out in dvc.lock, by path."""
        stages = YAML(typ="safe").load(self.read("dvc.lock"))["stages"].values()
        return {out["path"]: out["md5"] for stage in stages for out in stage.get("outs", [])}


def edit_params(path: Path, **changes: object) -> None:
    """Sets values of a params.yaml; `__` in a name stands for the dot between keys."""
    yaml = YAML()
    tree = yaml.load(path)
    for name, value in changes.items():
        *sections, key = name.split("__")
        section = tree
        for part in sections:
            section = section[part]
        section[key] = value
    yaml.dump(tree, path)


def copy(folder: Path, **variables: str) -> Repository:
    """Makes a repository in `folder` from the files that git keeps here, with `dataset: tiny` committed.

    Args:
        folder: is made.
        variables: see `Repository`.
    """
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, check=True, text=True).stdout
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():  # not deleted without a commit
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    repository = Repository(folder, variables)
    repository.run("git", "init", "-q")
    repository.run("git", "config", "user.name", "tester")
    repository.run("git", "config", "user.email", "tester@example.org")
    repository.edit(dataset="tiny")
    repository.commit("all files")
    return repository
