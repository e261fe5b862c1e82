"""What the outbox's database drops when it holds too much or too old: a tombstone stands in the place of the events."""

from __future__ import annotations

import heapq
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Literal, TypeAlias

from bridge.core.tombstone import Reason, Tombstone
from bridge.core.young import key_of, sequence_of, stream_of
from bridge.journal.engine import Change
from bridge.journal.outbox.schema import EVENTS, span_of
from bridge.journal.rows import insert

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
                span_of(number),
            )
            for key, length, moment in rows:
                if moment >= limit:
                    break
                found.append((key, length))
        return _bury(db, found, "age", bury)

    return change


def trim_rows(db: sqlite3.Connection, excess: Excess) -> Dropped:
    """Drop what is too much, alarms last."""
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
            (*span_of(number), alarm),
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
        begin, beyond = span_of(stream)
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
        insert(db, EVENTS, "(?, ?, ?, ?, 0, 0, 0, ?)", [(key, bury(stream, stone), *moments, end - start + 1)])
        merged.append((stream, start, end))
    if found:
        db.execute(
            "INSERT INTO drops VALUES (?1, ?2) ON CONFLICT (reason) DO UPDATE SET events = events + ?2",
            (reason, len(found)),
        )
    reasons: dict[str, int] = {reason: len(found)} if found else {}
    return Dropped(tuple(merged), len(found), sum(length for _, length in found), reasons)
