"""Points: the events of the sensor history as its file keeps them, by sensor and time, each once.

Times are whole microseconds since 1970 (UTC). A point whose node did not know the time stands where it was received,
and may be received again at another moment: so such a one is known by its id alone.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from bridge.core.buckets import NumberBucket, Shown, Span, StateBucket, Sums, numbers, states
from bridge.ulid import LENGTH, packed, unpacked

MIGRATION: Final = """
CREATE TABLE sensors (
    number INTEGER PRIMARY KEY,
    node TEXT NOT NULL,
    sensor TEXT NOT NULL,
    unit TEXT,
    points INTEGER NOT NULL DEFAULT 0,
    UNIQUE (node, sensor)
);
CREATE TABLE names (
    number INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE
);
CREATE TABLE points (
    sensor INTEGER NOT NULL,
    at INTEGER NOT NULL,
    id BLOB NOT NULL,
    name INTEGER NOT NULL,
    value,
    flags INTEGER NOT NULL,
    PRIMARY KEY (sensor, at, id)
) WITHOUT ROWID;
CREATE UNIQUE INDEX received ON points (sensor, id) WHERE flags & 1
"""
RECEIVED: Final = 1
"""The flag of a point whose time is that of its receipt."""
INITIAL: Final = 2
"""The flag of a level that was found at start."""
SENSORS: Final = 10_000
NAMES: Final = 1_000
"""So many sensors, and names of events, are told apart; what more there is has no place."""
TEXT: Final = 256
"""Of a longer value in text so many characters are kept."""
SHARE: Final = 16
"""When there is no room, the sensor with most points loses this part of them: the oldest."""

_ADD: Final = """
INSERT OR IGNORE INTO points (sensor, at, id, name, value, flags)
SELECT s.number, :at, :id, n.number, :value, :flags FROM sensors s, names n
WHERE s.node = :node AND s.sensor = :sensor AND n.name = :name
"""
_OF: Final = "sensor = :number AND at >= :begin AND at < :end"
_SUMS: Final = f"""
SELECT (at - :begin) / :step, COUNT(*), MAX(at), COUNT(number), MIN(number), MAX(number), AVG(number)
FROM (SELECT at, CASE WHEN typeof(value) = 'real' THEN value END AS number FROM points WHERE {_OF}) GROUP BY 1
"""
_AT: Final = "SELECT value, typeof(value) FROM points WHERE sensor = :number AND at = :at ORDER BY id DESC LIMIT 1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One event. `value` is what the sensor showed; None where it cannot tell."""

    node: str
    sensor: str
    at: int
    id: str
    name: str
    value: Shown
    unit: str | None = None
    received: bool = False
    initial: bool = False

    def row(self) -> dict[str, object]:
        """For the SQL of this module. SQLite tells truth and number apart by the type: integer and real."""
        value = self.value
        if isinstance(value, str) and len(value) > TEXT:
            value = f"{value[: TEXT - 1]}…"
        return {
            "node": self.node,
            "sensor": self.sensor,
            "at": self.at,
            "id": _kept(self.id),
            "name": self.name,
            "value": float(value) if isinstance(value, int) and not isinstance(value, bool) else value,
            "flags": RECEIVED * self.received | INITIAL * self.initial,
        }


@dataclass(frozen=True, slots=True)
class Bounds:
    """What the file may hold."""

    keep: int
    """How old a point may be, in microseconds."""
    events: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Kept:
    """What became of points: new ones, those that were there already, and those that are lost to a bound."""

    added: int = 0
    known: int = 0
    late: int = 0
    """Older than the bound when they came."""
    homeless: int = 0
    """Of one sensor, or with one name, too many."""
    evicted: int = 0
    """Had to make room."""


@dataclass(frozen=True, slots=True)
class Sensor:
    """A sensor of which there are points."""

    number: int
    unit: str | None


@dataclass(frozen=True, slots=True)
class Chart:
    """The buckets of one sensor; which of both kinds says whether it measures or has states."""

    over: Span
    events: int
    buckets: Sequence[NumberBucket] | Sequence[StateBucket]
    measures: bool


def keep(points: Sequence[Point], bounds: Bounds, now: int) -> Callable[[sqlite3.Connection], Kept]:
    """The change that keeps points, and lets the oldest go where they are too many."""
    oldest = now - bounds.keep

    def change(database: sqlite3.Connection) -> Kept:
        added = known = late = homeless = 0
        counts: dict[tuple[str, str], int] = {}
        for point in points:
            if point.at < oldest:
                late += 1
                continue
            if not _placed(database, point):
                homeless += 1
                continue
            row = point.row()
            replaced = 0 if point.received else _forget_received(database, row)
            new = database.execute(_ADD, row).rowcount
            added, known = added + new - replaced, known + 1 - new + replaced
            which = point.node, point.sensor
            counts[which] = counts.get(which, 0) + new - replaced
        database.executemany(
            "UPDATE sensors SET points = points + ? WHERE node = ? AND sensor = ?",
            [(count, *which) for which, count in counts.items() if count],
        )
        return Kept(added, known, late, homeless, _evict(database, bounds))

    return change


def trim(before: int) -> Callable[[sqlite3.Connection], int]:
    """The change that lets go what is older than that, and sensors of which nothing is left; how many points."""

    def change(database: sqlite3.Connection) -> int:
        gone = 0
        for (number,) in database.execute("SELECT number FROM sensors").fetchall():
            count = database.execute("DELETE FROM points WHERE sensor = ? AND at < ?", (number, before)).rowcount
            if count:
                database.execute("UPDATE sensors SET points = points - ? WHERE number = ?", (count, number))
                gone += count
        database.execute("DELETE FROM sensors WHERE points <= 0")
        return gone

    return change


def find_sensor(node: str, sensor: str) -> Callable[[sqlite3.Connection], Sensor | None]:
    """The query for a sensor of which there are points."""

    def query(database: sqlite3.Connection) -> Sensor | None:
        row = database.execute(
            "SELECT number, unit FROM sensors WHERE node = ? AND sensor = ?", (node, sensor)
        ).fetchone()
        return Sensor(*row) if row is not None else None

    return query


def chart(number: int, over: Span, now: int) -> Callable[[sqlite3.Connection], Chart]:
    """The query for a sensor's buckets."""
    given = {"number": number, "begin": over.begin, "end": over.end, "step": over.step}

    def query(database: sqlite3.Connection) -> Chart:
        before = database.execute(
            "SELECT value, typeof(value) FROM points WHERE sensor = :number AND at < :begin"
            " ORDER BY at DESC, id DESC LIMIT 1",
            given,
        ).fetchone()
        shown_before = _shown(*before) if before is not None else None
        measures = isinstance(shown_before, float) or bool(
            database.execute(f"SELECT 1 FROM points WHERE {_OF} AND typeof(value) = 'real' LIMIT 1", given).fetchone()
        )
        if not measures:
            rows = database.execute(f"SELECT at, value, typeof(value) FROM points WHERE {_OF} ORDER BY at, id", given)
            found = states(over, ((at, _shown(*rest)) for at, *rest in rows), shown_before, now)
            return Chart(over, sum(one.events for one in found), found, measures)
        events: dict[int, int] = {}
        sums: dict[int, Sums] = {}
        lasts: dict[int, Shown] = {}
        for bucket, count, last_at, *rest in database.execute(_SUMS, given).fetchall():
            events[bucket] = count
            if rest[0]:
                sums[bucket] = Sums(*rest)
            lasts[bucket] = _shown(*database.execute(_AT, {**given, "at": last_at}).fetchone())
        return Chart(over, sum(events.values()), numbers(over, sums, lasts, events, shown_before), measures)

    return query


def listed(
    number: int, begin: int, end: int, limit: int, after: tuple[int, str] | None
) -> Callable[[sqlite3.Connection], tuple[int, list[dict[str, Any]]]]:
    """The query for how many points there are from `begin` on and before `end`, and for those of a page, in order.

    `after` is time and id of the last point of the page before.
    """
    given: dict[str, object] = {"number": number, "begin": begin, "end": end, "limit": limit}
    given |= {"at": after[0] if after else -1, "id": _kept(after[1]) if after else b""}

    def query(database: sqlite3.Connection) -> tuple[int, list[dict[str, Any]]]:
        (total,) = database.execute(f"SELECT COUNT(*) FROM points WHERE {_OF}", given).fetchone()
        rows = database.execute(
            "SELECT at, p.id, n.name, value, typeof(value), flags FROM points p JOIN names n ON n.number = p.name"
            f" WHERE {_OF} AND (at, p.id) > (:at, :id) ORDER BY at, p.id LIMIT :limit",
            given,
        )
        return int(total), [
            {
                "at": at,
                "id": _id_of(id_),
                "event": name,
                "value": _shown(value, kind),
                "received": bool(flags & RECEIVED),
                "initial": bool(flags & INITIAL),
            }
            for at, id_, name, value, kind, flags in rows
        ]

    return query


def tidy(database: sqlite3.Connection) -> None:
    """The change for the start: names that nothing is left of make room, and points are counted anew."""
    database.execute("DELETE FROM names WHERE number NOT IN (SELECT DISTINCT name FROM points)")
    database.execute("UPDATE sensors SET points = (SELECT COUNT(*) FROM points p WHERE p.sensor = sensors.number)")


def _placed(database: sqlite3.Connection, point: Point) -> bool:
    """Whether there is a place for the point's sensor and name, which is made where it is missing."""
    row = database.execute(
        "SELECT unit FROM sensors WHERE node = ? AND sensor = ?", (point.node, point.sensor)
    ).fetchone()
    if row is None:
        if database.execute("SELECT COUNT(*) FROM sensors").fetchone()[0] >= SENSORS:
            return False
        database.execute(
            "INSERT INTO sensors (node, sensor, unit) VALUES (?, ?, ?)", (point.node, point.sensor, point.unit)
        )
    elif point.unit not in (None, row[0]):
        database.execute(
            "UPDATE sensors SET unit = ? WHERE node = ? AND sensor = ?", (point.unit, point.node, point.sensor)
        )
    if database.execute("SELECT 1 FROM names WHERE name = ?", (point.name,)).fetchone() is None:
        if database.execute("SELECT COUNT(*) FROM names").fetchone()[0] >= NAMES:
            return False
        database.execute("INSERT INTO names (name) VALUES (?)", (point.name,))
    return True


def _forget_received(database: sqlite3.Connection, row: dict[str, object]) -> int:
    """Make room for the same event with its own time, once its node knew it."""
    return database.execute(
        "DELETE FROM points WHERE id = :id AND flags & 1 AND sensor ="
        " (SELECT number FROM sensors WHERE node = :node AND sensor = :sensor)",
        row,
    ).rowcount


def _evict(database: sqlite3.Connection, bounds: Bounds) -> int:
    """Let the oldest of the sensor with most points go, until all is within bounds; how many went."""
    gone = 0
    while True:
        number, most, total = database.execute("SELECT number, MAX(points), TOTAL(points) FROM sensors").fetchone()
        if not most or (total <= bounds.events and _used_bytes(database) <= bounds.size_bytes):
            return gone
        count = max(1, most // SHARE)
        database.execute(
            "DELETE FROM points WHERE sensor = :number AND (at, id) <="
            " (SELECT at, id FROM points WHERE sensor = :number ORDER BY at, id LIMIT 1 OFFSET :last)",
            {"number": number, "last": count - 1},
        )
        database.execute("UPDATE sensors SET points = points - ? WHERE number = ?", (count, number))
        gone += count


def _used_bytes(database: sqlite3.Connection) -> int:
    """What of the file is in use: pages that became free are used again."""
    pages, free, size = (
        int(database.execute(f"PRAGMA {name}").fetchone()[0]) for name in ("page_count", "freelist_count", "page_size")
    )
    return (pages - free) * size


def _shown(value: Any, kind: str) -> Shown:
    shown: Shown = bool(value) if kind == "integer" else value
    return shown


def _kept(id_: str) -> bytes | str:
    """An id in as little room as it needs: a ULID is 16 bytes."""
    try:
        return packed(id_) if len(id_) == LENGTH else id_
    except ValueError:
        return id_


def _id_of(kept: bytes | str) -> str:
    return unpacked(kept) if isinstance(kept, bytes) else kept
