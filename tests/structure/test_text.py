"""No file names the machine that it was written on, or where one machine gets its packages."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from tests.structure.closure import ROOT

# Put together from pieces, so that this file passes its own test.
HOSTS = (
    "py" + "pi",
    "python" + "hosted",
    "ana" + "conda",
    "arti" + "factory",
    "nex" + "us",
    "/sim" + "ple",
    "/w" + "hl",
)
ADDRESS = re.compile(r"https?://\S*(" + "|".join(map(re.escape, HOSTS)) + ")", re.IGNORECASE)
OPTION = re.compile("--(extra-)?in" + "dex-url|--find-" + "links|--trusted-" + "host")
WORKPLACE = re.compile(r"(?<![\w.~*}$-])/(wo" + "rk|ro" + r"ot)(?![\w.*-])")


def project_files() -> list[Path]:
    """Every text file that git tracks or would track."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"git does not list the files: {done.stderr.strip()}")
    paths = (ROOT / name for name in done.stdout.split("\0") if name)
    return [path for path in paths if path.is_file() and b"\0" not in path.read_bytes()[:1024]]


def marks(text: str) -> list[str]:
    """Each place in a text that names a package host or a path of the workplace."""
    return [match[0] for pattern in (ADDRESS, OPTION, WORKPLACE) for match in pattern.finditer(text)]


def test_no_file_names_package_hosts_or_the_workplace():
    found = {str(path.relative_to(ROOT)): marks(path.read_text(errors="replace")) for path in project_files()}
    assert {name: places for name, places in found.items() if places} == {}


@pytest.mark.parametrize(
    "text",
    [
        "https://py" + "pi.example/x",
        "http://10.0.0.1:3141/root" + "/sim" + "ple",
        "--in" + "dex-url x",
        "cd /wo" + "rk/main",
    ],
)
def test_what_is_found(text):
    assert marks(text)


@pytest.mark.parametrize(
    "text", ["https://arxiv.org/abs/1606.00915", ".github/workflows", "framework", "a/wo" + "rk", "/worker"]
)
def test_what_is_not_found(text):
    assert not marks(text)
