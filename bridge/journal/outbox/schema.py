"""The tables of the outbox's database, and how the rows of a stream are found in them."""

from __future__ import annotations

import sqlite3
from typing import Final

from bridge.core.young import key_of, sequence_of

MIGRATIONS: Final = (
    """
    CREATE TABLE owner (site TEXT NOT NULL, node TEXT NOT NULL);
    CREATE TABLE epochs (number INTEGER PRIMARY KEY, epoch TEXT NOT NULL UNIQUE, boot TEXT NOT NULL);
    CREATE TABLE streams (
        number INTEGER PRIMARY KEY,
        sensor TEXT NOT NULL,
        epoch INTEGER NOT NULL REFERENCES epochs (number),
        confirmed INTEGER NOT NULL DEFAULT 0,
        UNIQUE (sensor, epoch)
    );
    CREATE TABLE events (
        key INTEGER PRIMARY KEY,         -- stream number * 2^40 + sequence
        body BLOB NOT NULL,
        stored_at REAL NOT NULL,         -- wall time, Unix seconds
        monotonic REAL NOT NULL,         -- of the boot of the stream's epoch, seconds
        alarm INTEGER NOT NULL,
        open INTEGER NOT NULL,           -- 0 stored by a good clock, 1 the time may still be corrected, 2 no more
        level INTEGER NOT NULL,          -- tells a level of the sensor, not a fault
        dropped INTEGER NOT NULL         -- a tombstone for so many events, up to this sequence
    );
    CREATE TABLE levels (sensor TEXT PRIMARY KEY, name TEXT NOT NULL, value TEXT NOT NULL, time TEXT NOT NULL);
    CREATE TABLE drops (reason TEXT PRIMARY KEY, events INTEGER NOT NULL);
    """,
    """
    CREATE TABLE log (
        identity BLOB NOT NULL,          -- of the log that belongs to this file
        applied INTEGER NOT NULL         -- up to this serial of it, everything is in here
    );
    """,
)


EVENTS: Final = "events (key, body, stored_at, monotonic, alarm, open, level, dropped)"
"""Table and columns, in the order of an Entry."""


def span_of(stream: int) -> tuple[int, int]:
    """All keys of a stream stand between these two."""
    return key_of(stream, 0), key_of(stream + 1, 0)


def last_of(db: sqlite3.Connection, stream: int) -> int:
    """The last sequence of a stream that has a row; 0 without any."""
    key = db.execute("SELECT max(key) FROM events WHERE key > ? AND key < ?", span_of(stream)).fetchone()[0]
    return 0 if key is None else sequence_of(key)
