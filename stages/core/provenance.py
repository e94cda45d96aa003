"""What decides a stage's result: its params, its inputs and its code."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from stages.core.files import md5
from stages.core.params import thaw
from stages.core.stage import Stage


def made_of(stage: Stage) -> dict[str, Any]:
    """All that a stage's outs follow from, as plain values.

    Returns:
        `stage`, its name; `params`, values by their text in dvc.yaml; `inputs`, the md5 of each data dependency by
        path; `code`, the SHA-256 over paths and md5s of the modules that it runs.
    """
    code = {str(path): md5(path) for path in stage.code}
    return {
        "stage": stage.name,
        "params": {name: thaw(value) for name, value in stage.params.items()},
        "inputs": {str(path): md5(path) for path in stage.deps.values()},
        "code": digest(code),
    }


def digest(value: Any) -> str:
    """SHA-256 of plain values, whatever the order of their keys."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
