"""Samples: an event as a person gives it, of a sensor of ours, of somebody else, or as a message of any device."""

from __future__ import annotations

from datetime import UTC, datetime

import orjson
import pytest

from bridge.core.event import Event, Observation, encode
from bridge.core.sample import read_event
from bridge.core.topics import SensorEventTopic, Topics
from bridge.errors import EventError

NOW = datetime(2026, 11, 22, 17, 30, tzinfo=UTC)
TOPICS = Topics("gpio-bridge")
SEEN = Observation(kind="pir", name="motion.detected", value=True, unit=None, initial=False, time=NOW, timesynced=True)
PLACE = TOPICS.event("home", "pi-1", "front-door")


def read(payload: object) -> Event:
    return read_event(payload if isinstance(payload, bytes) else orjson.dumps(payload), TOPICS, NOW)


def test_an_event_of_a_sensor_says_itself_where_it_is_from() -> None:
    place = TOPICS.parse(PLACE)
    assert isinstance(place, SensorEventTopic)
    event = read(encode(SEEN, at=place, id="e-1", epoch="k3v9", sequence=1))
    assert (event.id, event.node, event.sensor, event.name) == ("e-1", "pi-1", "front-door", "motion.detected")


def test_an_event_of_somebody_else_is_taken_as_a_message() -> None:
    given = {"specversion": "1.0", "id": "1", "source": "/shop", "type": "order.placed", "data": {"site": "home"}}
    event = read(given)
    assert (event.node, event.type) == (None, "order.placed")
    assert read({key: value for key, value in given.items() if key != "data"}).type == "order.placed"


@pytest.mark.parametrize("payload", [{"contact": False}, "text"])
def test_a_message_is_its_topic_and_its_payload(payload: object) -> None:
    event = read({"topic": "zigbee2mqtt/door", "payload": payload})
    assert (event.topic, event.data["payload"]) == ("zigbee2mqtt/door", payload)


@pytest.mark.parametrize(
    ("payload", "why"),
    [
        (b"{", "the body is not JSON"),
        ([1], "the body is not a JSON object"),
        ({"topic": "a"}, "give a CloudEvent, or"),
        ({"topic": 1, "payload": 1}, "give a CloudEvent, or"),
        ({"specversion": "1.0"}, "this is no CloudEvent: it has no id, source, type"),
        ({"specversion": "1.0", "id": 1, "source": "/a", "type": "b"}, "it has no id, which must be text"),
    ],
)
def test_what_is_no_event_is_refused_with_what_is_missing(payload: object, why: str) -> None:
    with pytest.raises(EventError, match=why):
        read(payload)
