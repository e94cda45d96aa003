"""All faults of params.yaml at once."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from stages.check.messages import fault_lines
from stages.check.relations import relation_faults
from stages.check.schema import Everything
from stages.core.faults import Fault, combine
from stages.core.params import read_yaml


def faults_of(tree: Mapping[str, Any], folder: Path) -> list[str]:
    """A line for each fault; `folder` is where params.yaml lies, for a source that is relative to it."""
    sections: dict[int, tuple[str, ...]] = {}
    faults = []
    try:
        Everything.model_validate(tree, context=sections)
    except ValidationError as error:
        faults = fault_lines(error, tree, sections)
    return faults + relation_faults(tree, folder)


def check_params(path: Path) -> None:
    """Refuses a params.yaml in which anything is wrong, in the chosen data set's sections or any other.

    Raises:
        Fault: names every fault with its key.
    """
    faults = faults_of(read_yaml(path), path.parent)
    if len(faults) == 1:
        raise Fault(f"{path.name}: {faults[0]}")
    if faults:
        raise combine(f"{path.name} is not valid", faults)
