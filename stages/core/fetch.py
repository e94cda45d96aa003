"""A file from a URL or its mirrors: resumable, verified, and whole or absent."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import requests
from filelock import FileLock
from tqdm import tqdm

from stages.core.faults import Fault

CHUNK = 1 << 18
RETRIED = (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError)
RETRIED_CODES = (408, 429, 500, 502, 503, 504)


class UnreachableError(Exception):
    """A transfer that failed; `final` if another attempt cannot help."""

    def __init__(self, reason: str, final: bool = False) -> None:
        super().__init__(reason)
        self.final = final


def downloads_folder(scratch: Path) -> Path:
    """Where downloads are kept, outside DVC's outs: `SIZEWISE_DOWNLOADS`, else a folder of `scratch`.

    `DVC_ROOT` is the main repository in `dvc exp run --temp` and in the queue too, so that those share its downloads.
    """
    chosen = os.environ.get("SIZEWISE_DOWNLOADS")
    return Path(chosen) if chosen else Path(os.environ.get("DVC_ROOT", ".")) / scratch / "downloads"


def fetch(
    url: str,
    path: Path,
    checksum: str,
    *,
    mirrors: Sequence[str] = (),
    size: int | None = None,
    timeout: float = 60.0,
    attempts: int = 4,
    pause: float = 1.0,
) -> Path:
    """Makes `path` hold the bytes of `url` and returns it; a file that is there with the right checksum is kept.

    The bytes gather in PATH.part, which outlives an interrupted run: the next one asks for the rest only, and so does a
    mirror after an address that broke off. `path` appears when the checksum is right; wrong bytes are removed.
    Processes that want the same file take turns.

    Args:
        url: http or https.
        path: where the file shall lie.
        checksum: "sha256:HEX" or "md5:HEX"; HEX may be the beginning of the digest, at least 8 digits.
        mirrors: other addresses of the same bytes, tried in turn when one does not give them.
        size: the file's bytes, where they are known: an answer of another length is not even read.
        timeout: seconds without an answer or without data after which an attempt has failed.
        attempts: number of attempts at an address before giving it up.
        pause: seconds before the second attempt; it doubles with each.

    Raises:
        Fault: unreachable, wrong bytes or no space; the message names URL and path and says what to do by hand.
    """
    if matches(path, checksum, size):
        return path
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_name(f".{path.name}.lock")):
            if matches(path, checksum, size):  # another process was faster
                return path
            part = path.with_name(f"{path.name}.part")
            reasons = {}
            for address in (url, *mirrors):
                reason = fetch_from(address, part, checksum, size, timeout, attempts, pause)
                if reason is None:
                    part.replace(path)
                    return path
                reasons[address] = reason
    except PermissionError as error:
        raise Fault(
            f"cannot write {error.filename}: {error.strerror}; SIZEWISE_DOWNLOADS names another folder"
        ) from None
    raise Fault(by_hand(reasons, path, checksum))


def fetch_from(
    url: str, part: Path, checksum: str, size: int | None, timeout: float, attempts: int, pause: float
) -> str | None:
    """Makes `part` hold the bytes of one address; returns why it did not, or None. The arguments are `fetch`'s.

    Raises:
        Fault: no space; another address would not help.
    """
    reason = "no attempt"
    for attempt in range(attempts):
        if attempt:
            time.sleep(pause * 2 ** (attempt - 1))
        resumed = part.exists()
        try:
            transfer(url, part, timeout, size)
        except UnreachableError as error:
            reason = str(error)
            if error.final:
                break
            continue
        if matches(part, checksum):
            return None
        found = digest(part, checksum.partition(":")[0])
        part.unlink()
        reason = f"it gave other bytes, {found}; they were removed"
        if not resumed:  # a part of an older run may have been bad; fresh bytes stay wrong
            break
    return reason


def matches(path: Path, checksum: str, size: int | None = None) -> bool:
    """Whether `path` is a file with that checksum (see `fetch`); of another size than `size` it is not even read.

    Raises:
        ValueError: the checksum is malformed.
    """
    kind, _, value = checksum.partition(":")
    if kind not in ("sha256", "md5") or len(value) < 8 or set(value.lower()) - set("0123456789abcdef"):
        raise ValueError(f"{checksum!r} is no checksum; allowed are sha256:HEX and md5:HEX with 8 digits or more")
    if not path.is_file() or size not in (None, path.stat().st_size):
        return False
    return digest(path, kind).startswith(checksum.lower())


def digest(path: Path, kind: str) -> str:
    """The file's checksum as text, `kind:HEX`; a progress bar shows when that takes more than a second."""
    state = hashlib.new(kind, usedforsecurity=False)
    size = path.stat().st_size
    bar = tqdm(desc=f"{kind} of {path.name}", total=size, unit="B", unit_scale=True, disable=None, delay=1, leave=False)
    with path.open("rb") as file, bar:
        while chunk := file.read(CHUNK):
            state.update(chunk)
            bar.update(len(chunk))
    return f"{kind}:{state.hexdigest()}"


def by_hand(reasons: Mapping[str, str], path: Path, checksum: str) -> str:
    """What a person reads when a download fails; `reasons` by address."""
    wrong = ""
    if path.is_file():
        wrong = f" (the file that is there now has another: {digest(path, checksum.partition(':')[0])})"
    failed = ", and ".join(f"{url}: {reason}" for url, reason in reasons.items())
    return (
        f"cannot download {failed}. Run the command again (it goes on where it stopped), or put the file there "
        f"by hand: {path.absolute()}; the checksum decides, it begins with {checksum}{wrong}"
    )


def transfer(url: str, part: Path, timeout: float, size: int | None = None) -> None:
    """Appends to `part` what it lacks of `url`, or writes it anew where the server gives no ranges.

    Raises:
        UnreachableError: no connection, an error answer, another length than `size`, or fewer bytes than announced;
            what came is kept.
        Fault: no space on the disk; what came is kept.
    """
    have = part.stat().st_size if part.exists() else 0
    if size is not None and have > size:  # no beginning of the file
        part.unlink()
        have = 0
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
    try:
        with requests.get(url, headers=headers, stream=True, timeout=timeout) as answer:
            if have and answer.status_code == requests.codes.requested_range_not_satisfiable:
                check_length(answer.headers.get("Content-Range", ""), size)
                return  # nothing is left to fetch: the checksum tells whether the part is the file
            if not answer.ok:
                reason = f"the server answered {answer.status_code} {answer.reason}"
                raise UnreachableError(reason, answer.status_code not in RETRIED_CODES)
            resumes = answer.headers.get("Content-Range", "").startswith(f"bytes {have}-")
            start = have if answer.status_code == requests.codes.partial_content and resumes else 0
            length = answer.headers.get("Content-Length")
            total = start + int(length) if length else size
            if size is not None and total != size:
                raise UnreachableError(f"it offers a file of {total} bytes instead of {size}", final=True)
            if total is not None:
                check_space(part, total - have)
            save(answer, part, start, total)
    except RETRIED as error:
        raise UnreachableError(plain(error)) from None
    except requests.RequestException as error:
        raise UnreachableError(plain(error), final=True) from None
    if total is not None and part.stat().st_size < total:
        raise UnreachableError(f"the connection ended after {part.stat().st_size} of {total} bytes")


def check_length(header: str, size: int | None) -> None:
    """Refuses an address whose file ends before the part does and is not the one that is wanted.

    Args:
        header: Content-Range of an answer 416, `bytes */LENGTH`; a server may leave it out.
        size: the file's bytes, where they are known.

    Raises:
        UnreachableError: the length is another one.
    """
    length = header.removeprefix("bytes */")
    if size is not None and length.isdecimal() and int(length) != size:
        raise UnreachableError(f"it offers a file of {length} bytes instead of {size}", final=True)


def check_space(part: Path, more: int) -> None:
    """Refuses to begin what cannot end.

    Raises:
        Fault: the disk has fewer than `more` bytes left.
    """
    free = shutil.disk_usage(part.parent).free
    if more > free:
        raise Fault(
            f"{part.parent.absolute()} has {free / 1e9:.2f} GB free, but {part.stem} needs {more / 1e9:.2f} GB more; "
            f"free some, or let SIZEWISE_DOWNLOADS name a folder on another disk"
        )


def save(answer: requests.Response, part: Path, start: int, total: int | None) -> None:
    """Writes an answer's body to `part` from byte `start` on, at most up to byte `total`, with a progress bar.

    Raises:
        Fault: the disk is full; what came is kept.
    """
    bar = tqdm(desc=part.stem, total=total, initial=start, unit="B", unit_scale=True, disable=None)
    try:
        with part.open("ab" if start else "wb") as file, bar:
            for chunk in answer.iter_content(CHUNK):
                file.write(chunk)
                bar.update(len(chunk))
                if total is not None and file.tell() > total:
                    break  # more than announced: the checksum will refuse it, and the disk is not filled
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise Fault(
            f"the disk is full: {part.absolute()} has {part.stat().st_size}"
            f"{'' if total is None else f' of {total}'} bytes, which are kept; free some space and run the command "
            f"again (it goes on there), or let SIZEWISE_DOWNLOADS name a folder on another disk"
        ) from None


def plain(error: BaseException) -> str:
    """The innermost reason of a failed request: requests wraps the one a person can use several times."""
    reason: object = error
    for _ in range(5):
        inner = getattr(reason, "reason", None) or next(iter(getattr(reason, "args", ())), None)
        if not isinstance(inner, BaseException):
            break
        reason = inner
    return str(reason) or type(reason).__name__
