"""A file from a URL: resumable, verified, and whole or absent."""

from __future__ import annotations

import hashlib
import os
import time
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


def fetch(url: str, path: Path, checksum: str, *, timeout: float = 60.0, attempts: int = 4, pause: float = 1.0) -> Path:
    """Makes `path` hold the bytes of `url` and returns it; a file that is there with the right checksum is kept.

    The bytes gather in PATH.part, which outlives an interrupted run: the next one asks for the rest only. `path`
    appears when the checksum is right; wrong bytes are removed. Processes that want the same file take turns.

    Args:
        url: http or https.
        path: where the file shall lie.
        checksum: "sha256:HEX" or "md5:HEX"; HEX may be the beginning of the digest, at least 8 digits.
        timeout: seconds without an answer or without data after which an attempt has failed.
        attempts: number of attempts before giving up.
        pause: seconds before the second attempt; it doubles with each.

    Raises:
        Fault: unreachable or wrong bytes; the message names URL and path and says what to do by hand.
    """
    if matches(path, checksum):
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_name(f".{path.name}.lock")):
        if matches(path, checksum):  # another process was faster
            return path
        part = path.with_name(f"{path.name}.part")
        reason = "no attempt"
        for attempt in range(attempts):
            if attempt:
                time.sleep(pause * 2 ** (attempt - 1))
            resumed = part.exists()
            try:
                transfer(url, part, timeout)
            except UnreachableError as error:
                reason = str(error)
                if error.final:
                    break
                continue
            if matches(part, checksum):
                part.replace(path)
                return path
            found = digest(part, checksum.partition(":")[0])
            part.unlink()
            reason = f"it gave other bytes, {found}; they were removed"
            if not resumed:  # a part of an older run may have been bad; fresh bytes stay wrong
                break
        raise Fault(by_hand(url, path, checksum, reason))


def matches(path: Path, checksum: str) -> bool:
    """Whether `path` is a file with that checksum (see `fetch`).

    Raises:
        ValueError: the checksum is malformed.
    """
    kind, _, value = checksum.partition(":")
    if kind not in ("sha256", "md5") or len(value) < 8 or set(value.lower()) - set("0123456789abcdef"):
        raise ValueError(f"{checksum!r} is no checksum; allowed are sha256:HEX and md5:HEX with 8 digits or more")
    return path.is_file() and digest(path, kind).startswith(checksum.lower())


def digest(path: Path, kind: str) -> str:
    """The file's checksum as text, `kind:HEX`."""
    with path.open("rb") as file:
        return f"{kind}:{hashlib.file_digest(file, kind).hexdigest()}"


def by_hand(url: str, path: Path, checksum: str, reason: str) -> str:
    """What a person reads when a download fails."""
    wrong = ""
    if path.is_file():
        wrong = f" (the file that is there now has another: {digest(path, checksum.partition(':')[0])})"
    return (
        f"cannot download {url}: {reason}. Run the command again (it goes on where it stopped), or put the file there "
        f"by hand: {path.absolute()}; the checksum decides, it begins with {checksum}{wrong}"
    )


def transfer(url: str, part: Path, timeout: float) -> None:
    """Appends to `part` what it lacks of `url`, or writes it anew where the server gives no ranges.

    Raises:
        UnreachableError: no connection, an error answer, or fewer bytes than announced; what came is kept.
    """
    have = part.stat().st_size if part.exists() else 0
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
    try:
        with requests.get(url, headers=headers, stream=True, timeout=timeout) as answer:
            if have and answer.status_code == requests.codes.requested_range_not_satisfiable:
                return  # nothing is left to fetch: the checksum tells whether the part is the file
            if not answer.ok:
                reason = f"the server answered {answer.status_code} {answer.reason}"
                raise UnreachableError(reason, answer.status_code not in RETRIED_CODES)
            resumes = answer.headers.get("Content-Range", "").startswith(f"bytes {have}-")
            start = have if answer.status_code == requests.codes.partial_content and resumes else 0
            length = answer.headers.get("Content-Length")
            total = start + int(length) if length else None
            save(answer, part, start, total)
    except RETRIED as error:
        raise UnreachableError(plain(error)) from None
    except requests.RequestException as error:
        raise UnreachableError(plain(error), final=True) from None
    if total is not None and part.stat().st_size < total:
        raise UnreachableError(f"the connection ended after {part.stat().st_size} of {total} bytes")


def save(answer: requests.Response, part: Path, start: int, total: int | None) -> None:
    """Writes an answer's body to `part` from byte `start` on, with a progress bar."""
    bar = tqdm(desc=part.stem, total=total, initial=start, unit="B", unit_scale=True, disable=None)
    with part.open("ab" if start else "wb") as file, bar:
        for chunk in answer.iter_content(CHUNK):
            file.write(chunk)
            bar.update(len(chunk))
        file.flush()
        os.fsync(file.fileno())


def plain(error: BaseException) -> str:
    """The innermost reason of a failed request: requests wraps the one a person can use several times."""
    reason: object = error
    for _ in range(5):
        inner = getattr(reason, "reason", None) or next(iter(getattr(reason, "args", ())), None)
        if not isinstance(inner, BaseException):
            break
        reason = inner
    return str(reason) or type(reason).__name__
