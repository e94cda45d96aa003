"""A SQLite database that is whole, absent, empty, in use or damaged."""

import sqlite3
from contextlib import closing

import pytest

from stages.core.sqlite_file import refuse_damaged


@pytest.fixture
def database(tmp_path):
    """A file of a few pages."""
    path = tmp_path / "m.db"
    with closing(sqlite3.connect(path)) as opened:
        opened.execute("CREATE TABLE runs (name TEXT PRIMARY KEY)")
        opened.executemany("INSERT INTO runs VALUES (?)", [(f"run {number}" * 20,) for number in range(200)])
        opened.commit()
    return path


def test_a_whole_an_absent_and_an_empty_one(database, tmp_path):
    refuse_damaged(database)
    refuse_damaged(tmp_path / "absent.db")
    (tmp_path / "empty.db").touch()
    refuse_damaged(tmp_path / "empty.db")
    assert not (tmp_path / "absent.db").exists()


@pytest.mark.parametrize("kept", [10, 4096, 5000, -4096])
def test_one_that_is_cut_off(database, kept):
    database.write_bytes(database.read_bytes()[:kept])
    with pytest.raises(sqlite3.DatabaseError, match="the database is damaged; rename it, and a new one is made"):
        refuse_damaged(database)


@pytest.mark.parametrize("start", [0, 4096, 8192])
def test_a_page_of_garbage(database, start):
    content = bytearray(database.read_bytes())
    content[start : start + 4096] = b"\x5a" * 4096
    database.write_bytes(content)
    with pytest.raises(sqlite3.DatabaseError, match="the database is damaged"):
        refuse_damaged(database)


def test_one_that_another_process_writes_is_left_to_mlflow(database, monkeypatch):
    monkeypatch.setattr(
        sqlite3, "connect", lambda path, *_, connect=sqlite3.connect, **more: connect(path, uri=True, timeout=0)
    )
    with closing(sqlite3.connect(f"file:{database}")) as other:
        other.execute("BEGIN EXCLUSIVE")
        refuse_damaged(database)
