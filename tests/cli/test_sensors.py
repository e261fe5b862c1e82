"""`gpio-bridge sensors history`: bars, rows and points, as the manager has them."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from bridge.cli.sensors import bars, chart, table
from tests.manager.command import command
from tests.manager.conftest import Desk, desk  # noqa: F401 - a fixture
from tests.manager.history.test_recorder import arrived, begun, publisher, told, topic

AT = "2026-11-22T17:30:00.000000Z"


def answer(shows: str, *buckets: dict[str, Any], unit: str | None = None) -> dict[str, Any]:
    filled = [{"at": AT, "events": 1, "last": None, **one} for one in buckets]
    head = {"node": "pi-1", "sensor": "x", "unit": unit, "shows": shows, "from": AT, "to": AT}
    return {**head, "events": len(buckets), "buckets": filled}


def number(mean: float | None, **more: Any) -> dict[str, Any]:
    return {"count": 0 if mean is None else 1, "min": mean, "max": mean, "mean": mean, "last": mean, **more}


def state(changes: int, **states_s: float) -> dict[str, Any]:
    return {"changes": changes, "states_s": states_s, "unknown_s": 0, "last": True}


@pytest.mark.parametrize(
    ("values", "shown"),
    [([0, 1, 2, 3, 4, 5, 6, 7], "▁▂▃▄▅▆▇█"), ([5, 5], "▁▁"), ([None, 1, None, 2], " ▁ █"), ([], "")],
)
def test_bars_reach_from_the_lowest_to_the_highest(values: list[float | None], shown: str) -> None:
    assert bars(values) == shown


def test_numbers_are_a_line_and_rows_of_what_was_told() -> None:
    found = answer("numbers", number(20.0), number(None, events=0, last=20.0), number(24.5), unit="Cel")
    head, line, reach = chart(found)
    assert head.endswith("  3 events")
    assert (line, reach) == ("▁▁█", "from 20 to 24.5 Cel")
    heads, first, second = table(found)
    assert tuple(heads) == ("FROM", "EVENTS", "MIN", "MEAN", "MAX", "LAST")
    assert (tuple(first)[1:], tuple(second)[1:]) == (
        ("1", "20", "20", "20", "20"),
        ("1", "24.5", "24.5", "24.5", "24.5"),
    )


def test_states_are_the_share_of_the_time_and_how_long_each_lasted() -> None:
    found = answer("states", state(0, false=10.0), state(1, false=5.0, true=5.0), state(0))
    assert list(chart(found))[1:] == ["▁▅ ", "how much of the time it was true"]
    assert [tuple(row)[1:] for row in table(found)][:3] == [
        ("EVENTS", "CHANGES", "FALSE", "TRUE", "LAST"),
        ("1", "0", "10 s", "0 s", "true"),
        ("1", "1", "5 s", "5 s", "true"),
    ]


def test_a_sensor_that_told_nothing_has_no_rows() -> None:
    found = answer("nothing")
    assert list(chart(found))[1:] == ["it told nothing in this time"]
    assert table(found) == []


async def test_the_command_shows_what_the_manager_keeps(desk: Desk, tmp_path: Path) -> None:  # noqa: F811 - the fixture
    await begun(desk)
    now = datetime.now(UTC)
    async with publisher(desk.broker.connect) as client:
        for sequence, value in enumerate((20.0, 23.0), 1):
            client.publish(topic().text, told(sequence, value, at=now - timedelta(minutes=3 - sequence)))
        await arrived(desk, 2)
    token = tmp_path / "token"
    token.write_text(desk.manager.own_token)
    how = f"pi-1/attic --since 1h --url {desk.manager.url} --token-file {token}"
    shown = await asyncio.to_thread(command, f"sensors history {how}")
    assert (shown.code, shown.err) == (0, "")
    assert "from 20 to 23 Cel" in shown.out
    assert len(shown.out.splitlines()) == 3 + 2 + 2
    points = await asyncio.to_thread(command, f"sensors history {how} --points --json")
    assert [one["value"] for one in json.loads(points.out)] == [20.0, 23.0]
    rows = await asyncio.to_thread(command, f"sensors history {how} --points")
    assert rows.out.splitlines()[1].split()[2:4] == ["temperature.changed", "20"]
    for wrong, why in (("attic", "NODE/SENSOR"), ("pi-1/attic --since soon", "not a duration"),
                       ("pi-1/attic --since 0s", "longer than nothing")):  # fmt: skip
        refused = await asyncio.to_thread(command, f"sensors history {wrong}")
        assert (refused.code, why in refused.err) == (2, True), refused
    unknown = await asyncio.to_thread(command, f"sensors history {how.replace('attic', 'cellar')}")
    assert (unknown.code, "nothing has been heard of a sensor pi-1/cellar" in unknown.err) == (1, True)
