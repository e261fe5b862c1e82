"""What the outbox's database is asked: the next events of a stream, and which is the oldest."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable

from bridge.core.outbox import Row
from bridge.core.young import key_of, sequence_of
from bridge.journal.outbox.schema import span_of


def page(stream: int, after: int, limit: int) -> Callable[[sqlite3.Connection], list[Row]]:
    """The next rows of a stream behind a sequence, in order: events and tombstones."""

    def query(db: sqlite3.Connection) -> list[Row]:
        rows = db.execute(
            "SELECT key, body, open, monotonic FROM events WHERE key > ? AND key < ? ORDER BY key LIMIT ?",
            (key_of(stream, after), key_of(stream + 1, 0), limit),
        )
        return [Row(sequence_of(key), body, open_ == 1, at) for key, body, open_, at in rows]

    return query


def oldest(db: sqlite3.Connection) -> tuple[float, float, str] | None:
    """The event stored first, by the start of each stream: (wall time, monotonic time, epoch)."""
    found: list[tuple[float, float, str]] = []
    for number, epoch in db.execute("SELECT s.number, e.epoch FROM streams s JOIN epochs e ON e.number = s.epoch"):
        row = db.execute(
            "SELECT stored_at, monotonic FROM events WHERE key > ? AND key < ? ORDER BY key LIMIT 1",
            span_of(number),
        ).fetchone()
        if row is not None:
            found.append((*row, epoch))
    return min(found, default=None)
