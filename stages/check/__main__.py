"""The command of stage `check`: all of params.yaml is valid, or every fault in it is named and nothing else runs."""

from __future__ import annotations

from stages.check.validate import check_params
from stages.core.files import write_json
from stages.core.stage import Stage, run


def main(stage: Stage) -> None:
    """Writes a constant, so that a change which leaves params.yaml valid re-runs nothing by itself."""
    check_params(stage.deps["params"])
    write_json(stage.outs["params_ok"], {"params.yaml": "valid"})


if __name__ == "__main__":
    run("check", main)
