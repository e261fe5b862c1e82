"""Drops as the journal keeps them: what was dropped by a named rule, per source and rule, across restarts."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from bridge.core.audit import Drop
from bridge.core.event import rfc3339

ROWS: Final = 10_000
"""More sources than this have dropped something only when topics are made up; the oldest go."""


@dataclass(frozen=True, slots=True)
class Dropped:
    """All drops of one source by one rule; `latest` says for people what the last of them was."""

    source: str
    reason: str
    count: int
    first_at: str
    last_at: str
    latest: str


def keep_drops(drops: Iterable[Drop]) -> Callable[[sqlite3.Connection], None]:
    """The change that adds drops to what is kept."""
    rows = [(drop.source, drop.reason, drop.count, rfc3339(drop.at), drop.which) for drop in drops]

    def change(database: sqlite3.Connection) -> None:
        database.executemany(
            "INSERT INTO drops (source, reason, count, first_at, last_at, latest) VALUES (?1, ?2, ?3, ?4, ?4, ?5)"
            " ON CONFLICT (source, reason) DO UPDATE SET count = count + excluded.count, last_at = excluded.last_at,"
            " latest = excluded.latest",
            rows,
        )
        database.execute(
            "DELETE FROM drops WHERE (source, reason) IN"
            " (SELECT source, reason FROM drops ORDER BY last_at DESC LIMIT -1 OFFSET ?)",
            (ROWS,),
        )

    return change


def load_drops(database: sqlite3.Connection) -> tuple[Dropped, ...]:
    """Everything that was ever dropped, by source."""
    rows = database.execute(
        "SELECT source, reason, count, first_at, last_at, latest FROM drops ORDER BY source, reason"
    )
    return tuple(Dropped(*row) for row in rows)
