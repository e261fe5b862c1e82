"""Events and mappings for the tests of the mapping modules."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from bridge.config import compose
from bridge.core.event import Event, Observation, Value, encode, parse, parse_foreign, source_of
from bridge.core.mapping import MappingSet
from bridge.core.topics import SensorEventTopic, Topics
from bridge.mapping_file import decode_mappings

NOON = datetime(2026, 7, 1, 12, 0, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


def sensor_event(
    name: str = "motion.detected",
    *,
    seconds: float = 0,
    site: str = "home",
    node: str = "pi-1",
    sensor: str = "front-door",
    kind: str = "pir",
    value: Value = True,
    initial: bool = False,
    timesynced: bool = True,
    sequence: int = 1,
) -> Event:
    topic = SensorEventTopic(Topics().event(site, node, sensor), site, node, sensor)
    seen = Observation(
        kind=kind, name=name, value=value, unit=None, initial=initial, time=at(seconds), timesynced=timesynced
    )
    return parse(encode(seen, at=topic, id=f"{name}@{seconds}", epoch="e", sequence=sequence), topic)


def foreign_event(topic: str = "zigbee2mqtt/door", payload: bytes = b'{"contact": false}', seconds: float = 0) -> Event:
    return parse_foreign(payload, topic, id=f"{topic}@{seconds}", received_at=at(seconds))


def mapping_set(text: str, **options: Any) -> MappingSet:
    """The mappings of a file that holds `text` under `mappings:`."""
    indented = "\n".join(f"  {line}" for line in text.strip("\n").splitlines())
    return decode_mappings(compose(f"version: 1\nmappings:\n{indented}\n", "mappings.yaml"), **options)


def one(rest: str = "", *, select: str = "{sensor: front-door, event: motion.detected}") -> MappingSet:
    """A set of one mapping `m` that invokes `f`; `rest` holds its other lines."""
    lines = [f"select: {select}", "invoke: f", *rest.strip("\n").splitlines()]
    if any(line.startswith("invoke:") for line in lines[2:]):
        lines.pop(1)
    return mapping_set("m:\n" + "\n".join(f"  {line}" for line in lines))


SOURCE = source_of("home", "pi-1", "front-door")
