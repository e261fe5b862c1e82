"""The file of the sensor history: every event once, at its time, within the bounds, and what is asked of it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from bridge.core.buckets import HOUR, MINUTE, SECOND, NumberBucket, StateBucket, Sums, span
from bridge.journal.database import connect
from bridge.manager.history import points as under_test
from bridge.manager.history.points import (
    MIGRATION,
    TEXT,
    Bounds,
    Kept,
    Point,
    chart,
    find_sensor,
    keep,
    listed,
    tidy,
    trim,
)
from bridge.ulid import mint

DAY = 24 * HOUR
NOW = 20_000 * DAY
BOUNDS = Bounds(DAY, 1_000_000, 2**30)


@pytest.fixture
def database(tmp_path: Any) -> Iterator[sqlite3.Connection]:
    connection = connect(tmp_path / "history.sqlite", create=True, page_bytes=1024)
    connection.executescript(MIGRATION)
    yield connection
    connection.close()


def at(ago: int, value: Any = 20.0, **more: Any) -> Point:
    """A point of the attic, so long ago."""
    known = {"node": "pi-1", "sensor": "attic", "id": f"e{ago}", "name": "temperature.changed", "unit": "Cel"}
    return Point(**{**known, "at": NOW - ago, "value": value, **more})


def kept(database: sqlite3.Connection, *points: Point, bounds: Bounds = BOUNDS) -> Kept:
    return keep(points, bounds, NOW)(database)


def values(database: sqlite3.Connection, sensor: str = "attic") -> list[Any]:
    known = find_sensor("pi-1", sensor)(database)
    assert known is not None
    total, page = listed(known.number, 0, NOW + DAY, 10_000, None)(database)
    assert total == len(page)
    counted = database.execute("SELECT points FROM sensors WHERE number = ?", (known.number,)).fetchone()
    assert counted == (total,)
    return [one["value"] for one in page]


def test_a_redelivered_event_is_kept_once(database: sqlite3.Connection) -> None:
    first, second = at(10), at(5, 21.0)
    assert kept(database, first, second) == Kept(added=2)
    assert kept(database, first, second, second) == Kept(known=3)
    assert values(database) == [20.0, 21.0]


def test_what_comes_late_stands_at_its_own_time_and_what_is_too_old_is_told(database: sqlite3.Connection) -> None:
    kept(database, at(5, 3.0), at(1, 4.0))
    assert kept(database, at(HOUR, 1.0), at(3, 3.5), at(DAY + 1, 0.0)) == Kept(added=2, late=1)
    assert values(database) == [1.0, 3.0, 3.5, 4.0]


def test_an_event_whose_node_knew_no_time_is_kept_once_and_gives_way_to_itself_with_its_time(
    database: sqlite3.Connection,
) -> None:
    received = at(10, id="x", received=True)
    assert kept(database, received) == Kept(added=1)
    assert kept(database, replace(received, at=NOW - 2)) == Kept(known=1)
    assert kept(database, replace(received, at=NOW - HOUR, received=False, value=19.0)) == Kept(known=1)
    assert values(database) == [19.0]


@pytest.mark.parametrize("value", [True, False, 21.5, "open", None])
def test_a_value_comes_back_as_it_was(database: sqlite3.Connection, value: Any) -> None:
    kept(database, at(1, value))
    (found,) = values(database)
    assert (found, type(found)) == (value, type(value))


def test_a_whole_number_becomes_a_number_and_a_long_text_is_cut(database: sqlite3.Connection) -> None:
    kept(database, at(2, 5), at(1, "x" * 1000))
    number, text = values(database)
    assert (number, type(number), len(text), text[-1]) == (5.0, float, TEXT, "…")


@pytest.mark.parametrize("id_", ["01KDVDNA00JK44K7YS47SF31GN", "tombstone-1", "é" * 26, "u" * 26])
def test_an_id_comes_back_as_it_was(database: sqlite3.Connection, id_: str) -> None:
    kept(database, at(1, id=id_))
    assert listed(1, 0, NOW, 10, None)(database)[1][0]["id"] == id_


def test_pages_follow_each_other_without_a_gap_also_within_one_moment(database: sqlite3.Connection) -> None:
    ids = ["01M82H1EZBNXHNVDENNKK81R47", "a", "b", "c"]  # SQLite sorts text before bytes
    kept(database, *(at(5, id=one) for one in ids), at(1, id="z"))
    after: tuple[int, str] | None = None
    found = []
    while page := listed(1, 0, NOW, 2, after)(database)[1]:
        found += [one["id"] for one in page]
        after = (page[-1]["at"], page[-1]["id"])
    assert sorted(found) == sorted([*ids, "z"])
    assert len(found) == 5


def test_the_sensor_with_most_points_makes_room(database: sqlite3.Connection) -> None:
    quiet = [at(HOUR + one, 1.0, sensor="quiet", id=f"q{one}") for one in range(10)]
    assert kept(database, *quiet) == Kept(added=10)
    busy = [at(1000 - one, float(one), id=f"b{one}") for one in range(100)]
    got = kept(database, *busy, bounds=Bounds(DAY, 60, 2**30))
    assert (got.added, got.evicted >= 50) == (100, True)
    assert values(database, "quiet") == [1.0] * 10
    assert values(database) == [float(one) for one in range(got.evicted, 100)]


def test_the_file_stays_within_its_size(database: sqlite3.Connection) -> None:
    bounds = Bounds(DAY, 1_000_000, 40 * 1024)
    evicted = 0
    for begin in range(0, 3000, 300):
        evicted += kept(database, *(at(5000 - one, id=mint_of(one)) for one in range(begin, begin + 300)),
                        bounds=bounds).evicted  # fmt: skip
    assert evicted == 3000 - len(values(database)) > 0
    (pages,) = database.execute("PRAGMA page_count").fetchone()
    assert pages * 1024 < 60 * 1024


def mint_of(number: int) -> str:
    return mint(datetime.fromtimestamp(number, UTC), bytes(10))


def test_what_is_older_than_the_bound_goes_and_so_does_a_sensor_without_points(database: sqlite3.Connection) -> None:
    kept(database, at(10), at(2), at(10, sensor="gone", name="motion.detected"))
    assert trim(NOW - 5)(database) == 2
    assert values(database) == [20.0]
    assert find_sensor("pi-1", "gone")(database) is None
    tidy(database)
    assert database.execute("SELECT name FROM names").fetchall() == [("temperature.changed",)]


def test_more_sensors_or_names_than_there_is_room_for_are_told(
    database: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(under_test, "SENSORS", 2)
    monkeypatch.setattr(under_test, "NAMES", 2)
    assert kept(database, at(1), at(1, sensor="b"), at(1, sensor="c")) == Kept(added=2, homeless=1)
    assert kept(database, at(2, name="x"), at(3, name="y"), at(4)) == Kept(added=2, homeless=1)


def test_the_unit_is_the_last_that_was_told(database: sqlite3.Connection) -> None:
    for unit, shown in ((None, None), ("Cel", "Cel"), (None, "Cel"), ("K", "K")):
        kept(database, at(1, unit=unit))
        found = find_sensor("pi-1", "attic")(database)
        assert found is not None
        assert found.unit == shown


def test_numbers_have_sums_and_last_across_a_fault(database: sqlite3.Connection) -> None:
    kept(
        database,
        at(3 * MINUTE, 10.0),
        at(2 * MINUTE, 20.0),
        at(2 * MINUTE - 1, 22.0),
        at(MINUTE, None, name="sensor.fault"),
    )
    over = span(NOW - 2 * MINUTE, NOW + MINUTE, MINUTE)
    found = chart(1, over, NOW)(database)
    assert found.measures
    assert found.events == 3
    assert found.buckets == [
        NumberBucket(NOW - 2 * MINUTE, 2, Sums(2, 20.0, 22.0, 21.0), 22.0),
        NumberBucket(NOW - MINUTE, 1, None, None),
        NumberBucket(NOW, 0, None, None),
    ]
    quiet = chart(1, span(NOW - 150 * SECOND, NOW - 130 * SECOND, 10 * SECOND), NOW)(database)
    assert quiet.measures
    assert [one.last for one in quiet.buckets] == [10.0, 10.0]


def test_states_have_times_and_what_is_told_again_is_no_change(database: sqlite3.Connection) -> None:
    told = {190: True, 150: True, 100: False, 90: False, 80: False, 30: True}
    kept(database, *(at(ago * SECOND, value, name="motion", id=str(ago)) for ago, value in told.items()))
    over = span(NOW - 180 * SECOND, NOW, MINUTE)
    found = chart(1, over, NOW)(database)
    assert not found.measures
    assert found.events == 5
    assert found.buckets == [
        StateBucket(NOW - 3 * MINUTE, 1, 0, True, {"true": 60 * SECOND}),
        StateBucket(NOW - 2 * MINUTE, 3, 1, False, {"true": 20 * SECOND, "false": 40 * SECOND}),
        StateBucket(NOW - MINUTE, 1, 1, True, {"false": 30 * SECOND, "true": 30 * SECOND}),
    ]


def test_a_sensor_of_which_there_is_nothing_has_empty_buckets(database: sqlite3.Connection) -> None:
    found = chart(0, span(NOW - MINUTE, NOW, MINUTE), NOW)(database)
    assert found.buckets == [StateBucket(NOW - MINUTE, 0, 0, None, {}, MINUTE)]
