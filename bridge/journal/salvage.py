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

from bridge.core.frames import Found, scan
from bridge.core.young import Young, read, sequence_of, stream_of
from bridge.journal.log import frames_of


@dataclass(frozen=True, slots=True)
class Lost:
    """Events that somebody relied on, by source (of a ledger) or sensor (of an outbox)."""

    events: dict[str, int]
    dead_letters: int = 0
    whole: bool = True
    """Whether everything could be read; otherwise there may be more."""
    unreadable: int = 0
    """Of these it is known only that they were there."""

    @property
    def count(self) -> int:
        return sum(self.events.values()) + self.unreadable


def lost_with_ledger(aside: Path) -> Lost:
    """The events that were stored and not finished, and the dead letters that nobody can replay any more."""
    records, whole = _read(aside, "SELECT event FROM records")
    letters, letters_whole = _read(aside, "SELECT number FROM dead_letters")
    known = ((event["source"], event["id"]) for event in (orjson.loads(text) for (text,) in records))
    sources = Counter(source for source, _ in set(known))  # an event may stand in several records, one for each lane
    return Lost(dict(sources), len(letters), whole and letters_whole)


def lost_with_outbox(aside: Path, log_aside: Path | None = None) -> Lost:
    """The events that were not confirmed, in the database and in its log; some may have reached a dispatcher."""
    rows, whole = _read(
        aside,
        "SELECT s.sensor, e.key, s.confirmed FROM events e JOIN streams s ON s.number = e.key >> 40"
        " WHERE e.dropped = 0",
    )
    lost = {key: sensor for sensor, key, confirmed in rows if sequence_of(key) > confirmed}
    missing = 0
    if log_aside is not None:
        applied, _ = _read(aside, "SELECT applied FROM log")
        found = scan(frames_of(log_aside), applied[0][0] if applied else None)
        young, missing = _young(found), found.missing
        lost = {key: sensor for key, sensor in lost.items() if sequence_of(key) > young.through.get(stream_of(key), 0)}
        lost |= {entry.key: entry.sensor for entry in young}
        whole = whole and found.whole and not missing
    return Lost(dict(Counter(lost.values())), whole=whole, unreadable=missing)


def lost_records(found: Found) -> Lost:
    """Of a log that cannot be used, or of what is behind its damage: the events that it does not say are confirmed."""
    events = Counter(entry.sensor for entry in _young(found))
    return Lost(dict(events), whole=found.whole and not found.missing, unreadable=found.missing)


def _young(found: Found) -> Young:
    try:
        return read([*found.payloads, *found.behind])
    except ValueError:  # a newer program's: what it says of its events is not known
        return Young()


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
