"""Accepted asynchronous calls, kept in a journal until they have ended, so that a kill of the gateway loses none."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import orjson

MIGRATIONS: Final[Sequence[str]] = (
    """
    CREATE TABLE calls (
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        id TEXT NOT NULL,
        function TEXT NOT NULL,
        target TEXT NOT NULL,
        headers TEXT NOT NULL,         -- [[name, value], ...]
        body BLOB NOT NULL,
        callback TEXT,
        attempts INTEGER NOT NULL DEFAULT 0
    );
    """,
)


@dataclass(frozen=True, slots=True)
class AcceptedCall:
    """A call that was answered with 202. `attempts` that have ended; `number` is 0 until it is stored."""

    id: str
    function: str
    target: str
    headers: tuple[tuple[str, str], ...]
    body: bytes
    callback: str | None = None
    attempts: int = 0
    number: int = 0


def insert(database: sqlite3.Connection, call: AcceptedCall) -> int:
    """Store a new call; its number."""
    cursor = database.execute(
        "INSERT INTO calls (id, function, target, headers, body, callback) VALUES (?, ?, ?, ?, ?, ?)",
        (call.id, call.function, call.target, orjson.dumps(call.headers).decode(), call.body, call.callback),
    )
    number = cursor.lastrowid
    assert number is not None
    return number


def note_attempts(database: sqlite3.Connection, number: int, attempts: int) -> None:
    """How many attempts have ended."""
    database.execute("UPDATE calls SET attempts = ? WHERE number = ?", (attempts, number))


def remove(database: sqlite3.Connection, number: int) -> None:
    """The call has ended, one way or the other."""
    database.execute("DELETE FROM calls WHERE number = ?", (number,))


def load(database: sqlite3.Connection) -> list[AcceptedCall]:
    """Every call that has not ended, in the order of acceptance."""
    rows = database.execute(
        "SELECT id, function, target, headers, body, callback, attempts, number FROM calls ORDER BY number"
    )
    return [
        AcceptedCall(row[0], row[1], row[2], tuple((key, value) for key, value in orjson.loads(row[3])), *row[4:])
        for row in rows
    ]
