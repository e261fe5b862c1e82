from __future__ import annotations

import sqlite3

import pytest

from bridge.journal.rows import delete, insert


@pytest.fixture
def database() -> sqlite3.Connection:
    connection = sqlite3.connect(":memory:")
    connection.execute("CREATE TABLE t (a INTEGER PRIMARY KEY, b TEXT)")
    return connection


@pytest.mark.parametrize("count", [0, 1, 3, 4, 21, 64, 149])
def test_any_number_of_rows_is_written_and_removed(database: sqlite3.Connection, count: int) -> None:
    rows = [(number, str(number)) for number in range(count)]
    insert(database, "t (a, b)", "(?, ?)", rows)
    assert database.execute("SELECT a, b FROM t ORDER BY a").fetchall() == rows
    insert(database, "t (a, b)", "(?, ?)", [(a, "x") for a, _ in rows], "ON CONFLICT (a) DO UPDATE SET b = excluded.b")
    assert {b for (b,) in database.execute("SELECT b FROM t")} <= {"x"}
    delete(database, "t", "a", [a for a, _ in rows[1:]])
    assert [a for (a,) in database.execute("SELECT a FROM t")] == [a for a, _ in rows[:1]]
