"""The topic annotation: what a connector would have subscribed to, as mappings."""

from __future__ import annotations

import orjson
import pytest

from bridge.config.yaml12 import from_plain
from bridge.core.mapping import MappingSet
from bridge.core.mapping_document import render
from bridge.core.selector import SensorSelector, TopicSelector
from bridge.errors import TopicError
from bridge.manager.mappings.annotated import MAX_TOPICS, annotated_mappings, carried_topics
from bridge.mapping_file import decode_mappings

ROOT = "gpio-bridge"
DOOR = "gpio-bridge/v1/home/nodes/pi-1/sensors/door/event"


def test_a_foreign_topic_gets_the_message_as_it_was_published() -> None:
    (mapping,) = annotated_mappings("alarm", "alarms/+", ROOT)
    assert (mapping.name, mapping.function) == ("topics-of-alarm", "alarm")
    assert mapping.selectors == (TopicSelector(topic="alarms/+"),)
    assert not isinstance(mapping.payload, str)
    assert mapping.payload.text == "${payload}"


@pytest.mark.parametrize(
    ("topic", "selector"),
    [
        (DOOR, SensorSelector(site="home", node="pi-1", sensor="door")),
        ("gpio-bridge/v1/home/nodes/+/sensors/door/event", SensorSelector(site="home", sensor="door")),
        ("gpio-bridge/v1/home/nodes/pi-1/sensors/#", SensorSelector(site="home", node="pi-1")),
        ("gpio-bridge/v1/+/nodes/pi-1/sensors/door/event/#", SensorSelector(node="pi-1", sensor="door")),
        ("gpio-bridge/#", SensorSelector()),
    ],
)
def test_a_topic_of_our_sensors_events_selects_the_sensors(topic: str, selector: SensorSelector) -> None:
    (mapping,) = annotated_mappings("alarm", topic, ROOT)
    assert mapping.selectors == (selector,)
    assert (mapping.name, mapping.payload) == ("events-of-alarm", "event")


def test_a_filter_that_reaches_both_selects_both() -> None:
    events, messages = annotated_mappings("log", "#", ROOT)
    assert events.selectors == (SensorSelector(),)
    assert messages.selectors == (TopicSelector(topic="#"),)


def test_several_topics_stand_with_commas_between_and_a_root_may_have_levels() -> None:
    events, messages = annotated_mappings("log", f" a/b , c,a/b, my/{DOOR}", "my/gpio-bridge")
    assert events.selectors == (SensorSelector(site="home", node="pi-1", sensor="door"),)
    assert messages.selectors == (TopicSelector(topic="a/b"), TopicSelector(topic="c"))


@pytest.mark.parametrize(
    ("topic", "why"),
    [
        ("", "the topic filter is empty"),
        ("a,,b", "the topic filter is empty"),
        ("a/#/b", "# must stand alone as the last level"),
        ("a+", r"\+ must stand alone in its level"),
        (DOOR.replace("/event", "/state"), "one of gpio-bridge's own topics, but not that of a sensor's events"),
        (DOOR.replace("door", "Door*"), "own topics"),
        ("gpio-bridge", "own topics"),
        (f"{DOOR}/more/#", "own topics"),
        (",".join(f"t{i}" for i in range(MAX_TOPICS + 1)), "names 101 topics; the limit is 100"),
    ],
)
def test_what_reaches_nothing_is_refused(topic: str, why: str) -> None:
    with pytest.raises(TopicError, match=why):
        annotated_mappings("alarm", topic, ROOT)


def test_a_function_that_no_mapping_can_invoke_is_refused() -> None:
    with pytest.raises(TopicError, match="cannot be invoked by a mapping"):
        annotated_mappings("../alarm", "a", ROOT)


@pytest.mark.parametrize("function", ["alarm", "Alarm.of_the-house", "a" * 253, "-", "a" * 41])
def test_dispatchers_understand_each_of_them(function: str) -> None:
    made = MappingSet(annotated_mappings(function, f"#,{DOOR}", ROOT))
    read = decode_mappings(from_plain(orjson.loads(render(made)), "message"), root=ROOT)
    assert read.version == made.version


def test_functions_that_differ_never_share_a_name() -> None:
    functions = ("a.b", "a-b", "a_b", "A-b", "a" * 50, "a" * 51, "events-of-a", "a-events", "a")
    names = [mapping.name for function in functions for mapping in annotated_mappings(function, "#", ROOT)]
    assert len(set(names)) == 2 * len(functions)


def test_only_annotations_of_functions_count() -> None:
    listed: list[dict[str, object]] = [
        {"name": "b", "annotations": {"topic": "x", "other": "y"}},
        {"name": "a", "annotations": {"topic": "z"}},
        {"name": "c", "annotations": None},
        {"name": "d", "labels": {"topic": "x"}},
        {"name": "e", "annotations": {"topic": 5}},
        {"annotations": {"topic": "x"}},
    ]
    assert carried_topics(listed) == {"a": "z", "b": "x"}
