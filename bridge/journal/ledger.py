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
from bridge.core.event import Event, Identity, rfc3339
from bridge.core.invocation import DeadLetter, from_plain, to_plain
from bridge.core.mapping_state import MappingState, StateChange
from bridge.core.records import Commit, OpenInvocation, Record, Restored

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
        letter TEXT NOT NULL,
        event BLOB NOT NULL
    );
    CREATE INDEX dead_letters_by_mapping ON dead_letters (mapping, number);
    CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
    """,
)

Change = Callable[[sqlite3.Connection], None]


def keep(commit: Commit) -> Change:
    """The change that writes a commit. Its values are made here, on the loop's thread: they do not change any more."""
    records = [_record_row(record) for record in commit.records]
    sources = [(row.source, row.epoch, orjson.dumps(row.runs).decode()) for row in commit.sources]
    ids = [(identity.source, identity.epoch) for identity in commit.ids]
    letters = [_letter_row(letter) for letter in commit.letters]
    state = [(change.key, orjson.dumps(change.value).decode()) for change in commit.changes]
    finished = [(number,) for number in commit.finished]

    def change(database: sqlite3.Connection) -> None:
        if records:
            database.executemany(
                "INSERT INTO records (number, received_at, event, body, open) VALUES (?, ?, ?, ?, ?)"
                " ON CONFLICT (number) DO UPDATE SET open = excluded.open",
                records,
            )
        if finished:
            database.executemany("DELETE FROM records WHERE number = ?", finished)
        if sources:
            database.executemany(
                "INSERT INTO sources (source, epoch, begun, runs)"
                " VALUES (?, ?, (SELECT coalesce(max(begun), 0) + 1 FROM sources), ?)"
                " ON CONFLICT (source, epoch) DO UPDATE SET runs = excluded.runs",
                sources,
            )
        if ids:
            database.executemany("INSERT INTO ids (source, id) VALUES (?, ?)", ids)
            database.execute("DELETE FROM ids WHERE number <= (SELECT max(number) FROM ids) - ?", (IDS,))
        if letters:
            database.executemany(
                "INSERT INTO dead_letters (id, at, mapping, function, letter, event) VALUES (?, ?, ?, ?, ?, ?)", letters
            )
        if state:
            database.executemany(
                "INSERT INTO state (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
                state,
            )
            database.execute("DELETE FROM state WHERE value = 'null'")

    return change


def load(database: sqlite3.Connection) -> Restored:
    """Everything that an earlier life kept."""
    records = database.execute("SELECT number, received_at, event, body, open FROM records ORDER BY number")
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
        next_number=max((record.number for record in kept), default=0) + 1,
    )


def dead_letters(
    *, mapping: str | None = None, function: str | None = None, limit: int = 100
) -> Callable[[sqlite3.Connection], list[dict[str, Any]]]:
    """The query for the newest dead letters, newest first, as JSON objects with their `number`."""

    def query(database: sqlite3.Connection) -> list[dict[str, Any]]:
        rows = database.execute(
            "SELECT number, letter, event FROM dead_letters WHERE (?1 IS NULL OR mapping = ?1)"
            " AND (?2 IS NULL OR function = ?2) ORDER BY number DESC LIMIT ?3",
            (mapping, function, limit),
        )
        return [{"number": number, **orjson.loads(letter), "event": _shown(event)} for number, letter, event in rows]

    return query


def count_dead_letters(database: sqlite3.Connection) -> int:
    """How many dead letters wait for somebody to look at them."""
    (count,) = database.execute("SELECT count(*) FROM dead_letters").fetchone()
    return int(count)


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


_ATTRIBUTES: Final = (
    *("id", "source", "type", "topic", "subject", "epoch", "sequence", "timesynced"),
    *("site", "node", "sensor", "kind", "name"),
)


def _record_row(record: Record) -> tuple[int, str, str, bytes, str]:
    event = record.event
    attributes: dict[str, Any] = {name: getattr(event, name) for name in _ATTRIBUTES}
    attributes["time"] = rfc3339(event.time)
    attributes["data"] = event.data
    opened = [{"invocation": to_plain(one.invocation), "attempts": one.attempts} for one in record.open]
    return (
        record.number,
        rfc3339(record.received_at),
        orjson.dumps(attributes).decode(),
        event.body,
        orjson.dumps(opened).decode(),
    )


def _record(number: int, received_at: str, event: str, body: bytes, opened: str) -> Record:
    attributes = orjson.loads(event)
    attributes["time"] = datetime.fromisoformat(attributes["time"])
    return Record(
        number,
        Event(**attributes, body=body),
        datetime.fromisoformat(received_at),
        tuple(_open(orjson.loads(opened))),
    )


def _open(rows: Iterable[dict[str, Any]]) -> Iterable[OpenInvocation]:
    for row in rows:
        yield OpenInvocation(from_plain(row["invocation"]), row["attempts"])


def _letter_row(letter: DeadLetter) -> tuple[str, str, str | None, str | None, str, bytes]:
    told = {
        "id": letter.id,
        "reason": letter.reason,
        "at": rfc3339(letter.at),
        "event_id": letter.event_id,
        "topic": letter.topic,
        "mapping": letter.mapping,
        "function": letter.function,
        "status": letter.status,
        "body": letter.body,
        "attempts": letter.attempts,
    }
    return letter.id, rfc3339(letter.at), letter.mapping, letter.function, orjson.dumps(told).decode(), letter.event


def _shown(event: bytes) -> Any:
    try:
        return orjson.loads(event)
    except orjson.JSONDecodeError:
        return event.decode("utf-8", "replace")
