"""COCO's run-length encoding: counts of pixels outside and inside an object in turn, down the columns of the image.

Source: the format of pycocotools' maskApi (Lin et al., Microsoft COCO, arXiv 1405.0312). A compressed encoding writes
each count, from the fourth on as the difference to the one two places before, in characters of 6 bits: 48 plus 5 bits
of the number, the low ones first, and 32 where more follow; the last character's highest number bit is the sign.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

FIRST_CHARACTER, MORE, SIGN, BITS = 48, 0x20, 0x10, 5
LONGEST = 8  # characters of a number: 40 bits, beyond any image


def decode_strings(strings: Sequence[bytes]) -> list[np.ndarray]:
    """The counts, int64, of each compressed encoding.

    pycocotools reads such text without bounds, so it is taken apart here.

    Raises:
        ValueError: a character that the format lacks, or an end within a number.
    """
    lengths = np.array([len(text) for text in strings], np.int64)
    letters = np.frombuffer(b"".join(strings), np.uint8).astype(np.int64) - FIRST_CHARACTER
    if not letters.size:
        return [np.zeros(0, np.int64) for _ in strings]
    if letters.min() < 0 or letters.max() >= 2 * MORE:
        raise ValueError("its RLE has characters beyond those of the format, '0' to 'o'")
    ends = np.flatnonzero(letters & MORE == 0)
    borders = np.cumsum(lengths)
    if (letters[borders[lengths > 0] - 1] & MORE).any():
        raise ValueError("its RLE ends within a number")
    begins = np.concatenate([[0], ends[:-1] + 1])
    width = ends - begins + 1
    if width.max() > LONGEST:
        raise ValueError("its RLE has a number that no image needs")
    place = np.arange(letters.size) - np.repeat(begins, width)
    values = np.add.reduceat((letters & (MORE - 1)) << (BITS * place), begins)
    values -= np.where(letters[ends] & SIGN, 1 << (BITS * width), 0)
    pieces = np.split(values, np.searchsorted(ends, borders[:-1]))
    for piece in pieces:
        piece[1::2] = np.cumsum(piece[1::2])
        piece[2::2] = np.cumsum(piece[2::2])
    return pieces


def check_counts(counts: np.ndarray, height: int, width: int) -> None:
    """Refuses counts that do not cover the image exactly.

    Raises:
        ValueError: says by how much.
    """
    if counts.size and counts.min() < 0:
        raise ValueError("its RLE has a negative count")
    if counts.size and counts.max() > height * width:  # their sum might be too large for a number
        raise ValueError(f"its RLE has a count of {counts.max()}; the image has {height * width} pixels")
    covered = int(counts.sum())
    if covered != height * width:
        raise ValueError(f"its RLE covers {covered} pixels; the image has {height} x {width} = {height * width}")


def paint(counts: Sequence[np.ndarray], values: Sequence[int], height: int, width: int) -> np.ndarray:
    """(height, width) uint16: each encoding's inside in its value, later ones over earlier ones, 0 elsewhere.

    Painted are the stretches between the ends of all runs, few beside the pixels, and then as many pixels as each has.
    """
    edges = [np.cumsum(one)[: len(one) // 2 * 2] for one in counts]  # begin, end, begin, end, ...
    points, place = np.unique(np.concatenate([*edges, [0, height * width]]), return_inverse=True)
    first, last = place[:-2:2], place[1:-2:2]
    spans = last - first
    stretches = np.zeros(len(points) - 1, np.uint16)
    value = np.repeat(np.array(values, np.uint16), [len(one) // 2 for one in edges])
    # of several values for a stretch NumPy keeps the last one
    stretches[np.repeat(first - np.cumsum(spans) + spans, spans) + np.arange(spans.sum())] = np.repeat(value, spans)
    flat = np.repeat(stretches, np.diff(points))
    return np.ascontiguousarray(flat.reshape(width, height).T)
