"""Many rows in few statements: each gives up the interpreter's lock, and must win it back from a busy loop."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any, Final

_SIZES: Final = (64, 16, 4, 1)
"""So few different statements that SQLite's module keeps them all prepared."""


def insert(database: sqlite3.Connection, into: str, row: str, rows: Sequence[Sequence[Any]], then: str = "") -> None:
    """INSERT `into` VALUES, for each of the rows `row` (with its placeholders in brackets), and `then` what follows."""
    if len(rows) == 1:  # the most frequent, and one that somebody may wait for
        database.execute(f"INSERT INTO {into} VALUES {row} {then}", rows[0])
        return
    for chunk in _chunks(rows):
        database.execute(f"INSERT INTO {into} VALUES {', '.join([row] * len(chunk))} {then}", [*chain(*chunk)])


def delete(database: sqlite3.Connection, table: str, column: str, values: Sequence[Any]) -> None:
    """DELETE the rows that have one of these values in a column."""
    for chunk in _chunks(values):
        database.execute(f"DELETE FROM {table} WHERE {column} IN ({', '.join('?' * len(chunk))})", list(chunk))


def _chunks(rows: Sequence[Any]) -> Iterator[Sequence[Any]]:
    begin = 0
    for size in _SIZES:
        while len(rows) - begin >= size:
            yield rows[begin : begin + size]
            begin += size
