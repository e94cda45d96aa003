"""How a room's command starts: with the params, deps and outs that dvc.yaml declares for it, and with nothing else."""

from __future__ import annotations

import errno
import os
import re
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from stages.core.faults import Fault
from stages.core.files import atomic
from stages.core.lifetime import STAGE, die_with_parent, stop_at_once, stopped
from stages.core.log_file import logged
from stages.core.params import Params, freeze, interpolate, look_up, read_yaml
from stages.core.recorded import refuse_damaged

LOCK = Path("dvc.lock")
ENTRY = re.compile(r"^  (\w+):$", re.MULTILINE)  # of a stage in it, and in dvc.yaml
SCRATCH = Path(".scratch")  # locks, logs and checkpoints: never an out, never tracked

LOADER = "DataLoader worker"  # begins what PyTorch raises where one is gone
DISK = {  # what a person can mend: what is said of it, and what to do
    errno.ENOSPC: ("no space left on the disk", "free some"),
    errno.EDQUOT: ("no space left on the disk", "free some"),
    errno.EFBIG: ("a file is larger than allowed", "raise the limit (`ulimit -f`), or use a disk with large files,"),
    errno.EROFS: ("the disk can only be read", "make it writable"),
    errno.EACCES: ("no permission", "give it"),
    errno.EPERM: ("no permission", "give it"),
    errno.EIO: ("the disk cannot be read or written", "look after it (`dmesg` tells more)"),
}


class Declared(dict[str, Any]):
    """What dvc.yaml declares for a stage; anything else is an error at once and never a stale result."""

    def __init__(self, stage: str, kind: str, values: dict[str, Any]) -> None:
        super().__init__(values)
        self._stage, self._kind = stage, kind

    def __reduce__(self) -> tuple:
        return Declared, (self._stage, self._kind, dict(self))

    def __missing__(self, key: str) -> Any:
        raise Fault(
            f"stage {self._stage} asks for {self._kind} {key!r}, which dvc.yaml does not declare for it; "
            f"declared: {', '.join(self) or 'none'}"
        )


@dataclass(frozen=True)
class Stage:
    """One stage as dvc.yaml declares it under the present params.yaml.

    params: values by the text in dvc.yaml, as in `stage.params["recipes.${dataset}.cam"]`.
    deps: data dependencies by file stem (`raw` is data/shapes/raw.zip); `${source}` is `source`. Code is left out.
    outs: outs, metrics and plots by file stem.
    code: the code dependencies.
    """

    name: str
    params: Declared
    deps: Declared
    outs: Declared
    code: tuple[Path, ...] = field(default=())


def declared_name(text: str) -> str:
    """The name by which a room knows a path of dvc.yaml: its stem, or the key of a path that is a `${key}` alone."""
    return text[2:-1] if text.startswith("${") and text.endswith("}") else Path(text).stem


def entry(item: str | dict[str, Any]) -> str:
    """The path of an entry of dvc.yaml, which is text or a mapping of a path to its flags."""
    return item if isinstance(item, str) else next(iter(item))


def load(name: str, root: Path = Path()) -> Stage:
    """Reads the declaration of stage `name` from dvc.yaml and its values from params.yaml, both in `root`.

    Raises:
        Fault: a file is missing or malformed, or a declared key is not in params.yaml.
    """
    tree = read_yaml(root / "params.yaml")
    spec = look_up(read_yaml(root / "dvc.yaml"), f"stages.{name}", "dvc.yaml")

    def paths(*kinds: str) -> dict[str, Path]:
        texts = [entry(item) for kind in kinds for item in spec.get(kind, [])]
        found = {declared_name(text): Path(interpolate(text, tree)) for text in texts if not is_code(text)}
        if len(found) < sum(not is_code(text) for text in texts):
            raise Fault(f"dvc.yaml: two paths of stage {name} have the same stem, so they have the same name")
        return found

    params = {
        text: freeze(look_up(tree, interpolate(text, tree)), interpolate(text, tree))
        for text in map(entry, spec.get("params", []))
        if not text.endswith(".yaml")
    }
    code = tuple(Path(interpolate(text, tree)) for text in map(entry, spec.get("deps", [])) if is_code(text))
    return Stage(
        name,
        Declared(name, "the key", params),
        Declared(name, "the dependency", paths("deps")),
        Declared(name, "the out", paths("outs", "metrics", "plots")),
        code,
    )


def is_code(text: str) -> bool:
    """Whether a path of dvc.yaml is a module of the pipeline."""
    return text.startswith("stages/") and text.endswith(".py")


def dataset_params(stage: Stage) -> Params:
    """The chosen data set's own section."""
    return stage.params["datasets.${dataset}"]


@contextmanager
def locked(outs: dict[str, Path]) -> Iterator[None]:
    """Holds a lock per output while the block runs.

    Raises:
        Fault: another process is writing one of them.
    """
    folder = SCRATCH / "locks"
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        for path in outs.values():
            lock = FileLock(folder / (str(path).replace(os.sep, "+") + ".lock"), timeout=0)
            try:
                stack.enter_context(lock)
            except Timeout:
                raise Fault(f"another process is writing {path}; wait for it or end it") from None
        yield


def run(name: str, work: Callable[[Stage], None]) -> None:
    """Runs `work` as the command of stage `name` and ends the process with an honest exit code.

    A Fault is printed as one message without a traceback (exit code 1), as is a disk that does not take or give a
    file's bytes (`DISK`); Ctrl-C ends with 130. Any other exception is a defect of ours and keeps its traceback. What
    it prints also goes to a file, see `log_file`.
    """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    if signal.getsignal(signal.SIGINT) is stop_at_once:  # from here on there is something to clean up
        signal.signal(signal.SIGINT, signal.default_int_handler)
    die_with_parent()
    try:
        with logged(SCRATCH / "logs", name):
            attempt(name, work)
    finally:  # nothing is left to clean up: a signal while the interpreter ends shall end it without a word
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            signal.signal(signal.SIGINT, signal.SIG_DFL)


def keep_record() -> None:
    """Copies dvc.lock to .scratch, where DVC has started this process.

    DVC writes it in place, in a moment after each stage. A kill in that moment leaves a part of it, which DVC takes for
    the whole if it happens to be valid, and it runs all stages again whose entries are lost. While a stage runs, the
    file is whole.

    Raises:
        Fault: a stage of dvc.yaml that was in it when the last stage began is not in it.
    """
    if STAGE not in os.environ or not LOCK.exists():
        return
    kept = SCRATCH / LOCK
    lost = (entries(kept) & entries(Path("dvc.yaml"))) - entries(LOCK)
    if lost:
        raise Fault(
            f"{LOCK} has lost its entries of {', '.join(sorted(lost))}, most likely because DVC was killed while it "
            f"wrote them, and would run these stages again: `cp {kept} {LOCK}` gets them back; or, if they shall run "
            f"again, `rm {kept}`; then `dvc repro` goes on"
        )
    with atomic(kept) as temporary:
        shutil.copyfile(LOCK, temporary)


def entries(path: Path) -> set[str]:
    """The stages that dvc.yaml or dvc.lock has; none where there is no such file."""
    return set(ENTRY.findall(path.read_text(encoding="utf-8"))) if path.exists() else set()


def attempt(name: str, work: Callable[[Stage], None]) -> None:
    """The part of `run` whose failures are told to a person."""
    try:
        keep_record()
        stage = load(name)
        with locked(stage.outs):
            refuse_damaged(stage.deps.values())
            work(stage)
    except Fault as fault:
        sys.exit(f"sizewise {name}: {fault}")
    except KeyboardInterrupt:
        sys.stderr.write(stopped(name))
        sys.exit(130)
    except RuntimeError as error:
        if not str(error).startswith(LOADER):
            raise
        sys.exit(
            f"sizewise {name}: a process that loads images was killed, most likely for want of memory; set "
            "SIZEWISE_JOBS to a smaller number, and `dvc repro` goes on from the last epoch"
        )
    except OSError as error:
        if error.errno not in DISK:
            raise
        what, advice = DISK[error.errno]
        of = f" for {error.filename}" if error.filename else ""
        sys.exit(f"sizewise {name}: {what}{of}; {advice} and run `dvc repro` again")
