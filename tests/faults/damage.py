"""Ways in which the bytes of a file go wrong."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np


def cut_off(content: bytes, generator: np.random.Generator) -> bytes:
    """The file ends at a random place."""
    return content[: generator.integers(len(content))]


def end_lost(content: bytes, generator: np.random.Generator) -> bytes:
    """Its last bytes are missing, up to 30."""
    return content[: -generator.integers(1, 31)]


def flipped(content: bytes, generator: np.random.Generator) -> bytes:
    """One bit of a random byte is another."""
    return changed(content, int(generator.integers(len(content))), generator)


def flipped_near_the_end(content: bytes, generator: np.random.Generator) -> bytes:
    """One bit in the last tenth, where a zip has its directory."""
    return changed(content, int(generator.integers(len(content) * 9 // 10, len(content))), generator)


def changed(content: bytes, place: int, generator: np.random.Generator) -> bytes:
    """The byte at a place with one bit turned."""
    return content[:place] + bytes([content[place] ^ (1 << int(generator.integers(8)))]) + content[place + 1 :]


def block_of_zeros(content: bytes, generator: np.random.Generator) -> bytes:
    """A block of the disk, 512 bytes, was not written."""
    start = int(generator.integers(len(content))) // 512 * 512
    return content[:start] + bytes(min(512, len(content) - start)) + content[start + 512 :]


def garbage_inside(content: bytes, generator: np.random.Generator) -> bytes:
    """Random bytes in a random place, 4096 of them as a database has in a page."""
    start = int(generator.integers(len(content))) // 4096 * 4096
    return content[:start] + generator.bytes(min(4096, len(content) - start)) + content[start + 4096 :]


def garbage(content: bytes, generator: np.random.Generator) -> bytes:
    """Random bytes of the same length."""
    return generator.bytes(len(content))


Damage = Callable[[bytes, np.random.Generator], bytes]
WAYS: tuple[Damage, ...] = (flipped, flipped_near_the_end, cut_off, end_lost, block_of_zeros, garbage)
PAGES: tuple[Damage, ...] = (cut_off, garbage_inside, garbage, block_of_zeros)  # of a database
