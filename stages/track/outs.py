"""The outs of dvc.lock, as they lie in the workspace and in DVC's cache, read byte by byte."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stages.core.params import interpolate, read_yaml
from stages.core.stage import entry
from stages.track.hashes import Expected, md5_of_listing, md5s, members

MENDED = "remove it, and `dvc repro` or `dvc pull` makes it again"
SHOWN = 20  # lines of a directory's members


@dataclass
class Report:
    """What is wrong and what could not be checked, as lines; what is absent, by name; and how much was read."""

    wrong: list[str] = field(default_factory=list)
    unchecked: list[str] = field(default_factory=list)
    not_in_workspace: list[str] = field(default_factory=list)
    not_in_cache: list[str] = field(default_factory=list)
    files: int = 0
    size: int = 0  # bytes


@dataclass(frozen=True)
class Out:
    """An out of dvc.lock. md5: of the file, or of the list of a directory's members, and then it ends in `.dir`."""

    stage: str
    path: Path
    md5: str
    cached: bool

    @property
    def is_directory(self) -> bool:
        """Whether it is one."""
        return self.md5.endswith(".dir")


def outs_of(lock: Mapping[str, Any], uncached: set[str], report: Report) -> Iterator[Out]:
    """The outs of all stages of dvc.lock. uncached: paths that dvc.yaml keeps out of the cache."""
    for stage, spec in lock.get("stages", {}).items():
        for item in spec.get("outs", []):
            if item.get("hash") == "md5" and "md5" in item:
                yield Out(stage, Path(item["path"]), item["md5"], item["path"] not in uncached)
            else:
                report.unchecked.append(f"{item.get('path')}: dvc.lock has no md5 of DVC 3 for it")


def uncached_outs() -> set[str]:
    """The paths of dvc.yaml with `cache: false`, under the present params.yaml."""
    tree = read_yaml(Path("params.yaml"))
    items = [
        item
        for spec in read_yaml(Path("dvc.yaml"))["stages"].values()
        for kind in ("outs", "metrics", "plots")
        for item in spec.get(kind, [])
    ]
    flagged = (item for item in items if isinstance(item, Mapping) and next(iter(item.values())).get("cache") is False)
    return {interpolate(entry(item), tree) for item in flagged}


def cached_at(cache: Path, md5: str) -> Path:
    """Where DVC 3 keeps the object of an md5."""
    return cache / "files" / "md5" / md5[:2] / md5[2:]


def expected_files(outs: Iterable[Out], cache: Path, report: Report) -> Iterator[Expected]:
    """Every file that should be here with a known md5; what is absent goes to the report."""
    for out in outs:
        owner = f"the out of stage {out.stage}"
        copy = cached_at(cache, out.md5)
        if out.cached and not copy.exists():
            report.not_in_cache.append(str(out.path))
        elif out.cached:
            yield Expected(copy, out.md5.removesuffix(".dir"), f"the cache object of {out.path}: {MENDED}")
        if not out.is_directory:
            if out.path.is_file():
                hint = "`dvc checkout` or `dvc repro` brings it back" if out.cached else "`dvc repro` makes it again"
                yield Expected(out.path, out.md5, f"{owner}: {hint}")
            else:
                report.not_in_workspace.append(str(out.path))
            continue
        listed = members(copy, out.md5)
        for name, md5 in (listed or {}).items():
            copy = cached_at(cache, md5)
            if copy.exists():
                yield Expected(copy, md5, f"the cache object of {out.path / name}: {MENDED}")
            else:
                report.not_in_cache.append(str(out.path / name))


def check_outs(outs: list[Out], cache: Path, every: bool, report: Report) -> None:
    """Reads all files of the outs and their cache objects.

    every: also all other objects of the cache, whose names are their md5s.
    """
    files = list(expected_files(outs, cache, report))
    if every:
        known = {file.path for file in files}
        for path in sorted((cache / "files" / "md5").glob("??/*")):
            if path not in known and len(path.parent.name + path.stem) == 32:
                files.append(Expected(path, path.parent.name + path.stem, f"an object of the cache: {MENDED}"))
    folders = [out for out in outs if out.is_directory and out.path.is_dir()]
    report.not_in_workspace += [str(out.path) for out in outs if out.is_directory and not out.path.is_dir()]
    inside = {out: sorted(path for path in out.path.rglob("*") if path.is_file()) for out in folders}
    paths = [file.path for file in files] + [path for own in inside.values() for path in own]
    found = md5s(paths)
    for file in files:
        if isinstance(found[file.path], OSError):
            report.wrong.append(f"{file.path} cannot be read ({found[file.path]})")
        elif found[file.path] != file.md5:
            report.wrong.append(f"{file.path} has md5 {found[file.path]}, not {file.md5}; {file.what}")
    for out, own in inside.items():
        now = {path.relative_to(out.path).as_posix(): str(found[path]) for path in own}
        if md5_of_listing(now) != out.md5:
            differ(out, now, members(cached_at(cache, out.md5), out.md5), report)
    report.files += len(found)
    report.size += sum(path.stat().st_size for path in found if path.exists())


def differ(out: Out, now: dict[str, str], listed: dict[str, str] | None, report: Report) -> None:
    """Says how the folder of an out differs from what was listed when it was made."""
    title = f"{out.path} is not what stage {out.stage} wrote"
    if listed is None:
        report.wrong.append(f"{title}: the md5 of its list is {md5_of_listing(now)}, not {out.md5}")
        return
    lines = [f"{name} is missing" for name in sorted(listed.keys() - now.keys())]
    lines += [f"{name} is none of its files" for name in sorted(now.keys() - listed.keys())]
    lines += [f"{name} was changed" for name in sorted(now.keys() & listed.keys()) if now[name] != listed[name]]
    rest = f" and {len(lines) - SHOWN} more" if len(lines) > SHOWN else ""
    report.wrong.append(f"{title}: {'; '.join(lines[:SHOWN])}{rest}; `dvc checkout` or `dvc repro` brings it back")
