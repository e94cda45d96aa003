"""Settings of the machine, from the environment: they change no result, so they are no parameters."""

from __future__ import annotations

import os

from stages.core.faults import Fault


def count(name: str, default: int, meaning: str) -> int:
    """The positive whole number in environment variable `name`, `default` where it is unset or empty.

    Raises:
        Fault: it is something else; the message says what it means.
    """
    text = os.environ.get(name) or str(default)
    if not text.isdecimal() or int(text) == 0:
        raise Fault(f"{name} is {text!r}; it is the number of {meaning}, 1 or more")
    return int(text)
