"""The last level that each sensor told: in the rows of its events, or kept when these are purged."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson

from bridge.core.event import Value
from bridge.journal.outbox.schema import span_of


@dataclass(frozen=True, slots=True)
class Level:
    """The last level a sensor told, for comparing with what is found at start."""

    name: str
    value: Value
    time: datetime


def find_levels(db: sqlite3.Connection) -> dict[str, Level]:
    """The purged events' levels, overlaid by those of events that are still here."""
    levels = {
        sensor: Level(name, orjson.loads(value), datetime.fromisoformat(time))
        for sensor, name, value, time in db.execute("SELECT sensor, name, value, time FROM levels")
    }
    for number, sensor in db.execute("SELECT number, sensor FROM streams ORDER BY epoch, number"):
        newest = db.execute(
            "SELECT body FROM events WHERE key > ? AND key < ? AND level = 1 ORDER BY key DESC LIMIT 1",
            span_of(number),
        ).fetchone()
        if newest is not None:
            name, value, time = _level_row(newest[0])
            levels[sensor] = Level(name, orjson.loads(value), datetime.fromisoformat(time))
    return levels


def keep_level(db: sqlite3.Connection, stream: int, body: bytes) -> None:
    """Have the level that an event told outlive its row."""
    db.execute(
        "INSERT OR REPLACE INTO levels SELECT sensor, ?, ?, ? FROM streams WHERE number = ?",
        (*_level_row(body), stream),
    )


def _level_row(body: bytes) -> tuple[str, str, str]:
    document: Any = orjson.loads(body)
    return document["data"]["event"], orjson.dumps(document["data"]["value"]).decode(), document["time"]
