"""Fixtures of downloads: the file server on loopback, and where a file shall lie."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.file_server import no_proxy, server

__all__ = ["no_proxy", "server", "target"]


@pytest.fixture
def target(tmp_path: Path) -> Path:
    """Where the file shall lie, in a folder that is not there yet."""
    return tmp_path / "downloads" / "file.bin"
