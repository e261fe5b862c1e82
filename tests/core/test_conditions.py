"""Conditions and templates: what they see, how they fail, and their bounds."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.core.conditions import MAX_LENGTH, MAX_TEMPLATE, compile_condition, compile_template
from bridge.core.expressions import keys_used, split_template
from bridge.errors import ConditionError, ConditionFailed
from tests.core.mapping_events import NOON, foreign_event, sensor_event

KNOWN = {"pi-1/boiler": {"event": "temperature.high", "value": 71.5, "time": NOON}}


def holds(text: str, payload: bytes | None = None) -> bool:
    event = sensor_event() if payload is None else foreign_event(payload=payload)
    return compile_condition(text).evaluate(event, KNOWN, at=NOON)


@pytest.mark.parametrize(
    "text",
    [
        "data.value == true && data['kind'] == 'pir'",
        "node == 'pi-1' && sensor.startsWith('front')",
        "event.type == 'io.gpio-bridge.motion.detected' && event.subject == sensor",
        "event.source.endsWith('/front-door') && event.timesynced && !event.initial",
        "event.topic.contains('/nodes/') && event.id != ''",
        "payload.value",
        "event.time == timestamp('2026-07-01T12:00:00Z')",
        "event.time.getHours() == 12",
        "event.time.getHours('Europe/London') == 13",
        "event.time.getHours('Asia/Kolkata') == 17 && event.time.getMinutes('Asia/Kolkata') == 30",
        "event.time.getFullYear('UTC') == event.time.getFullYear()",
        "event.time.getMonth('UTC') == event.time.getMonth()",
        "event.time.getDate('UTC') == event.time.getDate()",
        "event.time.getDayOfMonth('UTC') == event.time.getDayOfMonth()",
        "event.time.getDayOfYear('UTC') == event.time.getDayOfYear()",
        "event.time.getDayOfWeek('UTC') == event.time.getDayOfWeek()",
        "event.time.getSeconds('UTC') == event.time.getSeconds()",
        "event.time.getMilliseconds('UTC') == event.time.getMilliseconds()",
        "state['pi-1/boiler'].value > 70 && 'pi-1/boiler' in state",
        "!('pi-9/none' in state)",
        "state.all(key, state[key].value > 70)",
        "size(data) == 8 && data.size() == 8",
        "json(data.value) == 'true'",
        "has(data.value) && !has(data.nothing)",
    ],
)
def test_a_condition_sees_event_data_node_sensor_payload_and_state(text: str) -> None:
    assert holds(text) is True


def test_a_condition_sees_another_devices_payload() -> None:
    assert holds("payload.contact == false && data.topic == 'zigbee2mqtt/door' && node == null", b'{"contact": false}')
    assert holds("payload.exists(x, x > 2)", b"[1, 2, 3]")
    assert holds("payload == 'ON'", b"ON")
    assert not holds("payload > 20", b"19")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("data.missing == 1", "there is no 'missing'"),
        ("state['pi-9/none'].value == 1", "there is no 'pi-9/none'"),
        ("data.value > 3", "another type"),
        ("data.unit > 3", "another type"),
        ("data.kind", 'the result is "pir"'),
        ("payload", "neither true nor false"),
        ("1 / 0 == 1", "division by zero"),
        ("event.time.getHours(data.kind) == 1", "time zone"),
        ("data.kind.matches('(')", "regex"),
    ],
)
def test_a_condition_that_cannot_be_told_raises_with_its_text(text: str, reason: str) -> None:
    """rule_12"""
    with pytest.raises(ConditionFailed) as caught:
        holds(text)
    assert reason in str(caught.value)
    assert str(caught.value).startswith(text)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("data.value >", "at character 13: mismatched input 'end of the expression'"),
        ("data.value ==\n  (1", "at line 2, character"),
        ("", "is no CEL expression"),
        ("'\ud800' == node", "is no CEL expression"),
        ("payload.all()", "the function all is not known"),
        ("dat.value > 1", "did you mean data?"),
        ("colour == 1", "colour is not known; there are event, data"),
        ("data.kind.startWith('p')", "did you mean startsWith?"),
        ("frobnicate(1) == 1", "the function frobnicate is not known"),
        ("event.time.getHours('Europe/Londn') == 1", "'Europe/Londn' is not a time zone"),
        ("payload.map(x, x) == []", "map is not available"),
        ("payload.all(x, payload.all(y, x == y))", "all stands inside of another one"),
        ("payload.all(x.y, true)", "must be a simple name"),
        ("true || " * 300 + "true", f"the limit is {MAX_LENGTH}"),
    ],
)
def test_a_mistake_in_a_condition_is_found_when_it_is_compiled(text: str, reason: str) -> None:
    with pytest.raises(ConditionError) as caught:
        compile_condition(text)
    assert reason in str(caught.value)


def test_macros_beside_each_other_are_fine() -> None:
    assert holds("payload.exists(x, x > 1) && payload.filter(y, y > 1).size() == 1", b"[1, 2]")


def test_a_macro_over_too_many_values_fails_at_once() -> None:
    with pytest.raises(ConditionFailed, match="at most 1000 values"):
        holds("payload.all(x, x >= 0)", b"[" + b",".join([b"1"] * 2000) + b"]")


def test_a_macros_text_within_a_text_is_no_macro() -> None:
    assert holds("data.kind != '.map(x, y)' // .map(x, y)")


def test_conditions_are_equal_when_their_texts_are() -> None:
    assert compile_condition("true") == compile_condition("true")
    assert compile_condition("true") != compile_condition("false")


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        ("state['a/b'].value == 1 && 'c/d' in state", {"a/b", "c/d"}),
        ("('a/b' in state) || state[\"e\"].x", {"a/b", "e"}),
        ("true", set()),
        ("data.state == 1 && 'state' == 'state'", set()),
        ("state[data.kind].value", None),
        ("'x' + 'a/b' in state", None),
        ("'a/b' in state.x", {"x"}),
        ("state.size() == 1", None),
        ("state == data", None),
        ("state.x == 1", {"x"}),
    ],
)
def test_the_sensors_a_condition_looks_at_are_known_beforehand(text: str, keys: set[str] | None) -> None:
    assert keys_used(text, "state") == (None if keys is None else frozenset(keys))


def test_a_condition_without_state_looks_at_no_sensor() -> None:
    assert compile_condition("data.value").state_keys == frozenset()
    assert compile_condition("state['a'].value == 1").state_keys == frozenset({"a"})
    assert compile_condition("size(state) == 1").state_keys is None


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("plain", "plain"),
        ("", ""),
        ("${sensor}", "front-door"),
        ("It's ${data.value} at ${node}/${sensor}.", "It's true at pi-1/front-door."),
        ("${data.unit}", "null"),
        ("${1.5 + 1.0}", "2.5"),
        ("${event.time}", '"2026-07-01T12:00:00Z"'),
        ("${{'a': [1, '}']}}", '{"a":[1,"}"]}'),
        ("$${sensor} costs 5$", "${sensor} costs 5$"),
        ('{"who": ${json(sensor)}}', '{"who": "front-door"}'),
    ],
)
def test_a_template_puts_expressions_into_text(template: str, text: str) -> None:
    assert compile_template(template).render(sensor_event(), at=NOON) == text


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        ("${sensor", "is not closed"),
        ("a ${'}", "token recognition error"),
        ("${}", "is no CEL expression"),
        ("${state['a'].value}", "state is not known"),
        ("x" * (MAX_TEMPLATE + 1), f"the limit is {MAX_TEMPLATE}"),
    ],
)
def test_a_mistake_in_a_template_is_found_when_it_is_compiled(template: str, reason: str) -> None:
    with pytest.raises(ConditionError, match=reason):
        compile_template(template)


def test_a_template_that_cannot_be_rendered_raises() -> None:
    with pytest.raises(ConditionFailed, match="there is no 'missing'"):
        compile_template("${data.missing}").render(sensor_event(), at=NOON)


@given(st.text("ab${} '", max_size=20))
def test_a_template_without_expressions_keeps_its_text(text: str) -> None:
    if "${" not in text:
        assert split_template(text) == [(text, None)]


@given(st.text(max_size=30))
def test_any_text_compiles_or_is_refused(text: str) -> None:
    with suppress(ConditionError):
        compile_condition(text)
