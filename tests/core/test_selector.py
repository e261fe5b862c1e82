"""Selectors: globs over sensors' names, and MQTT topic filters."""

from __future__ import annotations

import fnmatch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.core.selector import (
    Mismatch,
    SensorSelector,
    TopicSelector,
    glob,
    is_literal,
    nearest_mismatch,
    selects,
)
from tests.core.mapping_events import foreign_event, sensor_event


@pytest.mark.parametrize(
    ("pattern", "text", "matches"),
    [
        ("*", "", True),
        ("*", "anything", True),
        ("pi-1", "pi-1", True),
        ("pi-1", "pi-10", False),
        ("pi-?", "pi-1", True),
        ("pi-?", "pi-10", False),
        ("pi-*", "pi-10", True),
        ("temperature.*", "temperature.high", True),
        ("temperature.*", "temperaturexhigh", False),
        ("pi-[12]", "pi-2", True),
        ("pi-[!12]", "pi-2", False),
        ("pi-[12", "pi-1", False),
        ("PI-*", "pi-1", False),
    ],
)
def test_a_glob_matches_as_a_shell_would(pattern: str, text: str, matches: bool) -> None:
    assert glob(pattern)(text) is matches


@given(st.text("ab-*?[]!", max_size=8), st.text("ab-", max_size=8))
def test_a_glob_agrees_with_fnmatch(pattern: str, text: str) -> None:
    assert glob(pattern)(text) is fnmatch.fnmatchcase(text, pattern)


def test_a_glob_of_many_stars_is_quick() -> None:
    assert glob("a*" * 30 + "c")("a" * 63 + "b") is False


def test_a_pattern_without_wildcards_is_literal() -> None:
    assert is_literal("front-door")
    assert not is_literal("front-*")


def test_a_selector_tells_the_first_field_that_does_not_fit() -> None:
    event = sensor_event(node="pi-2")
    assert SensorSelector(node="pi-2", kind="pir").mismatch(event) is None
    assert SensorSelector(node="pi-1", kind="button").mismatch(event) == Mismatch("node", "pi-1", "pi-2")


def test_a_sensor_selector_never_selects_another_devices_message() -> None:
    selector, event = SensorSelector(), foreign_event("a/b")
    assert not selector.matches(event)
    mismatch = selector.mismatch(event)
    assert mismatch is not None
    assert "a/b" in mismatch.found


def test_a_topic_selector_selects_only_messages_of_other_devices() -> None:
    selector = TopicSelector(topic="zigbee2mqtt/+")
    assert selector.names_a_place
    assert selector.matches(foreign_event("zigbee2mqtt/door"))
    assert selector.mismatch(foreign_event("zigbee2mqtt/door")) is None
    assert selector.mismatch(foreign_event("zigbee2mqtt/a/b")) == Mismatch("topic", "zigbee2mqtt/+", "zigbee2mqtt/a/b")
    assert not TopicSelector(topic="#").matches(sensor_event())
    own = TopicSelector(topic="#").mismatch(sensor_event())
    assert own is not None
    assert "front-door" in own.found


def test_a_list_selects_what_any_of_it_selects_and_tells_the_nearest_miss() -> None:
    event = sensor_event()
    wrong_node, wrong_event = SensorSelector(node="pi-9"), SensorSelector(sensor="front-door", event="motion.ended")
    assert selects((wrong_node, SensorSelector()), event)
    assert not selects((), event)
    assert nearest_mismatch((wrong_node, SensorSelector()), event) is None
    nearest = nearest_mismatch((TopicSelector(topic="a"), wrong_node, wrong_event), event)
    assert nearest == Mismatch("event", "motion.ended", "motion.detected")


def test_only_a_selector_with_site_node_or_sensor_names_a_place() -> None:
    assert SensorSelector(sensor="gate").names_a_place
    assert not SensorSelector(kind="pir", event="motion.ended").names_a_place
