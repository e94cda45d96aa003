"""How a program that is no stage ends when something is wrong; `stages.core.stage.run` is for those that are."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from stages.core.faults import Fault


@contextmanager
def exit_on_fault(name: str, code: int = 1, after: str = "") -> Iterator[None]:
    """Ends the program `name` with one message in place of a traceback if its block raises what a person can mend.

    Args:
        name: as the person knows the program.
        code: the exit code after a Fault or an OSError; after Ctrl-C it is 130.
        after: a last line of the message.
    """
    try:
        yield
    except (Fault, OSError) as error:
        text = "\n".join(filter(None, (f"sizewise {name}: {error}", after)))
        if code == 1:
            sys.exit(text)  # which Python prints
        sys.stderr.write(f"{text}\n")
        sys.exit(code)
    except KeyboardInterrupt:
        sys.stderr.write(f"sizewise {name}: stopped\n")
        sys.exit(130)
