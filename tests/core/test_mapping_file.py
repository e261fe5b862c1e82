"""The mapping file: every shape people may write, and every mistake with its place."""

from __future__ import annotations

from datetime import UTC
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from bridge.config import compose
from bridge.core.conditions import Template
from bridge.core.mapping import Cooldown, Mapping, MappingSet
from bridge.core.mapping_document import render
from bridge.core.plan import MappingState, plan
from bridge.core.retry import RetryPolicy
from bridge.core.selector import SensorSelector, TopicSelector
from bridge.errors import ConfigError
from bridge.mapping_file import decode_mappings, load_mappings
from tests.core.mapping_events import NOON, foreign_event, one, sensor_event

DEMO = Path(__file__).parents[2] / "config" / "mappings.yaml"
FULL = """
version: 1
timezone: Europe/London
allow_empty: true
mappings:
  night-intruder:
    select: {site: home, node: "*", sensor: front-door, kind: pir, event: motion.detected}
    when: "event.time.getHours('Europe/London') >= 22 && data.value == true"
    hours: "22:00-06:00"
    for: 5s
    cooldown: 30s
    invoke: intruder-alert
    retry: {attempts: 5, first: 1s, max: 1m, total: 10m}
    on_failure: page-someone
    max_age: 10m
    backlog: latest
    order: sensor
    initial: always
  other:
    select: [{topic: zigbee2mqtt/+}, {sensor: gate}]
    hours: {from: "08:00", to: "17:00", days: [mon-fri, sun], timezone: UTC}
    for: 1h30m
    until: {event: beam.restored}
    on_fault: keep
    cooldown: {time: 250ms, per: mapping, from: success}
    invoke:
      function: Page_Someone.v2
      mode: async
      payload: {template: "at ${event.time}"}
      timeout: 1m
      headers: {X-Team: "night watch"}
    order: none
    initial: never
    shadow: true
    enabled: false
  data:
    select: {sensor: "*"}
    when: null
    invoke: {function: f, payload: data}
"""


def problems(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        decode_mappings(compose(text, "m.yaml"))
    return [str(problem) for problem in caught.value.problems]


def problem(rest: str, *, select: str = "{sensor: front-door, event: motion.detected}") -> str:
    with pytest.raises(ConfigError) as caught:
        one(rest, select=select)
    (found,) = caught.value.problems
    return f"{found.key}: {found.message}".removeprefix("mappings.")


def test_every_key_is_read() -> None:
    built = decode_mappings(compose(FULL, "m.yaml"))
    first, other, data = built.mappings.values()
    assert first.name == "night-intruder"
    assert first.selectors == (SensorSelector(site="home", sensor="front-door", kind="pir", event="motion.detected"),)
    assert first.hours is not None
    assert (first.hours.start_min, first.hours.end_min, first.hours.zone) == (1320, 360, ZoneInfo("Europe/London"))
    assert (first.for_s, first.cooldown, first.max_age_s) == (5.0, Cooldown(30.0), 600.0)
    assert first.retry == RetryPolicy(5, 1.0, 60.0, 600.0)
    assert (first.on_failure, first.backlog, first.initial, first.on_fault) == (
        "page-someone", "latest", "always", "cancel",
    )  # fmt: skip
    assert other.selectors == (TopicSelector(topic="zigbee2mqtt/+"), SensorSelector(sensor="gate"))
    assert other.hours is not None
    assert (other.hours.days, other.hours.zone) == (frozenset({0, 1, 2, 3, 4, 6}), UTC)
    assert (other.until, other.on_fault) == ((SensorSelector(event="beam.restored"),), "keep")
    assert other.cooldown == Cooldown(0.25, "mapping", "success")
    assert (other.function, other.mode, other.timeout_s) == ("Page_Someone.v2", "async", 60.0)
    assert isinstance(other.payload, Template)
    assert other.headers == {"X-Team": "night watch"}
    assert (other.order, other.initial, other.shadow, other.enabled) == ("none", "never", True, False)
    assert (data.payload, data.when) == ("data", None)
    assert data.retry == RetryPolicy()
    assert built.allow_empty


@pytest.mark.parametrize("text", [FULL, DEMO.read_text(encoding="utf-8")])
def test_the_canonical_form_is_a_mapping_file_that_means_the_same(text: str) -> None:
    built = decode_mappings(compose(text, "m.yaml"))
    again = decode_mappings(compose(render(built).decode(), "canonical.json"))
    assert again.mappings == built.mappings
    assert again.version == built.version
    assert render(again) == render(built)


def test_hours_mean_the_local_zone_unless_the_file_names_one() -> None:
    def zone(built: MappingSet) -> str:
        (mapping,) = built.mappings.values()
        assert mapping.hours is not None
        return str(mapping.hours.zone)

    hours = 'hours: "22:00-06:00"'
    assert zone(one(hours)) == "UTC"
    text = f"version: 1\nmappings: {{m: {{select: {{sensor: a}}, invoke: f, {hours}}}}}"
    assert zone(decode_mappings(compose(text, "m"), local_timezone="Asia/Kolkata")) == "Asia/Kolkata"
    assert zone(decode_mappings(compose(text, "m"), local_timezone=ZoneInfo("Asia/Kolkata"))) == "Asia/Kolkata"
    named = f"{text}\ntimezone: Europe/London"
    assert zone(decode_mappings(compose(named, "m"), local_timezone="Asia/Kolkata")) == "Europe/London"


def test_rule_13_an_empty_file_is_refused_unless_it_asks_for_that() -> None:
    """rule_13"""
    with pytest.raises(ConfigError, match="m:1:1: mappings: holds no mapping; write `allow_empty: true`"):
        decode_mappings(compose("version: 1\nmappings:", "m"))
    assert decode_mappings(compose("version: 1\nmappings: {}\nallow_empty: true", "m")).allow_empty


def test_all_mistakes_are_told_at_once_with_their_lines() -> None:
    text = """
version: 2
timezone: Europe/Londn
mappings:
  Bad_Name:
    select: {sensor: a}
    invoke: f
  m:
    selct: {sensor: a}
    select: {sensor: a, event: motion.detect}
    when: "data.value >"
    invoke: "bad name"
    colour: red
  n: 5
"""
    found = problems(text)
    assert [line.split(": ")[0] for line in found] == [
        f"m.yaml:{place}" for place in ("2:10", "3:11", "6:5", "9:5", "10:32", "11:11", "12:13", "13:5", "14:6")
    ]
    assert "must be 1" in found[0]
    assert "did you mean select?" in found[3]
    assert "no event is called motion.detect; did you mean motion.detected?" in found[4]


@pytest.mark.parametrize("text", ["", "[]", "hello", "version: 1", "mappings: {}", "version: true\nmappings: {}"])
def test_what_is_no_mapping_file_is_refused(text: str) -> None:
    assert problems(text)


@pytest.mark.parametrize(
    ("rest", "said"),
    [
        ("until: {event: motion.ended}", "m.until: has no effect without for"),
        ("on_fault: keep", "m.on_fault: has no effect without for"),
        ("invoke: {function: f, mode: async}", "m.invoke.mode: async keeps no order"),
        ("order: none\nbacklog: latest", "m.backlog: latest needs order: sensor"),
        ("when: 5", "m.when: must be a CEL expression as text, not a number"),
        ("when: data.valu +", "m.when: is no CEL expression"),
        ('hours: "22:00"', "m.hours: '22:00' is not a range of hours"),
        ("hours: 5", "m.hours: must be a map"),
        ('hours: {from: "08:00", to: "08:00"}', "m.hours: begins and ends at the same time"),
        ('hours: {from: "08:00", to: "09:00", days: []}', "m.hours.days: names no day"),
        ('hours: {from: "08:00", to: "09:00", days: [someday]}', "m.hours: 'someday' is not a day"),
        ('hours: {from: "08:00", to: "09:00", timezone: Mars}', "m.hours: 'Mars' is not a time zone"),
        ("for: 5", "m.for: needs a unit"),
        ("cooldown: often", "m.cooldown: 'often' is not a duration"),
        ("cooldown: 0", "m.cooldown: must be 1ms to 366d"),
        ("cooldown: {time: 5s, per: house}", "m.cooldown.per: must be one of sensor, mapping, node"),
        ("cooldown: {per: node}", "m.cooldown.time: is missing"),
        ("invoke: {mode: sync}", "m.invoke.function: is missing"),
        ("invoke: {function: f, payload: all}", "m.invoke.payload: must be one of event, data"),
        ("invoke: {function: f, payload: {}}", "m.invoke.payload.template: is missing"),
        ("invoke: {function: f, payload: {template: '${x'}}", "m.invoke.payload.template: the ${ at character 1"),
        ("invoke: {function: f, headers: {Host: x}}", "m.invoke.headers.Host: is set by gpio-bridge itself"),
        ("invoke: {function: f, headers: {ce-id: x}}", "m.invoke.headers.ce-id: is set by gpio-bridge itself"),
        ("invoke: {function: f, headers: {'a b': x}}", "m.invoke.headers.a b: 'a b' is no name"),
        ("invoke: {function: f, headers: {X-A: x, x-a: y}}", "m.invoke.headers.x-a: is given twice"),
        ('invoke: {function: f, headers: {X-A: "a\\r\\nb"}}', "m.invoke.headers.X-A: holds a line break"),
        ("invoke: {function: f, headers: {X-A: 5}}", "m.invoke.headers.X-A: must be text"),
        ("invoke: {function: f, headers: 5}", "m.invoke.headers: must be a map"),
        ("invoke: 42", 'm.invoke: must be text, not 42; put it in quotes: "42"'),
        ("invoke: true", 'm.invoke: must be text, not true; put it in quotes: "true"'),
        ("invoke: [f]", "m.invoke: must be a map, not a list"),
        ("retry: {attempts: 0}", "m.retry.attempts: must be 1 to 100"),
        ("retry: {first: 2m}", "m.retry.first: is longer than max (60s)"),
        ("retry: {total: 500ms}", "m.retry.total: is shorter than first (1s)"),
        ("on_failure: /etc/passwd", "m.on_failure: must be a function's name"),
        ("shadow: on", "m.shadow: must be true or false"),
    ],
)
def test_a_mistake_is_told_with_its_key(rest: str, said: str) -> None:
    found = problem(rest)
    assert found.startswith(said)


@pytest.mark.parametrize(
    ("select", "said"),
    [
        ("front-door", "m.select: must be a map such as {sensor: front-door}, not text"),
        ("[]", "m.select: is empty"),
        ("{}", "m.select: selects everything"),
        ("[{sensor: a}, 5]", "m.select[1]: must be a map"),
        ("{sensor: Front-Door}", "m.select.sensor: must be a name or a glob of lower-case"),
        ("{topic: a, sensor: b}", "m.select: topic (other devices) and sensor (our sensors) exclude each other"),
        ("{topic: a/#/b}", "m.select.topic: in the topic filter 'a/#/b', # must stand alone"),
        ("{topic: 5}", "m.select.topic: must be text"),
        ("{topic: gpio-bridge/v1/home/nodes/+/status}", "m.select.topic: is one of gpio-bridge's own topics"),
        ("{topic: gpio-bridge}", "m.select.topic: is one of gpio-bridge's own topics"),
        ("{event: frobnicated}", "m.select.event: no event is called frobnicated; there are motion.detected"),
        ("{event: 'motion-*'}", "m.select.event: no event is called motion-*; did you mean"),
    ],
)
def test_a_selector_that_can_select_nothing_is_refused(select: str, said: str) -> None:
    assert problem("", select=select).startswith(said)


@pytest.mark.parametrize("select", ["{topic: a/b}", "{event: temperature.changed}", "{event: sensor.fault}"])
def test_for_needs_something_that_ends_it(select: str) -> None:
    assert problem("for: 5s", select=select).startswith("m.for: nothing would end the waiting")
    assert one("for: 5s\nuntil: {sensor: stop}", select=select).mappings["m"].for_s == 5.0


def test_a_wildcard_that_can_select_our_own_topics_is_allowed_for_other_devices() -> None:
    assert one(select='{topic: "#"}').foreign_filters() == ("#",)


def test_a_payload_map_with_an_unknown_key_names_it() -> None:
    found = problems(
        "version: 1\nmappings: {m: {select: {sensor: a}, invoke: {function: f, payload: {template: x, tmplate: y}}}}"
    )
    assert "did you mean template?" in found[0]


def test_a_file_is_loaded_from_disk(tmp_path: Path) -> None:
    path = tmp_path / "mappings.yaml"
    path.write_text(FULL, encoding="utf-8")
    assert len(load_mappings(path, local_timezone="UTC").mappings) == 3


# --- the demo ---


@pytest.mark.parametrize(
    ("name", "sensor", "kind", "value", "function"),
    [
        ("motion.detected", "pi-1/front-door", "pir", True, "intruder-alert"),
        ("temperature.high", "pi-1/boiler", "thermometer", 71.0, "temperature-alarm"),
        ("button.pressed", "pi-1/doorbell", "button", True, "hello-python"),
        ("beam.broken", "pi-2/gate", "laser-tripwire", True, "intruder-alert"),
        ("temperature.high", "pi-2/greenhouse", "thermometer", 36.0, "temperature-alarm"),
        ("temperature.low", "pi-2/greenhouse", "thermometer", 4.0, "temperature-alarm"),
        ("distance.changed", "pi-2/water-tank", "distance", 42.0, "wordcount"),
        ("distance.near", "pi-2/water-tank", "distance", 12.0, "nodeinfo"),
    ],
)
def test_the_demo_has_a_mapping_for_every_kind_of_sensor_at_any_hour(
    name: str, sensor: str, kind: str, value: float, function: str
) -> None:
    node, _, sensor = sensor.partition("/")
    event = sensor_event(name, node=node, sensor=sensor, kind=kind, value=value)
    planned = plan(event, load_mappings(DEMO), MappingState(), received_at=NOON)
    assert [(one.function, one.due_at) for one in planned.invocations] == [(function, None)]
    assert planned.failures == ()


def test_the_demo_has_a_mapping_for_another_device() -> None:
    mappings = load_mappings(DEMO)
    planned = plan(foreign_event(), mappings, MappingState(), received_at=NOON)
    assert [one.function for one in planned.invocations] == ["echoit"]
    silent = plan(foreign_event(payload=b'{"battery": 90}'), mappings, MappingState(), received_at=NOON)
    assert (silent.invocations, silent.failures) == ((), ())
    assert len(plan(foreign_event(payload=b"text"), mappings, MappingState(), received_at=NOON).failures) == 1


def test_the_demos_night_watch_waits_at_night() -> None:
    mappings = load_mappings(DEMO)
    event = sensor_event(seconds=10 * 3600)
    planned = plan(event, mappings, MappingState(), received_at=NOON)
    assert [(one.mapping, one.due_at is None) for one in planned.invocations] == [
        ("intruder", True),
        ("night-loiterer", False),
    ]


def test_a_mapping_has_the_documented_defaults() -> None:
    (mapping,) = one(select="{sensor: a}").mappings.values()
    assert mapping == Mapping(name="m", selectors=(SensorSelector(sensor="a"),), function="f")
