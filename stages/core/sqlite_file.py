"""Whether a SQLite database is whole."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path


def refuse_damaged(path: Path) -> None:
    """Refuses a damaged SQLite file, of which MLflow would use what is left; an absent or empty one is one to be made.

    Raises:
        DatabaseError: what is wrong, and what to do.
    """
    if not path.exists() or not path.stat().st_size:
        return
    try:
        with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=30)) as database:
            (found,) = database.execute("PRAGMA quick_check(1)").fetchone()
    except sqlite3.OperationalError:  # locked, or not to be opened: MLflow itself says which
        return
    except sqlite3.DatabaseError as error:
        found = str(error)
    if found != "ok":
        raise sqlite3.DatabaseError(f"the database is damaged; rename it, and a new one is made ({found})")
