"""What the tests of the score command share: two hand-made images, files of all kinds, and the command itself."""

from __future__ import annotations

import csv
import io
import json
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from stages.evaluate import score

V = 255
SIDE = 12


def png(array: np.ndarray, palette: bool = False) -> bytes:
    """A PNG of (H, W) uint8 or uint16, or of (H, W, 3) uint8."""
    image = Image.fromarray(array)
    if palette:
        image.putpalette(bytes(range(256)) * 3)
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def npy(array: np.ndarray) -> bytes:
    """A .npy file."""
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def folder(path: Path, files: Mapping[str, bytes]) -> Path:
    """A folder with the files."""
    for name, content in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(content)
    return path


def archive(path: Path, files: Mapping[str, bytes]) -> Path:
    """A zip with the files."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in files.items():
            file.writestr(name, content)
    return path


def painted(*blocks: tuple[int, int, int, int, int]) -> np.ndarray:
    """A map of 12 x 12 zeros with blocks (top, left, height, width, value), later ones on top."""
    result = np.zeros((SIDE, SIDE), np.uint8)
    for top, left, height, width, value in blocks:
        result[top : top + height, left : left + width] = value
    return result


def pngs(maps: dict[str, np.ndarray]) -> dict[str, bytes]:
    return {f"{stem}.png": png(array) for stem, array in maps.items()}


VOID_ROW = (11, 0, 1, SIDE, V)

# Image a: 6 px of class 1 (4 found), 16 px of class 1 (all found, and 4 px of background with them), 32 px of class 2
# (16 found), a row of void. Image b: 9 px of class 1, none found.
MASKS = {
    "a": painted((1, 1, 2, 3, 1), (1, 7, 4, 4, 1), (7, 1, 4, 8, 2), VOID_ROW),
    "b": painted((0, 0, 3, 3, 1)),
}
INSTANCES = {
    "a": painted((1, 1, 2, 3, 1), (1, 7, 4, 4, 2), (7, 1, 4, 8, 5), VOID_ROW),
    "b": painted((0, 0, 3, 3, 4)),
}
PREDICTIONS = {"a": painted((1, 1, 2, 2, 1), (1, 7, 5, 4, 1), (7, 1, 4, 4, 2)), "b": painted()}


class Command:
    """Runs the command in this process on sources that it writes; `out` and `err` are what it printed."""

    def __init__(self, path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.path, self._capsys = path, capsys
        self.json, self.csv = path / "out/scores.json", path / "out/instances.csv"
        self.out = self.err = ""

    def run(
        self,
        *options: str,
        pack: Callable[..., Path] = folder,
        masks: dict[str, bytes] | None = None,
        predictions: dict[str, bytes] | None = None,
        **others: dict[str, bytes],
    ) -> int:
        sources = {"masks": masks or pngs(MASKS), "predictions": predictions or pngs(PREDICTIONS)} | others
        arguments = [f"--json={self.json}", f"--csv={self.csv}", "--bootstrap=50", *options]
        for name, files in sources.items():
            arguments += [f"--{name}", str(pack(self.path / name, files))]
        return self.call(*arguments)

    def call(self, *arguments: str) -> int:
        try:
            score.main(arguments)
            code = 0
        except SystemExit as end:
            code = end.code
        self.out, self.err = self._capsys.readouterr()
        return code

    def scores(self) -> dict[str, Any]:
        def refuse(text: str) -> None:
            raise AssertionError(f"{text} is no JSON")

        return json.loads(self.json.read_text(), parse_constant=refuse)

    def rows(self) -> list[dict[str, str]]:
        with self.csv.open(newline="") as file:
            return list(csv.DictReader(file))

    def refuses(self, *texts: str) -> None:
        """The last run gave no output but these texts on stderr, and touched no file."""
        assert self.out == ""
        for text in texts:
            assert text in self.err
        assert not self.json.parent.exists()
