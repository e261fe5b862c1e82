"""The agent's database: events that stay, their numbering, each sensor's last level.

Events come here when the log in front of it (`core/young.py`) is folded into it, or when a bound is reached.
Everything here is a change or a query for the engine. How it spares SD cards: an event is one row at the end of its
stream's run in one table, without any index, and its sequence and level are read from the rows themselves.
"""

from __future__ import annotations

import heapq
import sqlite3
from collections import Counter
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import groupby
from operator import itemgetter
from typing import Any, Final, Literal, TypeAlias

import orjson

from bridge.core.event import Value
from bridge.core.outbox import Row
from bridge.core.tombstone import Reason, Tombstone
from bridge.core.young import Entry, Young, key_of, sequence_of, stream_of
from bridge.errors import JournalError
from bridge.journal.engine import Change
from bridge.journal.rows import insert

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

_EVENTS: Final = "events (key, body, stored_at, monotonic, alarm, open, level, dropped)"


@dataclass(frozen=True, slots=True)
class Level:
    """The last level a sensor told, for comparing with what is found at start."""

    name: str
    value: Value
    time: datetime


@dataclass(frozen=True, slots=True)
class StoredStream:
    """One sensor's events of one epoch, as found at start."""

    number: int
    sensor: str
    epoch: str
    current: bool
    confirmed: int
    last: int


@dataclass(frozen=True, slots=True)
class Contents:
    """What an outbox holds when it is opened. `streams` stand in the order in which they are to be sent."""

    epoch: str
    streams: tuple[StoredStream, ...]
    levels: dict[str, Level]
    events: int
    bytes: int
    next_stream: int
    drops: dict[str, int]
    lost: dict[str, int]
    """By sensor, events of the log before which others are missing; nothing is promised of them any more."""


@dataclass(frozen=True, slots=True)
class Inherited:
    """What the log of the life before has left: its records up to the serial `applied`; `whole` if none is missing."""

    identity: bytes
    young: Young
    applied: int
    whole: bool


Bury: TypeAlias = Callable[[int, Tombstone], bytes]
"""Encodes the tombstone of a stream; called on the writer's thread."""


@dataclass(frozen=True, slots=True)
class Excess:
    """How much must go, and which end of the queue pays: `oldest`, or `newest` (what comes in now)."""

    events: int
    bytes: int
    policy: Literal["oldest", "newest"]
    bury: Bury


@dataclass(frozen=True, slots=True)
class Dropped:
    """What was dropped: runs of (stream, first, last), counted in events and bytes."""

    runs: tuple[tuple[int, int, int], ...] = ()
    events: int = 0
    bytes: int = 0
    reasons: Mapping[str, int] = field(default_factory=dict)


def log_of(db: sqlite3.Connection) -> tuple[bytes, int] | None:
    """The identity of the log that belongs to this database, and up to which serial everything of it is in here."""
    row: tuple[bytes, int] | None = db.execute("SELECT identity, applied FROM log").fetchone()
    return row


def begin(site: str, node: str, boot: str, new_epoch: str, inherited: Inherited) -> Change[Contents]:
    """Take possession at start, of what the log holds too, and say what is there.

    A new epoch begins when the outbox is new, when something of the log is lost, and when the machine has been started
    since: the disk may have forgotten sequences that are known outside, and a number must never be given twice.
    Raises JournalError when the outbox belongs to another node and still holds events of it.
    """

    def change(db: sqlite3.Connection) -> Contents:
        db.execute("DELETE FROM log")
        db.execute("INSERT INTO log VALUES (?, ?)", (inherited.identity, inherited.applied))
        lost = _inherit(db, inherited)
        _own(db, site, node)
        newest = db.execute("SELECT number, epoch, boot FROM epochs ORDER BY number DESC LIMIT 1").fetchone()
        if newest is None or newest[2] != boot or lost or not inherited.whole:
            number = newest[0] + 1 if newest else 1
            db.execute("INSERT INTO epochs VALUES (?, ?, ?)", (number, new_epoch, boot))
            newest = (number, new_epoch, boot)
        current = newest[0]
        # Levels first: they are still to be found in rows of the streams that go now.
        levels = _levels(db)
        empty = (
            "NOT EXISTS (SELECT 1 FROM events WHERE key > (streams.number << 40) AND key < (streams.number + 1 << 40))"
        )
        next_stream: int = db.execute("SELECT coalesce(max(number), 0) + 1 FROM streams").fetchone()[0]
        db.execute(f"DELETE FROM streams WHERE epoch <> ? AND {empty}", (current,))  # noqa: S608 - no input in it
        db.execute("DELETE FROM epochs WHERE number <> ? AND number NOT IN (SELECT epoch FROM streams)", (current,))
        streams = tuple(
            StoredStream(number, sensor, epoch, at == current, confirmed, max(confirmed, _last(db, number)))
            for number, sensor, epoch, at, confirmed in db.execute(
                "SELECT s.number, sensor, e.epoch, s.epoch, confirmed FROM streams s "
                "JOIN epochs e ON e.number = s.epoch ORDER BY s.epoch, s.number"
            ).fetchall()
        )
        count, size = db.execute(
            "SELECT count(*), coalesce(sum(length(body)), 0) FROM events WHERE dropped = 0"
        ).fetchone()
        drops = dict(db.execute("SELECT reason, events FROM drops").fetchall())
        return Contents(newest[1], streams, levels, count, size, next_stream, drops, lost)

    return change


def append(
    new_streams: Sequence[tuple[int, str, str]], entries: Sequence[Entry], excess: Excess | None = None
) -> Change[Dropped]:
    """Store events, and in the same commit drop what then is too much.

    `new_streams` are (number, sensor, epoch). Alarms are dropped when nothing else is left.
    """

    def change(db: sqlite3.Connection) -> Dropped:
        _begin_streams(db, new_streams)
        insert(db, _EVENTS, "(?, ?, ?, ?, ?, ?, ?, ?)", entries)
        return Dropped() if excess is None else _trim(db, excess)

    return change


def fold(young: Young, through: Mapping[int, int], applied: int) -> Change[tuple[int, int]]:
    """Take over what is still needed of the log, up to a serial, and forget what is confirmed: as `purge`.

    `young` must not change meanwhile.
    """

    def change(db: sqlite3.Connection) -> tuple[int, int]:
        _begin_streams(db, young.streams)
        purged = _purge(db, through)
        _keep(db, young, through)
        db.execute("UPDATE log SET applied = ?", (applied,))
        return purged

    return change


def purge(through: Mapping[int, int]) -> Change[tuple[int, int]]:
    """Forget what is confirmed: streams up to a sequence. The result counts the events and bytes that went."""

    def change(db: sqlite3.Connection) -> tuple[int, int]:
        return _purge(db, through)

    return change


def seal(stream: int, rows: Sequence[Row]) -> Change[None]:
    """Give events their final bytes before they are sent for the first time."""

    def change(db: sqlite3.Connection) -> None:
        for row in rows:
            db.execute("UPDATE events SET body = ?, open = 2 WHERE key = ?", (row.body, key_of(stream, row.sequence)))

    return change


def expire(*, monotonic: float, wall: float | None, current_epoch: str, bury: Bury) -> Change[Dropped]:
    """Drop what was stored before a moment: this boot's events by its monotonic clock, older boots' by wall time.

    Without `wall` (a clock that cannot be believed yet) events of older boots stay.
    """

    def change(db: sqlite3.Connection) -> Dropped:
        found: list[tuple[int, int]] = []
        for number, epoch in db.execute(
            "SELECT s.number, e.epoch FROM streams s JOIN epochs e ON e.number = s.epoch"
        ).fetchall():
            column, limit = ("monotonic", monotonic) if epoch == current_epoch else ("stored_at", wall)
            if limit is None:
                continue
            # The wall clock was wrong when these were stored, so their age is not known.
            believed = "" if column == "monotonic" else "AND open = 0"
            rows = db.execute(
                f"SELECT key, length(body), {column} FROM events "  # noqa: S608 - one of two words
                f"WHERE key > ? AND key < ? AND dropped = 0 {believed} ORDER BY key",
                _span(number),
            )
            for key, length, moment in rows:
                if moment >= limit:
                    break
                found.append((key, length))
        return _bury(db, found, "age", bury)

    return change


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
            _span(number),
        ).fetchone()
        if row is not None:
            found.append((*row, epoch))
    return min(found, default=None)


def _own(db: sqlite3.Connection, site: str, node: str) -> None:
    owner = db.execute("SELECT site, node FROM owner").fetchone()
    if owner == (site, node):
        return
    if owner is not None:
        count = db.execute("SELECT count(*) FROM events").fetchone()[0]
        if count:
            raise JournalError(
                f"the outbox belongs to node {owner[1]!r} of site {owner[0]!r} and holds {count} events of it that "
                f"are not confirmed, but this is node {node!r} of site {site!r}; start once under the old name so that "
                "they are delivered, or remove the file to give them up"
            )
        for table in ("owner", "streams", "epochs", "levels"):
            db.execute(f"DELETE FROM {table}")  # noqa: S608 - our own names
    db.execute("INSERT INTO owner VALUES (?, ?)", (site, node))


def _begin_streams(db: sqlite3.Connection, streams: Sequence[tuple[int, str, str]]) -> None:
    for number, sensor, epoch in streams:
        db.execute(
            "INSERT INTO streams (number, sensor, epoch) SELECT ?, ?, number FROM epochs WHERE epoch = ?"
            " ON CONFLICT DO NOTHING",
            (number, sensor, epoch),
        )


def _purge(db: sqlite3.Connection, through: Mapping[int, int]) -> tuple[int, int]:
    events = size = 0
    for number, sequence in through.items():
        span = (key_of(number, 0), key_of(number, sequence))
        level = db.execute(
            "SELECT body FROM events WHERE key > ? AND key <= ? AND level = 1 ORDER BY key DESC LIMIT 1", span
        ).fetchone()
        if level is not None:
            _keep_level(db, number, level[0])
        count, length = db.execute(
            "SELECT count(*), coalesce(sum(length(body)), 0) FROM events WHERE key > ? AND key <= ? AND dropped = 0",
            span,
        ).fetchone()
        db.execute("DELETE FROM events WHERE key > ? AND key <= ?", span)
        db.execute("UPDATE streams SET confirmed = ? WHERE number = ?", (sequence, number))
        events, size = events + count, size + length
    return events, size


def _keep(db: sqlite3.Connection, young: Young, through: Mapping[int, int], unfit: Container[int] = ()) -> None:
    """Take over events behind what is confirmed, final bytes and levels, but of no unfit stream.

    What is there already was taken over by a commit that only seemed to fail.
    """
    entries = [
        entry
        for entry in young
        if stream_of(entry.key) not in unfit and sequence_of(entry.key) > through.get(stream_of(entry.key), 0)
    ]
    insert(db, _EVENTS, "(?, ?, ?, ?, ?, ?, ?, ?)", entries, "ON CONFLICT DO NOTHING")
    for key, body in young.sealed.items():
        db.execute("UPDATE events SET body = ?, open = 2 WHERE key = ?", (body, key))
    for number, body in young.levels.items():
        if number not in unfit:
            _keep_level(db, number, body)


def _keep_level(db: sqlite3.Connection, stream: int, body: bytes) -> None:
    db.execute(
        "INSERT OR REPLACE INTO levels SELECT sensor, ?, ?, ? FROM streams WHERE number = ?",
        (*_level_row(body), stream),
    )


def _inherit(db: sqlite3.Connection, inherited: Inherited) -> dict[str, int]:
    """Take over the log of the life before; the events that do not follow on what is here are counted, and go.

    The log is never on the disk before what it relies on, so there are none unless the disk has lied about that. But
    one such event would never be confirmed, and all events of its sensor would wait behind it for ever.
    """
    young = inherited.young
    _begin_streams(db, young.streams)
    lost: dict[str, int] = {}
    unfit: set[int] = set()
    for number, entries in groupby(young, lambda entry: stream_of(entry.key)):
        stream = db.execute("SELECT confirmed FROM streams WHERE number = ?", (number,)).fetchone()
        known = 0 if stream is None else max(stream[0], young.through.get(number, 0), _last(db, number))
        first, *others = entries
        if stream is None or sequence_of(first.key) > known + 1:
            lost[first.sensor] = lost.get(first.sensor, 0) + 1 + len(others)
            unfit.add(number)
    _purge(db, {number: sequence for number, sequence in young.through.items() if number not in unfit})
    _keep(db, young, young.through, unfit)
    return lost


def _last(db: sqlite3.Connection, stream: int) -> int:
    key = db.execute("SELECT max(key) FROM events WHERE key > ? AND key < ?", _span(stream)).fetchone()[0]
    return 0 if key is None else sequence_of(key)


def _span(stream: int) -> tuple[int, int]:
    """All keys of a stream stand between these two."""
    return key_of(stream, 0), key_of(stream + 1, 0)


def _levels(db: sqlite3.Connection) -> dict[str, Level]:
    """The purged events' levels, overlaid by those of events that are still here."""
    levels = {
        sensor: Level(name, orjson.loads(value), datetime.fromisoformat(time))
        for sensor, name, value, time in db.execute("SELECT sensor, name, value, time FROM levels")
    }
    for number, sensor in db.execute("SELECT number, sensor FROM streams ORDER BY epoch, number"):
        newest = db.execute(
            "SELECT body FROM events WHERE key > ? AND key < ? AND level = 1 ORDER BY key DESC LIMIT 1",
            _span(number),
        ).fetchone()
        if newest is not None:
            name, value, time = _level_row(newest[0])
            levels[sensor] = Level(name, orjson.loads(value), datetime.fromisoformat(time))
    return levels


def _level_row(body: bytes) -> tuple[str, str, str]:
    document: Any = orjson.loads(body)
    return document["data"]["event"], orjson.dumps(document["data"]["value"]).decode(), document["time"]


def _trim(db: sqlite3.Connection, excess: Excess) -> Dropped:
    dropped = Dropped()
    for alarm in (0, 1):
        events, size = excess.events - dropped.events, excess.bytes - dropped.bytes
        if events <= 0 and size <= 0:
            break
        reason: Reason = "events" if events > 0 else "bytes"
        found: list[tuple[int, int]] = []
        for _, key, length in _candidates(db, alarm=alarm, newest=excess.policy == "newest"):
            if events <= 0 and size <= 0:
                break
            found.append((key, length))
            events, size = events - 1, size - length
        more = _bury(db, found, reason, excess.bury)
        reasons = Counter(dropped.reasons) + Counter(more.reasons)
        dropped = Dropped(dropped.runs + more.runs, dropped.events + more.events, dropped.bytes + more.bytes, reasons)
    return dropped


def _candidates(
    db: sqlite3.Connection, *, alarm: int, newest: bool
) -> Iterator[tuple[tuple[int, float, int], int, int]]:
    """Events of all streams merged by age, as (order, key, length). Nothing may be changed while it is consumed."""
    direction, sign = ("DESC", -1) if newest else ("ASC", 1)

    def run(number: int, epoch: int) -> Iterator[tuple[tuple[int, float, int], int, int]]:
        rows = db.execute(
            "SELECT key, length(body), monotonic FROM events "  # noqa: S608 - one of two words
            f"WHERE key > ? AND key < ? AND dropped = 0 AND alarm = ? ORDER BY key {direction}",
            (*_span(number), alarm),
        )
        for key, length, at in rows:
            yield (sign * epoch, sign * at, sign * key), key, length

    streams = db.execute("SELECT number, epoch FROM streams").fetchall()
    return heapq.merge(*(run(number, epoch) for number, epoch in streams), key=itemgetter(0))


def _bury(db: sqlite3.Connection, found: Sequence[tuple[int, int]], reason: Reason, bury: Bury) -> Dropped:
    """Put tombstones in the place of rows, one for each contiguous run, merged with those beside it."""
    runs: list[tuple[int, int, int]] = []
    for key in sorted(key for key, _ in found):
        stream, sequence = stream_of(key), sequence_of(key)
        if runs and runs[-1][0] == stream and runs[-1][2] == sequence - 1:
            runs[-1] = (stream, runs[-1][1], sequence)
        else:
            runs.append((stream, sequence, sequence))
    merged = []
    for stream, first, last in runs:
        begin, beyond = _span(stream)
        before = db.execute(
            "SELECT key, dropped FROM events WHERE key < ? AND key > ? ORDER BY key DESC LIMIT 1",
            (key_of(stream, first), begin),
        ).fetchone()
        after = db.execute(
            "SELECT key, dropped FROM events WHERE key > ? AND key < ? ORDER BY key LIMIT 1",
            (key_of(stream, last), beyond),
        ).fetchone()
        start, end = first, last
        if before is not None and before[1]:
            start = sequence_of(before[0]) - before[1] + 1
        if after is not None and after[1]:
            end = sequence_of(after[0])
        key = key_of(stream, end)
        span = (key_of(stream, start), key)
        moments = db.execute(
            "SELECT stored_at, monotonic FROM events WHERE key >= ? AND key <= ? ORDER BY key DESC LIMIT 1", span
        ).fetchone()
        db.execute("DELETE FROM events WHERE key >= ? AND key <= ?", span)
        stone = Tombstone(start, end, reason)
        insert(db, _EVENTS, "(?, ?, ?, ?, 0, 0, 0, ?)", [(key, bury(stream, stone), *moments, end - start + 1)])
        merged.append((stream, start, end))
    if found:
        db.execute(
            "INSERT INTO drops VALUES (?1, ?2) ON CONFLICT (reason) DO UPDATE SET events = events + ?2",
            (reason, len(found)),
        )
    reasons: dict[str, int] = {reason: len(found)} if found else {}
    return Dropped(tuple(merged), len(found), sum(length for _, length in found), reasons)
