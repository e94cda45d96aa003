"""The pictures of a room that ran: which images, and what stands for a missing one."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from PIL import Image

from stages.core.stage import Stage
from stages.evaluate.__main__ import main


def test_the_room_draws_val_with_every_column(build: Callable[..., Stage]) -> None:
    stage = build(samples=4)
    main(stage)
    names = [path.name for path in sorted(stage.outs["samples"].glob("[0-9]*"))]
    assert names == ["00_val_000.png", "01_val_002.png", "02_val_004.png", "03_val_006.png"]
    picture = np.array(Image.open(stage.outs["samples"] / names[0]))
    assert (picture == 238).all(2).sum() < 100  # no tile is missing; letters have a few such pixels


def test_what_is_not_predicted_is_a_tile_that_says_none(build: Callable[..., Stage]) -> None:
    stage = build(predicted=("test",), samples=1)
    main(stage)
    picture = np.array(Image.open(stage.outs["samples"] / "00_val_000.png"))
    missing = (picture == 238).all(2)
    assert missing[:, -176:].sum() > 20_000  # 24 x 24 pixels are shown as 168 x 168
    assert missing[:, :-176].sum() < 100
