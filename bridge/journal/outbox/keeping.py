"""Events come into the outbox's database, get their final bytes there, and leave it when they are confirmed."""

from __future__ import annotations

import sqlite3
from collections.abc import Container, Mapping, Sequence

from bridge.core.outbox import Row
from bridge.core.young import Entry, Young, key_of, sequence_of, stream_of
from bridge.journal.engine import Change
from bridge.journal.outbox.bounds import Dropped, Excess, trim_rows
from bridge.journal.outbox.levels import keep_level
from bridge.journal.outbox.schema import EVENTS
from bridge.journal.rows import insert


def append(
    new_streams: Sequence[tuple[int, str, str]], entries: Sequence[Entry], excess: Excess | None = None
) -> Change[Dropped]:
    """Store events, and in the same commit drop what then is too much.

    `new_streams` are (number, sensor, epoch). Alarms are dropped when nothing else is left.
    """

    def change(db: sqlite3.Connection) -> Dropped:
        begin_streams(db, new_streams)
        insert(db, EVENTS, "(?, ?, ?, ?, ?, ?, ?, ?)", entries)
        return Dropped() if excess is None else trim_rows(db, excess)

    return change


def fold(young: Young, through: Mapping[int, int], applied: int) -> Change[tuple[int, int]]:
    """Take over what is still needed of the log, up to a serial, and forget what is confirmed: as `purge`.

    `young` must not change meanwhile.
    """

    def change(db: sqlite3.Connection) -> tuple[int, int]:
        begin_streams(db, young.streams)
        purged = purge_rows(db, through)
        keep_rows(db, young, through)
        db.execute("UPDATE log SET applied = ?", (applied,))
        return purged

    return change


def purge(through: Mapping[int, int]) -> Change[tuple[int, int]]:
    """Forget what is confirmed: streams up to a sequence. The result counts the events and bytes that went."""

    def change(db: sqlite3.Connection) -> tuple[int, int]:
        return purge_rows(db, through)

    return change


def seal(stream: int, rows: Sequence[Row]) -> Change[None]:
    """Give events their final bytes before they are sent for the first time."""

    def change(db: sqlite3.Connection) -> None:
        for row in rows:
            db.execute("UPDATE events SET body = ?, open = 2 WHERE key = ?", (row.body, key_of(stream, row.sequence)))

    return change


def begin_streams(db: sqlite3.Connection, streams: Sequence[tuple[int, str, str]]) -> None:
    """Have the streams, (number, sensor, epoch), that are not there yet."""
    for number, sensor, epoch in streams:
        db.execute(
            "INSERT INTO streams (number, sensor, epoch) SELECT ?, ?, number FROM epochs WHERE epoch = ?"
            " ON CONFLICT DO NOTHING",
            (number, sensor, epoch),
        )


def purge_rows(db: sqlite3.Connection, through: Mapping[int, int]) -> tuple[int, int]:
    """Forget streams up to a sequence, but not the levels they told; how many events and bytes went."""
    events = size = 0
    for number, sequence in through.items():
        span = (key_of(number, 0), key_of(number, sequence))
        level = db.execute(
            "SELECT body FROM events WHERE key > ? AND key <= ? AND level = 1 ORDER BY key DESC LIMIT 1", span
        ).fetchone()
        if level is not None:
            keep_level(db, number, level[0])
        count, length = db.execute(
            "SELECT count(*), coalesce(sum(length(body)), 0) FROM events WHERE key > ? AND key <= ? AND dropped = 0",
            span,
        ).fetchone()
        db.execute("DELETE FROM events WHERE key > ? AND key <= ?", span)
        db.execute("UPDATE streams SET confirmed = ? WHERE number = ?", (sequence, number))
        events, size = events + count, size + length
    return events, size


def keep_rows(db: sqlite3.Connection, young: Young, through: Mapping[int, int], unfit: Container[int] = ()) -> None:
    """Take over events behind what is confirmed, final bytes and levels, but of no unfit stream.

    What is there already was taken over by a commit that only seemed to fail.
    """
    entries = [
        entry
        for entry in young
        if stream_of(entry.key) not in unfit and sequence_of(entry.key) > through.get(stream_of(entry.key), 0)
    ]
    insert(db, EVENTS, "(?, ?, ?, ?, ?, ?, ?, ?)", entries, "ON CONFLICT DO NOTHING")
    for key, body in young.sealed.items():
        db.execute("UPDATE events SET body = ?, open = 2 WHERE key = ?", (body, key))
    for number, body in young.levels.items():
        if number not in unfit:
            keep_level(db, number, body)
