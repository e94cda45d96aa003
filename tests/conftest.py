"""What tests of several rooms share: a quiet environment, real data where there are some, and a tiny data set."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import numpy as np
import pytest

from stages.core.dataset import DatasetInfo, ImageRecord, write_header
from stages.core.files import write_zip

os.environ["DVC_NO_ANALYTICS"] = "1"
os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"  # this word exactly; 1 is ignored
for _name in ("DVC_ROOT", "DVC_STAGE", "DVC_EXP_NAME", "DVC_EXP_BASELINE_REV", "MLFLOW_TRACKING_URI", "NPROC"):
    os.environ.pop(_name, None)  # tests decide by themselves where they run

# A shell starts a background command with Ctrl-C ignored, and the commands that tests start would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)

SIDE = 32  # pixels
SPLITS = {"train": 6, "val": 3, "test": 3}  # images
PALETTE = ((0, 0, 0), (200, 0, 0), (0, 0, 200), *((0, 0, 0),) * 253)


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--whole`: every trial of tests/faults, for hours, and their counts; a sample of them without it."""
    parser.addoption("--whole", action="store_true", help="all trials of tests/faults, and their counts")


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder with real data sets; skips where there is none."""
    folder = os.environ.get("SIZEWISE_REAL_DATA")
    if not folder:
        pytest.skip("SIZEWISE_REAL_DATA names no folder with real data sets")
    return Path(folder)


@pytest.fixture(scope="session")
def tiny_dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """dataset.zip of 12 images (32 x 32), as `prepare` writes it; the images are in raw.zip beside it.

    Labels: 0 background, 1 a red square, 2 a blue disk; image n has the square if n is even, the disk if n is not a
    multiple of 4, so that some have both. The top row is void. Ids are SPLIT_N with n counted over all splits.
    """
    folder = tmp_path_factory.mktemp("tiny")
    info = DatasetInfo("tiny", ("background", "square", "disk"), True, PALETTE, (40, 80), "masks", True, True)
    records, tags = [], {}
    with write_zip(folder / "raw.zip") as raw, write_zip(folder / "dataset.zip") as archive:
        names = [split for split, count in SPLITS.items() for _ in range(count)]
        for number, split in enumerate(names):
            image_id = f"{split}_{number}"
            image, mask, instances = picture(number)
            raw.png(f"{image_id}.png", image)
            archive.png(f"masks/{image_id}.png", mask, PALETTE)
            archive.png(f"instances/{image_id}.png", instances)
            records.append(ImageRecord(image_id, (split,), f"raw:{image_id}.png", SIDE, SIDE, ""))
            tags[image_id] = [label for label in (1, 2) if (mask == label).any()]
        write_header(archive, info, records, tags)
    return folder / "dataset.zip"


def picture(number: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Image (32, 32, 3) uint8, mask (32, 32) uint8 and instance map (32, 32) uint16 of one image of `tiny_dataset`."""
    generator = np.random.default_rng(number)
    image = generator.integers(0, 100, (SIDE, SIDE, 3), dtype=np.uint8)
    mask, instances = np.zeros((SIDE, SIDE), np.uint8), np.zeros((SIDE, SIDE), np.uint16)
    rows, columns = np.mgrid[:SIDE, :SIDE]
    centre, radius = generator.integers(6, 11, 2), generator.integers(3, 6)
    shapes = {
        1: (abs(rows - centre[0]) <= radius) & (abs(columns - centre[1]) <= radius),
        2: (rows - centre[0] - 14) ** 2 + (columns - centre[1] - 14) ** 2 <= radius**2,
    }
    shown = [label for label, there in ((1, number % 2 == 0), (2, number % 4 != 0)) if there]
    for label in shown:
        image[shapes[label]] = np.array(PALETTE[label], np.uint8) // 2 + image[shapes[label]] // 2
        mask[shapes[label]], instances[shapes[label]] = label, label
    mask[0], instances[0] = 255, 65535
    return image, mask, instances
