"""The one exception that is meant for the person at the terminal."""

LONGEST = 1000  # characters of a listed fault: a file may call an image by a megabyte


class Fault(Exception):
    """Something the user can mend: the message says what is wrong, where, and what to do.

    A stage that ends with a Fault prints the message without a traceback and exits with 1.
    """


def combine(title: str, faults: list[str], most: int = 50) -> Fault:
    """One Fault for all `faults`, at most `most` of them listed, so that a person mends them in one go."""
    listed = "\n".join(f"  - {shortened(fault)}" for fault in faults[:most])
    rest = f"\n  ... and {len(faults) - most} more" if len(faults) > most else ""
    return Fault(f"{title} ({len(faults)} fault{'s' if len(faults) > 1 else ''}):\n{listed}{rest}")


def shortened(fault: str) -> str:
    """A line that fits a screen: of a long one the beginning and the end, which says where the fault is."""
    return fault if len(fault) <= LONGEST else f"{fault[: LONGEST // 2]} ... {fault[-LONGEST // 2 :]}"
