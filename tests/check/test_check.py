"""The command: a constant out for a valid file, one message for a faulty one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from stages.check.__main__ import main
from stages.check.validate import check_params
from stages.core.faults import Fault
from stages.core.stage import Declared, Stage

ROOT = Path(__file__).parents[2]


def write(folder: Path, tree: dict) -> Path:
    """params.yaml in a folder."""
    path = folder / "params.yaml"
    YAML().dump(tree, path)
    return path


def run_main(path: Path) -> bytes:
    """The out of the stage on a params.yaml."""
    out = path.parent / "data" / "params_ok.json"
    deps, outs = Declared("check", "the dependency", {"params": path}), Declared("check", "the out", {"params_ok": out})
    main(Stage("check", Declared("check", "the key", {}), deps, outs))
    return out.read_bytes()


def test_the_out_is_constant(change, folder):
    first = run_main(write(folder, change({})))
    assert first == run_main(write(folder, change({"seed": 5, "method": "full"})))


def test_one_fault_is_one_line(change, folder):
    path = write(folder, change({"recipes.drawn.segmenter.lr": -1}))
    with pytest.raises(Fault) as caught:
        check_params(path)
    assert str(caught.value) == "params.yaml: recipes.drawn.segmenter.lr: must be > 0, is -1"


def test_several_faults_are_listed(change, folder):
    path = write(folder, change({"recipes.drawn.segmenter.lr": -1, "seed": 0.5}))
    with pytest.raises(Fault) as caught:
        check_params(path)
    assert str(caught.value).splitlines() == [
        "params.yaml is not valid (2 faults):",
        "  - seed: must be a whole number, is 0.5",
        "  - recipes.drawn.segmenter.lr: must be > 0, is -1",
    ]


def test_the_shipped_file_is_valid():
    check_params(ROOT / "params.yaml")


def test_the_command_refuses(change, folder):
    """As DVC starts it: exit code 1, no traceback, and no out."""
    write(folder, change({"dataset": "drwn"}))
    (folder / "dvc.yaml").write_text("stages: {check: {deps: [params.yaml], outs: [data/params_ok.json]}}")
    done = subprocess.run(
        [sys.executable, "-m", "stages.check"],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        "sizewise check: params.yaml: dataset: 'drwn' is not under datasets; there are: drawn, pascal, mine, heart; "
        "did you mean 'drawn'?"
    ]
    assert not (folder / "data").exists()


def test_the_check_does_not_import_slow_libraries():
    code = (
        "import sys, stages.check.__main__; print(*{'torch', 'torchvision', 'mlflow', 'dvc', 'cv2'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
