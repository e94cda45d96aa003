"""Whether what a stage reads is what the stage before it wrote, by the md5s of dvc.lock.

DVC trusts an object of its cache by its name, and a file of the workspace by its date: a byte that a disk lost, or that
was changed in place, reaches the next stage unseen. A stage that DVC runs reads its inputs once more for that; dvc.lock
is up to date then, since DVC writes the entry of a stage as soon as the stage ends. By hand, without DVC, a file may be
newer than dvc.lock, and nothing is said.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from stages.core.faults import Fault, combine
from stages.core.files import md5
from stages.core.params import read_yaml


def refuse_damaged(paths: Iterable[Path], lock: Path = Path("dvc.lock")) -> None:
    """Compares each of the files that is an out of dvc.lock with its md5 there; folders and other files are left out.

    Raises:
        Fault: some differ; all are named.
    """
    if "DVC_STAGE" not in os.environ or not lock.exists():
        return
    written = {
        item["path"]: (name, item["md5"])
        for name, spec in read_yaml(lock).get("stages", {}).items()
        for item in spec.get("outs", [])
        if item.get("hash") == "md5" and "md5" in item
    }
    faults = []
    for path in paths:
        name, expected = written.get(path.as_posix(), ("", ""))
        if expected and path.is_file() and (found := md5(path)) != expected:
            faults.append(
                f"{path} is damaged: its md5 is {found}, and stage {name} wrote {expected} (dvc.lock); remove it and "
                "run `dvc repro`; if it comes back so, `python -m stages.track.verify` names the object of DVC's cache "
                f"to remove; if it was changed on purpose, `dvc commit {name}` records it"
            )
    if faults:
        raise Fault(faults[0]) if len(faults) == 1 else combine("inputs are not what was written", faults)
