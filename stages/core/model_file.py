"""Models and checkpoints as files of `torch.save`: whole or absent, and the disk's own word where it takes no more."""

from __future__ import annotations

from pathlib import Path
from typing import Any, BinaryIO

import torch

from stages.core.files import atomic


def save_model(path: Path, state: dict[str, Any]) -> None:
    """`torch.save`, atomically, through an open file: to a path it would store the file's name in the bytes.

    Raises:
        OSError: the disk is full, or takes no file of that size.
    """
    with atomic(path) as temporary, temporary.open("wb") as file:
        sink = Sink(file)
        try:
            torch.save(state, sink)
        except RuntimeError:  # torch's zip writer ends with a position that is not the one expected, whatever failed
            if sink.failure is None:
                raise
            raise sink.failure from None


class Sink:
    """A file that remembers why a write failed."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.failure: OSError | None = None

    def write(self, content: bytes) -> int:
        """Writes to the file."""
        try:
            return self._file.write(content)
        except OSError as error:
            self.failure = error
            raise

    def flush(self) -> None:
        """Flushes the file."""
        try:
            self._file.flush()
        except OSError as error:
            self.failure = error
            raise
