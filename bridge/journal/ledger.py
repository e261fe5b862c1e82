"""What the dispatcher keeps of its ledger: records of unfinished events, dedup, mapping state and dead letters.

One commit of the ledger is one change of the journal, all or nothing (PROTOCOL.md, rule 7). Nobody else opens the
database (rule 18).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Any, Final

import orjson

from bridge.core.dedup import IDS, SourceRow
from bridge.core.event import Identity, rfc3339
from bridge.core.invocation import from_plain, to_plain
from bridge.core.mapping_state import MappingState, StateChange
from bridge.core.records import Commit, OpenInvocation, Pause, Record, Restored, Shelved
from bridge.journal.dead_letters import INSERT_LETTER, letter_row
from bridge.journal.events import attributes_of, event_of
from bridge.journal.rows import delete, insert

MIGRATIONS: Final[Sequence[str]] = (
    """
    CREATE TABLE records (
        number INTEGER PRIMARY KEY,
        received_at TEXT NOT NULL,
        event TEXT NOT NULL,           -- its attributes, as JSON
        body BLOB NOT NULL,            -- what arrived, byte for byte
        open TEXT NOT NULL             -- its open invocations, as JSON
    );
    CREATE TABLE sources (
        source TEXT NOT NULL,
        epoch TEXT NOT NULL,
        begun INTEGER NOT NULL,        -- the order in which epochs were first seen
        runs TEXT NOT NULL,            -- [[first, last], ...]
        PRIMARY KEY (source, epoch)
    ) WITHOUT ROWID;
    CREATE TABLE ids (
        number INTEGER PRIMARY KEY,
        source TEXT NOT NULL,
        id TEXT NOT NULL
    );
    CREATE TABLE state (key TEXT PRIMARY KEY, value TEXT) WITHOUT ROWID;
    CREATE TABLE dead_letters (
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        id TEXT NOT NULL,
        at TEXT NOT NULL,
        mapping TEXT,
        function TEXT,
        letter TEXT NOT NULL,          -- what people are shown, as JSON
        event BLOB NOT NULL,           -- what arrived, byte for byte
        replay TEXT                    -- the event's attributes and the invocation, as JSON; NULL: it was no event
    );
    CREATE INDEX dead_letters_by_mapping ON dead_letters (mapping, number);
    CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
    """,
    """
    CREATE TABLE drops (
        source TEXT NOT NULL,
        reason TEXT NOT NULL,          -- the rule that dropped
        count INTEGER NOT NULL,
        first_at TEXT NOT NULL,
        last_at TEXT NOT NULL,
        latest TEXT NOT NULL,          -- which the last one was, for people
        PRIMARY KEY (source, reason)
    ) WITHOUT ROWID;
    """,
    """
    ALTER TABLE records ADD COLUMN lane TEXT; -- the long lane it waits in, when it is on the shelf
    CREATE INDEX records_by_lane ON records (lane, number) WHERE lane IS NOT NULL;
    """,
    """
    CREATE TABLE crashes (
        fingerprint TEXT PRIMARY KEY,  -- of a message
        phase TEXT NOT NULL,           -- what was being done with it
        topic TEXT NOT NULL,           -- for people who look here
        count INTEGER NOT NULL,        -- how often the program has ended meanwhile
        at REAL NOT NULL               -- the last time, in seconds since the epoch
    ) WITHOUT ROWID;
    """,
    """
    CREATE INDEX sources_by_begun ON sources (begun); -- each new row asks for the highest
    """,
)

Change = Callable[[sqlite3.Connection], None]


def keep(commit: Commit) -> Change:
    """The change that writes a commit. Its values are made here, on the loop's thread: they do not change any more."""
    records = [_record_row(record) for record in commit.records]
    told = [(row, orjson.dumps(row.runs).decode()) for row in commit.sources if row.runs]
    forgotten = [(row.source, row.epoch) for row in commit.sources if not row.runs]
    ids = [(identity.source, identity.epoch) for identity in commit.ids]
    letters = [letter_row(letter) for letter in commit.letters]
    changes = commit.changes
    state = [(one.key, orjson.dumps(one.value).decode()) for one in changes if one.value is not None]
    gone = [one.key for one in changes if one.value is None]
    finished = commit.finished

    def change(database: sqlite3.Connection) -> None:
        insert(
            database,
            f"records ({_COLUMNS})",
            "(?, ?, ?, ?, ?, ?)",
            records,
            "ON CONFLICT (number) DO UPDATE SET open = excluded.open",
        )
        delete(database, "records", "number", finished)
        if told:
            # Looked up once: as a part of each row it would read the whole table for each of them.
            (begun,) = database.execute("SELECT coalesce(max(begun), 0) FROM sources").fetchone()
            insert(
                database,
                "sources (source, epoch, runs, begun)",
                "(?, ?, ?, ?)",
                [(row.source, row.epoch, runs, begun + at) for at, (row, runs) in enumerate(told, 1)],
                "ON CONFLICT (source, epoch) DO UPDATE SET runs = excluded.runs",
            )
        if forgotten:
            database.executemany("DELETE FROM sources WHERE source = ? AND epoch = ?", forgotten)
        insert(database, "ids (source, id)", "(?, ?)", ids)
        if ids:
            database.execute("DELETE FROM ids WHERE number <= (SELECT max(number) FROM ids) - ?", (IDS,))
        if letters:
            database.executemany(INSERT_LETTER, letters)
        delete(database, "dead_letters", "number", commit.replayed)
        insert(
            database, "state (key, value)", "(?, ?)", state, "ON CONFLICT (key) DO UPDATE SET value = excluded.value"
        )
        delete(database, "state", "key", gone)

    return change


def load(database: sqlite3.Connection) -> Restored:
    """Everything that an earlier life kept."""
    records = database.execute(f"SELECT {_COLUMNS} FROM records WHERE lane IS NULL ORDER BY number")
    shelved = database.execute("SELECT lane, count(*), min(number) FROM records WHERE lane IS NOT NULL GROUP BY lane")
    (highest,) = database.execute("SELECT coalesce(max(number), 0) FROM records").fetchone()
    sources = database.execute("SELECT source, epoch, runs FROM sources ORDER BY source, begun")
    ids = database.execute("SELECT source, id FROM ids ORDER BY number")
    state = database.execute("SELECT key, value FROM state")
    kept = tuple(_record(*row) for row in records)
    return Restored(
        records=kept,
        sources=tuple(
            SourceRow(source, epoch, tuple((first, last) for first, last in orjson.loads(runs)))
            for source, epoch, runs in sources
        ),
        ids=tuple(Identity(source, id_, 0) for source, id_ in ids),
        state=MappingState.restore(StateChange(key, orjson.loads(value)) for key, value in state),
        next_number=highest + 1,
        shelved=tuple(Shelved(*row) for row in shelved),
    )


def shelved(lane: str, after: int, limit: int) -> Callable[[sqlite3.Connection], tuple[Record, ...]]:
    """The query for what a long lane has on the shelf behind a number, in order."""

    def query(database: sqlite3.Connection) -> tuple[Record, ...]:
        rows = database.execute(
            f"SELECT {_COLUMNS} FROM records WHERE lane = ? AND number > ? ORDER BY number LIMIT ?",
            (lane, after, limit),
        )
        return tuple(_record(*row) for row in rows)

    return query


def fact(name: str) -> Callable[[sqlite3.Connection], Any]:
    """The query for one small fact, such as the subscriptions of last time; None when it was never kept."""

    def query(database: sqlite3.Connection) -> Any:
        row = database.execute("SELECT value FROM facts WHERE name = ?", (name,)).fetchone()
        return orjson.loads(row[0]) if row else None

    return query


def keep_fact(name: str, value: object) -> Change:
    """The change that keeps one small fact."""
    text = orjson.dumps(value).decode()

    def change(database: sqlite3.Connection) -> None:
        database.execute(
            "INSERT INTO facts (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
            (name, text),
        )

    return change


_COLUMNS: Final = "number, received_at, event, body, open, lane"


def _record_row(record: Record) -> tuple[int, str, str, bytes, str, str | None]:
    opened = [_opened_row(one) for one in record.open]
    return (
        record.number,
        rfc3339(record.received_at),
        orjson.dumps(attributes_of(record.event)).decode(),
        record.event.body,
        orjson.dumps(opened).decode(),
        record.lane,
    )


def _record(number: int, received_at: str, event: str, body: bytes, opened: str, lane: str | None) -> Record:
    return Record(
        number,
        event_of(orjson.loads(event), body),
        datetime.fromisoformat(received_at),
        tuple(_open(orjson.loads(opened))),
        lane,
    )


def _open(rows: Iterable[dict[str, Any]]) -> Iterable[OpenInvocation]:
    for row in rows:
        yield OpenInvocation(from_plain(row["invocation"]), row["attempts"], _pause(row.get("pause")))


def _opened_row(one: OpenInvocation) -> dict[str, Any]:
    row = {"invocation": to_plain(one.invocation), "attempts": one.attempts}
    if one.pause is not None:
        row["pause"] = [rfc3339(one.pause.begun_at), rfc3339(one.pause.until), one.pause.whole_s]
    return row


def _pause(row: list[Any] | None) -> Pause | None:
    if row is None:
        return None
    begun_at, until, whole_s = row
    return Pause(datetime.fromisoformat(begun_at), datetime.fromisoformat(until), whole_s)
