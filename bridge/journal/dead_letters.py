"""Dead letters as the journal keeps them: listed, shown, handed out for a replay, purged."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import orjson

from bridge.core.event import readable, rfc3339
from bridge.core.invocation import DeadLetter, from_plain, to_plain
from bridge.core.steps import Replay
from bridge.journal.events import attributes_of, event_of

INSERT_LETTER: Final = (
    "INSERT INTO dead_letters (id, at, mapping, function, letter, event, replay) VALUES (?, ?, ?, ?, ?, ?, ?)"
)

_WHERE: Final = (
    " WHERE (:mapping IS NULL OR mapping = :mapping) AND (:function IS NULL OR function = :function)"
    " AND (:before IS NULL OR at < :before)"
    " AND (:numbers IS NULL OR number IN (SELECT value FROM json_each(:numbers)))"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """Which dead letters are meant; what is not given chooses nothing out."""

    mapping: str | None = None
    function: str | None = None
    before: datetime | None = None
    """Older than this."""
    numbers: tuple[int, ...] | None = None

    @property
    def everything(self) -> bool:
        """Whether nothing is chosen out."""
        return self == Chosen()

    def parameters(self) -> dict[str, object]:
        """For the SQL of this module."""
        return {
            "mapping": self.mapping,
            "function": self.function,
            "before": rfc3339(self.before) if self.before else None,
            "numbers": orjson.dumps(self.numbers).decode() if self.numbers is not None else None,
        }


def letter_row(letter: DeadLetter) -> tuple[str, str, str | None, str | None, str, bytes, str | None]:
    """The values of `INSERT_LETTER`."""
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
        "replayable": letter.of is not None and letter.mapping is not None,
    }
    replay = None
    if letter.of is not None and letter.mapping is not None:
        invocation = to_plain(letter.invocation) if letter.invocation is not None else None
        replay = orjson.dumps({"event": attributes_of(letter.of), "invocation": invocation}).decode()
    shown = orjson.dumps(told).decode()
    return letter.id, rfc3339(letter.at), letter.mapping, letter.function, shown, letter.event, replay


def listed(chosen: Chosen, *, limit: int, offset: int = 0) -> Callable[[sqlite3.Connection], list[dict[str, Any]]]:
    """The query for dead letters as people are shown them, newest first, each with its `number`."""

    def query(database: sqlite3.Connection) -> list[dict[str, Any]]:
        rows = database.execute(
            f"SELECT number, letter, event FROM dead_letters{_WHERE} ORDER BY number DESC LIMIT :limit OFFSET :offset",
            chosen.parameters() | {"limit": limit, "offset": offset},
        )
        return [{"number": number, **orjson.loads(letter), "event": readable(event)} for number, letter, event in rows]

    return query


def counted(chosen: Chosen) -> Callable[[sqlite3.Connection], int]:
    """The query for how many there are."""

    def query(database: sqlite3.Connection) -> int:
        (count,) = database.execute(f"SELECT count(*) FROM dead_letters{_WHERE}", chosen.parameters()).fetchone()
        return int(count)

    return query


def replays(chosen: Chosen, *, limit: int) -> Callable[[sqlite3.Connection], Sequence[Replay]]:
    """The query for what to hand to the ledger, oldest first, so that lanes keep their order."""

    def query(database: sqlite3.Connection) -> Sequence[Replay]:
        rows = database.execute(
            f"SELECT number, mapping, event, replay FROM dead_letters{_WHERE} AND replay IS NOT NULL"
            " ORDER BY number LIMIT :limit",
            chosen.parameters() | {"limit": limit},
        )
        return [_replay(*row) for row in rows]

    return query


def purge(chosen: Chosen) -> Callable[[sqlite3.Connection], int]:
    """The change that forgets dead letters; the result is how many."""

    def change(database: sqlite3.Connection) -> int:
        return database.execute(f"DELETE FROM dead_letters{_WHERE}", chosen.parameters()).rowcount

    return change


def drop_oldest(most: int) -> Callable[[sqlite3.Connection], tuple[int, int]]:
    """The change that leaves the newest `most`; the result is how many went, and how many are left."""

    def change(database: sqlite3.Connection) -> tuple[int, int]:
        dropped = database.execute(
            "DELETE FROM dead_letters WHERE number <= "
            "(SELECT number FROM dead_letters ORDER BY number DESC LIMIT 1 OFFSET ?)",
            (most,),
        ).rowcount
        return dropped, counted(Chosen())(database)

    return change


def _replay(number: int, mapping: str, event: bytes, replay: str) -> Replay:
    kept = orjson.loads(replay)
    invocation = from_plain(kept["invocation"]) if kept["invocation"] is not None else None
    return Replay(number, event_of(kept["event"], event), mapping, invocation)
