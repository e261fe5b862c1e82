from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from bridge.cli.events import line, place
from bridge.core.event import Observation, encode, parse
from bridge.core.topics import SensorEventTopic, Topics


def event_line(name: str, value: bool | float, unit: str | None, *, initial: bool) -> str:
    at = Topics().parse("gpio-bridge/v1/home/nodes/pi-1/sensors/attic/event")
    assert isinstance(at, SensorEventTopic)
    time = datetime(2026, 11, 22, 17, 30, 0, 123456, UTC)
    seen = Observation(
        kind="thermometer", name=name, value=value, unit=unit, initial=initial, time=time, timesynced=True
    )
    return line(parse(encode(seen, at=at, id="x", epoch="e", sequence=1), at))[14:]


@pytest.mark.parametrize(
    ("name", "value", "unit", "initial", "text"),
    [
        ("temperature.changed", 21.5, "Cel", False, "pi-1/attic  temperature.changed  21.5 Cel"),
        ("motion.detected", True, None, False, "pi-1/attic  motion.detected  true"),
        ("motion.ended", False, None, True, "pi-1/attic  motion.ended  false  (found at start)"),
    ],
)
def test_an_event_is_one_line_for_people(name: str, value: bool, unit: str | None, initial: bool, text: str) -> None:
    assert event_line(name, value, unit, initial=initial) == text


def test_the_broker_and_the_site_may_come_from_a_programs_file(tmp_path: Path) -> None:
    file = tmp_path / "agent.yaml"
    file.write_text(
        "version: 1\nnode: pi-1\nsite: barn\nroot: farm\nmqtt: {host: broker, port: 1999}\n", encoding="utf-8"
    )
    mqtt, root, site = place(file, None, None)
    assert (mqtt.address, root, site) == ("broker:1999", "farm", "barn")
    assert mqtt.session_expiry_s == 0
    assert place(file, "other", 2000)[0].address == "other:2000"


def test_without_anything_it_is_the_broker_of_this_machine() -> None:
    assert place(None, None, None)[0].address == "127.0.0.1:1883"
