"""The colours in which label maps are seen."""

from __future__ import annotations


def voc_palette() -> tuple[tuple[int, int, int], ...]:
    """The colour map of PASCAL VOC: 256 RGB triples, label 0 black, 255 a light beige.

    Source: VOClabelcolormap of the VOC development kit. Of a label's bits b0 b1 b2 ..., b0 b3 b6 make the red value,
    b1 b4 b7 the green and b2 b5 the blue one, each from the highest bit down, so that near labels differ most.
    """
    return tuple(
        tuple(sum(((label >> (3 * bit + channel)) & 1) << (7 - bit) for bit in range(8)) for channel in range(3))
        for label in range(256)
    )
