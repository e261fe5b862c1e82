"""The store of crashes: how often the handling of a message has ended the program."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import Final, NamedTuple

from bridge.journal.engine import Change

KEPT_S: Final = 86_400.0
"""A message that has not ended the program for so long is taken for harmless."""


class Crash(NamedTuple):
    """A message, by its fingerprint, and how often the program has ended while it was being handled."""

    fingerprint: str
    phase: str
    times: int


def note_crash(fingerprint: str, phase: str, topic: str, at: float) -> Change[None]:
    """One more; `at` in seconds since the epoch."""

    def change(database: sqlite3.Connection) -> None:
        database.execute(
            "INSERT INTO crashes (fingerprint, phase, topic, count, at) VALUES (?, ?, ?, 1, ?)"
            " ON CONFLICT (fingerprint) DO UPDATE SET count = count + 1, phase = excluded.phase, at = excluded.at",
            (fingerprint, phase, topic, at),
        )

    return change


def load_crashes(now: float) -> Callable[[sqlite3.Connection], tuple[Crash, ...]]:
    """The query for those that still count; a clock that was set back makes none of them older."""

    def query(database: sqlite3.Connection) -> tuple[Crash, ...]:
        rows = database.execute(
            "SELECT fingerprint, phase, count FROM crashes WHERE at > ? ORDER BY at", (now - KEPT_S,)
        )
        return tuple(Crash(*row) for row in rows)

    return query


def forget_crashes(*fingerprints: str) -> Change[None]:
    """These have been handled well; without any, all are forgotten."""

    def change(database: sqlite3.Connection) -> None:
        if fingerprints:
            database.executemany("DELETE FROM crashes WHERE fingerprint = ?", [(one,) for one in fingerprints])
        else:
            database.execute("DELETE FROM crashes")

    return change
