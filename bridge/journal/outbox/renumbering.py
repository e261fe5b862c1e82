"""Numbering anew: what becomes of the events of an epoch whose numbers have been given twice."""

from __future__ import annotations

import sqlite3
from typing import Final

from bridge.core.event import renumbered
from bridge.core.young import Entry, key_of
from bridge.journal.outbox.schema import EVENTS, span_of
from bridge.journal.rows import insert

SET_BACK: Final = "set back "
"""Before a boot id: of this epoch numbers were given twice."""


def mark_set_back(db: sqlite3.Connection) -> None:
    """Note for the next start that these files are an old copy, and that its numbers have been given twice."""
    db.execute(
        "UPDATE epochs SET boot = ?1 || boot"
        " WHERE number = (SELECT max(number) FROM epochs) AND boot NOT LIKE ?1 || '%'",
        (SET_BACK,),
    )


def number_anew(db: sqlite3.Connection, old: int, new: int, epoch: str, *, same_boot: bool) -> None:
    """Move an epoch's events into a new one, with numbers of that, and the ids they had.

    Which of them are known outside is not known, so all are sent: at least once. Tombstones go: they speak of numbers.
    """
    streams = db.execute("SELECT number, sensor FROM streams WHERE epoch = ? ORDER BY number", (old,)).fetchall()
    begin: int = db.execute("SELECT coalesce(max(number), 0) + 1 FROM streams").fetchone()[0]
    for fresh, (number, sensor) in enumerate(streams, begin):
        rows = db.execute(
            "SELECT body, stored_at, monotonic, alarm, open, level FROM events"
            " WHERE key > ? AND key < ? AND dropped = 0 ORDER BY key",
            span_of(number),
        ).fetchall()
        db.execute("DELETE FROM events WHERE key > ? AND key < ?", span_of(number))
        db.execute("INSERT INTO streams (number, sensor, epoch) VALUES (?, ?, ?)", (fresh, sensor, new))
        entries = [
            Entry(
                key_of(fresh, sequence),
                renumbered(body, epoch, sequence),
                stored_at,
                # Of another boot nobody knows how long ago that was: as if all of it had been seen when this one began.
                monotonic if same_boot else 0.0,
                alarm,
                still_open if same_boot else 2,
                level,
            )
            for sequence, (body, stored_at, monotonic, alarm, still_open, level) in enumerate(rows, 1)
        ]
        insert(db, EVENTS, "(?, ?, ?, ?, ?, ?, ?, ?)", entries)
