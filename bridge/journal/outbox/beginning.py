"""A new life of the outbox begins: it takes over what the database and the log hold, and what is lost is counted."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from itertools import groupby

from bridge.core.young import Young, sequence_of, stream_of
from bridge.errors import JournalError
from bridge.journal.engine import Change
from bridge.journal.outbox.keeping import begin_streams, keep_rows, purge_rows
from bridge.journal.outbox.levels import Level, find_levels
from bridge.journal.outbox.renumbering import SET_BACK, number_anew
from bridge.journal.outbox.schema import last_of


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


def log_of(db: sqlite3.Connection) -> tuple[bytes, int] | None:
    """The identity of the log that belongs to this database, and up to which serial everything of it is in here."""
    row: tuple[bytes, int] | None = db.execute("SELECT identity, applied FROM log").fetchone()
    return row


def begin(site: str, node: str, boot: str, new_epoch: str, inherited: Inherited) -> Change[Contents]:
    """Take possession at start, of what the log holds too, and say what is there.

    A new epoch begins when the outbox is new, when something of the log is lost, and when the machine has been started
    since: the disk may have forgotten sequences that are known outside, and a number must never be given twice. Where
    they were given twice all the same (`mark_set_back`), the events that are not confirmed get numbers of the new one.
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
            if newest is not None and newest[2].startswith(SET_BACK):
                number_anew(db, newest[0], number, new_epoch, same_boot=newest[2] == SET_BACK + boot)
            newest = (number, new_epoch, boot)
        current = newest[0]
        # Levels first: they are still to be found in rows of the streams that go now.
        levels = find_levels(db)
        empty = (
            "NOT EXISTS (SELECT 1 FROM events WHERE key > (streams.number << 40) AND key < (streams.number + 1 << 40))"
        )
        next_stream: int = db.execute("SELECT coalesce(max(number), 0) + 1 FROM streams").fetchone()[0]
        db.execute(f"DELETE FROM streams WHERE epoch <> ? AND {empty}", (current,))  # noqa: S608 - no input in it
        db.execute("DELETE FROM epochs WHERE number <> ? AND number NOT IN (SELECT epoch FROM streams)", (current,))
        streams = tuple(
            StoredStream(number, sensor, epoch, at == current, confirmed, max(confirmed, last_of(db, number)))
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


def _inherit(db: sqlite3.Connection, inherited: Inherited) -> dict[str, int]:
    """Take over the log of the life before; the events that do not follow on what is here are counted, and go.

    The log is never on the disk before what it relies on, so there are none unless the disk has lied about that. But
    one such event would never be confirmed, and all events of its sensor would wait behind it for ever.
    """
    young = inherited.young
    begin_streams(db, young.streams)
    lost: dict[str, int] = {}
    unfit: set[int] = set()
    for number, entries in groupby(young, lambda entry: stream_of(entry.key)):
        stream = db.execute("SELECT confirmed FROM streams WHERE number = ?", (number,)).fetchone()
        known = 0 if stream is None else max(stream[0], young.through.get(number, 0), last_of(db, number))
        first, *others = entries
        if stream is None or sequence_of(first.key) > known + 1:
            lost[first.sensor] = lost.get(first.sensor, 0) + 1 + len(others)
            unfit.add(number)
    purge_rows(db, {number: sequence for number, sequence in young.through.items() if number not in unfit})
    keep_rows(db, young, young.through, unfit)
    return lost
