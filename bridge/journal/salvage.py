"""What can still be read of a journal that was set aside: enough to count what is lost with it.

Called on a thread of its own; nothing here changes the damaged file.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson


@dataclass(frozen=True, slots=True)
class Lost:
    """Events that somebody relied on, by source (of a ledger) or sensor (of an outbox)."""

    events: dict[str, int]
    dead_letters: int = 0
    whole: bool = True
    """Whether everything could be read; otherwise there may be more."""

    @property
    def count(self) -> int:
        return sum(self.events.values())


def lost_with_ledger(aside: Path) -> Lost:
    """The events that were stored and not finished, and the dead letters that nobody can replay any more."""
    records, whole = _read(aside, "SELECT event FROM records")
    letters, letters_whole = _read(aside, "SELECT number FROM dead_letters")
    known = ((event["source"], event["id"]) for event in (orjson.loads(text) for (text,) in records))
    sources = Counter(source for source, _ in set(known))  # an event may stand in several records, one for each lane
    return Lost(dict(sources), len(letters), whole and letters_whole)


def lost_with_outbox(aside: Path) -> Lost:
    """The events that were not confirmed; some of them may have reached a dispatcher all the same."""
    rows, whole = _read(
        aside,
        "SELECT s.sensor FROM events e JOIN streams s ON s.number = e.key >> 40"
        " WHERE e.dropped = 0 AND e.key - (s.number << 40) > s.confirmed",
    )
    return Lost(dict(Counter(sensor for (sensor,) in rows)), whole=whole)


def _read(path: Path, query: str) -> tuple[list[tuple[Any, ...]], bool]:
    """The rows up to the first that cannot be read, and whether these are all."""
    found: list[tuple[Any, ...]] = []
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as database:
            for row in database.execute(query):
                found.append(row)  # noqa: PERF402 - one by one, so that those before the damage are kept
    except sqlite3.Error:
        return found, False
    return found, True
