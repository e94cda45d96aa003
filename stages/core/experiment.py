"""What identifies an experiment: its name, its commit, and the params that can change its results."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stages.core.params import read_yaml

UNKNOWN = "none"  # the commit outside git
UNREAD = "pascal_b"  # the section of params.yaml that no stage reads


@dataclass(frozen=True)
class Experiment:
    """What identifies the results being made.

    name: DVC's name of the experiment; `dvc repro` has none and gets "repro-" and a hash of `base` and `params`.
    base: the commit that the experiment starts from, in full, or "none" outside git.
    params: the flat params that can change the results, by dotted key, see `relevant`.
    """

    name: str
    base: str
    params: dict[str, Any]

    @property
    def key(self) -> str:
        """Hash of `base` and `params`, 12 hexadecimal digits."""
        content = json.dumps([self.base, self.params], sort_keys=True)
        return hashlib.sha256(content.encode()).hexdigest()[:12]


def main_repository() -> Path:
    """The repository that the user works in, also from within a `--temp` or queued run; else the present folder."""
    return Path(os.environ.get("DVC_ROOT") or Path.cwd()).resolve()


def git(folder: Path, *arguments: str) -> str | None:
    """The output of a git command in `folder`, None where it fails or there is no git."""
    try:
        done = subprocess.run(  # noqa: S603 - no shell, and the arguments are ours
            ["git", "-C", str(folder), *arguments],  # noqa: S607 - the user's own git, found as the shell finds it
            capture_output=True,
            text=True,
            check=False,
        )
    except FileNotFoundError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mappings as one with dotted keys; lists stay values."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping) and value:
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def relevant(tree: Mapping[str, Any]) -> dict[str, Any]:
    """The flat params that the chosen data set and method can depend on, without those of the others.

    Editing another data set's recipe thus leaves an experiment what it is.
    """
    dataset, method = str(tree.get("dataset")), str(tree.get("method"))
    chosen = {"datasets": (dataset,), "methods": (method,), "recipes": (dataset,)}

    def counts(key: str) -> bool:
        parts = key.split(".")
        if parts[0] == UNREAD:
            return False
        if parts[0] in chosen and len(parts) > 1 and parts[1] not in chosen[parts[0]]:
            return False
        return parts[0] != "recipes" or parts[2:3] != ["methods"] or parts[3:4] in ([method], [])

    return {key: value for key, value in flatten(tree).items() if counts(key)}


def text(value: Any) -> str:
    """A param as `dvc exp run -S` takes it: JSON without spaces, text without quotes."""
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))


def current_experiment(folder: Path = Path()) -> Experiment:
    """The experiment whose params.yaml lies in `folder`.

    Raises:
        Fault: params.yaml is missing or malformed.
    """
    base = os.environ.get("DVC_EXP_BASELINE_REV") or git(main_repository(), "rev-parse", "HEAD") or UNKNOWN
    nameless = Experiment("", base, relevant(read_yaml(folder / "params.yaml")))
    name = os.environ.get("DVC_EXP_NAME") or f"repro-{nameless.key}"
    return Experiment(name, base, nameless.params)
