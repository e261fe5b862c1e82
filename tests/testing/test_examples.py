"""Examples inside of mappings: what they may say, what each mistake is told as, and what makes one fail."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.config import compose
from bridge.core.plan import OPPOSITES
from bridge.errors import ConfigError
from bridge.mapping_file import MappingFile, decode_file, decode_mappings
from bridge.mapping_file.examples import FUNCTION, TimeEntry
from bridge.testing.examples import failures

INTRUDER = """select: {sensor: front-door, event: motion.detected}
hours: "22:00-06:00"
cooldown: 10m
invoke: alarm"""
BOILER = """select: {kind: thermometer, event: temperature.changed}
when: data.value > 70
invoke: cool"""
QUIET = """select: {event: motion.ended}
for: 5m
invoke: lights-off"""
LAMP = """select: {topic: shelly/+}
when: payload.on
invoke: lamp"""

EARLY, LATE = datetime(1990, 1, 1), datetime(2090, 1, 1)  # noqa: DTZ001 - a zone is drawn too
TOO_SOON = "cooldown wants 600 s apart per sensor, found 60 s apart from 2026-01-01T23:10:00.000000Z"
DATA = ("site", "node", "sensor", "kind", "event", "value", "unit", "initial")
ENDED = "for wants motion.ended, found motion.detected"
MIXED = (
    "could not be evaluated: data.value > 70: a value has another type than the expression needs"
    " (numbers, text and null do not mix)"
)
EARLIER = "reaches the dispatcher before the one above it; write it there"
FOREIGN = "is of our own sensors' events; topic and payload are of other devices' messages"
CLOSED = "hours wants 22:00-06:00 (UTC), found Thu 12:00 UTC"
TEXT = "must be a function's name with [times NUMBER], or `none`, each with [because CLAUSE]; or a map"
TIME = 'must be a time such as "23:10", "sat 23:10" or "2026-11-22 23:10", not '
GATE_FIRST = "select: [{sensor: a, event: motion.detected}, {sensor: b, event: beam.broken}]\ninvoke: f"
BEAM = "{sensor: gate, event: beam.broken}"


def file_of(mapping: str, *examples: str, head: str = "timezone: UTC") -> MappingFile:
    """A file of one mapping `m`; its first example stands in the line that follows the mapping's own."""
    lines = [*mapping.splitlines(), "examples:", *(f"  - {example}" for example in examples)]
    body = "\n".join(f"    {line}" for line in lines)
    return decode_file(compose(f"version: 1\n{head}\nmappings:\n  m:\n{body}\n", "m.yaml"))


def unmet(mapping: str, *examples: str, head: str = "timezone: UTC") -> list[str]:
    """What is told of the examples that are not met."""
    return [problem.message for problem in failures(file_of(mapping, *examples, head=head))]


def problems(mapping: str, *examples: str) -> list[str]:
    """The mistakes in a file, from the key `examples` on."""
    with pytest.raises(ConfigError) as caught:
        file_of(mapping, *examples)
    return [f"{one.key.removeprefix('mappings.m.')}: {one.message}" for one in caught.value.problems]


# What is met


@pytest.mark.parametrize(
    ("mapping", "example"),
    [
        (INTRUDER, '{given: {event: motion.detected, at: "2026-11-22T23:10:00+00:00", value: true}, expect: alarm}'),
        (INTRUDER, '{given: {at: "23:10"}, expect: alarm}'),
        (INTRUDER, '{given: {at: "2026-11-22 23:10"}, expect: alarm times 1}'),
        (INTRUDER, "{given: {}, expect: none because hours}"),
        (INTRUDER, '{given: {at: "23:10", event: motion.ended}, expect: none because select}'),
        (INTRUDER, '{given: {at: "23:10", sensor: gate}, expect: {times: 0, because: select}}'),
        (INTRUDER, '{given: [{at: "23:10"}, {after: 5m}], expect: alarm because cooldown}'),
        (INTRUDER, '{given: [{at: "23:10"}, {after: 5m}, {after: 5m}], expect: alarm times 2}'),
        (INTRUDER, '{given: [{at: "23:59"}, {at: "00:10"}], expect: {function: alarm, times: 2}}'),
        (INTRUDER, '{given: {at: "23:10"}, expect: {body: {data: {value: true, sensor: front-door, unit: null}}}}'),
        (BOILER, "{given: {value: 70.5}, expect: cool}"),
        (BOILER, "{given: {value: 70}, expect: none because when}"),
        (BOILER, "{given: {value: 90, sensor: boiler}, expect: {body: {subject: boiler, data: {unit: Cel}}}}"),
        (
            BOILER.replace("kind: thermometer, ", ""),
            "{given: {value: 90}, expect: {body: {data: {kind: thermometer}}}}",
        ),
        (QUIET, "{given: {}, expect: lights-off}"),
        (QUIET, "{given: [{}, {event: motion.detected, after: 4m}], expect: none because for}"),
        (QUIET, "{given: [{}, {event: motion.detected, after: 6m}], expect: lights-off}"),
        (QUIET, "{given: [{}, {event: sensor.fault, after: 4m}], expect: none because on_fault}"),
        (QUIET, "{given: [{}, {event: motion.detected, sensor: other, after: 4m}], expect: lights-off}"),
        (
            QUIET + "\nuntil: {sensor: gate}",
            "{given: [{}, {sensor: gate, event: beam.broken, after: 1s}], expect: none because until}",
        ),
        (QUIET.replace("motion.ended", "digital.*"), "{given: {event: digital.on}, expect: lights-off}"),
        (QUIET + "\ninitial: never", "{given: {initial: true}, expect: none because initial}"),
        (QUIET + "\nmax_age: 10m", "{given: {late: 11m}, expect: none because max_age}"),
        (QUIET + "\nmax_age: 10m", "{given: {late: 11m, timesynced: false}, expect: lights-off}"),
        (LAMP, "{given: {topic: shelly/hall, payload: {on: true}}, expect: lamp}"),
        (LAMP, "{given: {topic: shelly/hall, payload: {on: false}}, expect: none because when}"),
        (LAMP, "{given: {topic: tasmota/hall, payload: {on: true}}, expect: none because select}"),
        (LAMP.replace("+", "hall"), "{given: {payload: {on: true}}, expect: {body: {data: {topic: shelly/hall}}}}"),
        ("select: {topic: a}\nwhen: payload == 'on'\ninvoke: f", "{given: {payload: on}, expect: f}"),
        ("select: {topic: a}\nwhen: payload == ''\ninvoke: f", "{given: {}, expect: f}"),
        ("select: {topic: a}\ninvoke: f", "{given: {event: motion.detected}, expect: none because select}"),
        (
            "select: {topic: a}\ninvoke: {function: f, payload: {template: 'it is ${payload}'}}",
            "{given: {payload: on}, expect: {body: it is on}}",
        ),
        (
            "select: [{topic: a}, {sensor: gate, event: beam.broken}]\ninvoke: f",
            "{given: [{}, {topic: a, after: 1s}], expect: f times 2}",
        ),
        (GATE_FIRST, "{given: {event: beam.broken}, expect: {body: {data: {sensor: b}}}}"),
        (INTRUDER + "\nenabled: false\nshadow: true", '{given: {at: "23:10"}, expect: alarm}'),
        (
            QUIET.replace("for: 5m", "cooldown: {time: 1m, from: success}"),
            "{given: [{}, {after: 59s}], expect: lights-off because cooldown}",
        ),
    ],
)
def test_an_example_that_is_met_says_nothing(mapping: str, example: str) -> None:
    assert unmet(mapping, example) == []


def test_times_are_in_the_zone_of_the_hours_else_of_the_file() -> None:
    example = '{given: {at: "23:10"}, expect: none because hours}'
    tokyo = INTRUDER.replace('"22:00-06:00"', '{from: "08:00", to: "17:00", timezone: Asia/Tokyo}')
    assert unmet(tokyo, example, head="timezone: Europe/London") == []
    assert unmet(INTRUDER, example.replace("none because hours", "alarm"), head="timezone: Asia/Tokyo") == []


def test_a_day_of_the_week_is_the_next_one() -> None:
    weekend = INTRUDER.replace('"22:00-06:00"', '{from: "08:00", to: "17:00", days: [sat, sun]}')
    examples = ('{given: {at: "sat 09:00"}, expect: alarm}', '{given: {at: "Mon 09:00"}, expect: none because hours}')
    assert unmet(weekend, *examples) == []


def test_hours_in_winter_and_summer_go_by_the_clock_on_the_wall() -> None:
    examples = (
        '{given: {at: "2026-07-01 22:00:01"}, expect: alarm}',
        '{given: {at: "2026-07-01T21:00:01Z"}, expect: alarm}',
    )
    assert unmet(INTRUDER, *examples, head="timezone: Europe/London") == []


@given(
    st.datetimes(EARLY, LATE),
    st.integers(0, 86_399),
    st.none() | st.integers(0, 6),
    st.sampled_from(["UTC", "Europe/London", "Asia/Kathmandu", "America/Sao_Paulo"]),
)
def test_a_time_of_day_is_the_first_one_that_comes(at: datetime, second: int, day: int | None, zone: str) -> None:
    here = ZoneInfo(zone)
    earlier = at.replace(tzinfo=here)
    found = TimeEntry(day=day, second=second).after(earlier, here)
    wall = found.replace(tzinfo=None)
    assert 0 <= (wall - at).total_seconds() < (8 if day is not None else 1) * 86_400
    assert (wall.hour * 3600 + wall.minute * 60 + wall.second, day if day is None else wall.weekday()) == (second, day)


# What is not met


@pytest.mark.parametrize(
    ("mapping", "example", "told"),
    [
        (INTRUDER, "{given: {}, expect: alarm}", f"expected alarm once, and nothing was invoked: {CLOSED}"),
        (INTRUDER, '{given: {at: "23:10"}, expect: none}', "expected no invocation, and alarm was invoked at 23:10:00"),
        (INTRUDER, '{given: {at: "23:10"}, expect: siren}', "expected siren once, and alarm was invoked at 23:10:00"),
        (
            INTRUDER,
            '{given: {sensor: gate, at: "23:10"}, expect: alarm}',
            "expected alarm once, and nothing was invoked: select.sensor wants front-door, found gate",
        ),
        (
            INTRUDER,
            '{given: [{at: "23:10"}, {after: 1m}], expect: alarm times 2}',
            f"expected alarm 2 times, and alarm was invoked at 23:10:00; at 23:11:00 motion.detected: {TOO_SOON}",
        ),
        (
            INTRUDER.replace("cooldown: 10m\n", ""),
            '{given: [{at: "23:10"}, {after: 500ms}], expect: alarm}',
            "expected alarm once, and alarm was invoked at 23:10:00, 23:10:00.500",
        ),
        (
            INTRUDER,
            "{given: {}, expect: none because cooldown}",
            f"expected no invocation because of cooldown, and the reason is another one: {CLOSED}",
        ),
        (
            INTRUDER,
            '{given: {at: "23:10"}, expect: {because: hours}}',
            "expected an invocation once because of hours, and the reason is another one: no clause says no",
        ),
        (
            BOILER,
            "{given: {value: 70}, expect: cool}",
            "expected cool once, and nothing was invoked: when wants data.value > 70, found false for 70",
        ),
        (
            BOILER,
            "{given: {value: warm}, expect: none}",
            f"expected no invocation, and a dead letter came of it: when {MIXED}",
        ),
        (
            LAMP,
            "{given: {topic: shelly/a, payload: {on: false}}, expect: lamp}",
            'expected lamp once, and nothing was invoked: when wants payload.on, found false for {"on":false}',
        ),
        (
            BOILER,
            "{given: {value: 71}, expect: {body: {data: {value: 72}}}}",
            "expected an invocation once, and body.data.value is 71, not 72",
        ),
        (
            INTRUDER,
            '{given: {at: "23:10"}, expect: {body: {data: {value: 1}}}}',
            "expected an invocation once, and body.data.value is true, not 1",
        ),
        (
            INTRUDER,
            '{given: {at: "23:10"}, expect: {body: {data: {colour: red}}}}',
            f"expected an invocation once, and body.data has no colour; it has {', '.join(DATA)}",
        ),
        (
            QUIET,
            "{given: [{}, {after: 1s, event: motion.detected}], expect: lights-off}",
            f"expected lights-off once, and nothing was invoked; at 12:00:01 motion.detected: {ENDED}",
        ),
    ],
)
def test_an_example_that_is_not_met_says_which_clause_said_no_on_which_value(
    mapping: str, example: str, told: str
) -> None:
    assert unmet(mapping, example) == [told]


def test_of_many_invocations_and_reasons_only_some_are_told() -> None:
    often = ", ".join(["{after: 11m}"] * 7)
    (told,) = unmet(INTRUDER, f'{{given: [{{at: "23:10"}}, {often}], expect: none}}')
    assert told.endswith("at 23:10:00, 23:21:00, 23:32:00, 23:43:00, 23:54:00 and 3 more")


def test_every_example_is_told_with_its_place() -> None:
    good = '{given: {at: "23:10"}, expect: alarm}'
    found = list(failures(file_of(INTRUDER, "{given: {}, expect: alarm}", good, "{given: {}, expect: alarm}")))
    assert [(one.line, one.column, one.key) for one in found] == [
        (10, 9, "mappings.m.examples[0]"),
        (12, 9, "mappings.m.examples[2]"),
    ]


# What cannot be given


@pytest.mark.parametrize(
    ("mapping", "example", "told"),
    [
        (
            "select: {sensor: front-*, event: motion.detected}\ninvoke: f",
            "{given: {}, expect: f}",
            "does not say its sensor, and its mapping selects front-*",
        ),
        (
            "select: {sensor: gate}\ninvoke: f",
            "{given: {}, expect: f}",
            "does not say its event, and its mapping selects any",
        ),
        (LAMP, "{given: {payload: on}, expect: lamp}", "does not say its topic, and its mapping selects shelly/+"),
        (INTRUDER, "{given: {payload: on}, expect: alarm}", "does not say its topic, and its mapping selects #"),
        (
            LAMP,
            "{given: {topic: gpio-bridge/v1/x}, expect: lamp}",
            "gpio-bridge/v1/x is one of gpio-bridge's own topics; say sensor and event instead",
        ),
        (
            LAMP,
            "{given: {topic: shelly/a, payload: 123456789012345678901234567890}, expect: lamp}",
            "Integer exceeds 64-bit range",
        ),
        (
            INTRUDER,
            '{given: [{at: "2026-11-22 23:10"}, {at: "2026-11-22 23:09"}], expect: alarm}',
            EARLIER,
        ),
        (
            INTRUDER,
            '{given: [{at: "23:10", late: 1h}, {after: 10s}], expect: alarm}',
            EARLIER,
        ),
        (
            INTRUDER,
            '{given: [{at: "9899-12-31 23:10"}, {after: 36500d}, {after: 36500d}], expect: alarm}',
            "date value out of range",
        ),
    ],
)
def test_what_could_not_reach_a_dispatcher_is_told(mapping: str, example: str, told: str) -> None:
    assert unmet(mapping, example) == [told]


def test_a_payload_that_is_too_large_is_told_as_what_becomes_of_it() -> None:
    (told,) = unmet(LAMP, f"{{given: {{topic: shelly/a, payload: {'x' * 70_000}}}, expect: lamp}}")
    assert told == "could not be read: the payload has 70000 bytes; the limit is 65536"


# Mistakes


@pytest.mark.parametrize(
    ("example", "told"),
    [
        ("{}", ["examples[0].expect: is missing", "examples[0].given: is missing"]),
        ("{given: {}, expect: alarm, gievn: {}}", ["examples[0].gievn: unknown key; did you mean given?"]),
        ("{given: [], expect: alarm}", ["examples[0].given: is empty; say what happens"]),
        ("{given: [{}, {}], expect: alarm}", ["examples[0].given[1]: does not say when: at, or after"]),
        (
            "{given: [{after: 1s}], expect: alarm}",
            ["examples[0].given[0].after: is said of the first one; nothing comes before it"],
        ),
        (
            '{given: [{}, {at: "12:00", after: 1s}], expect: alarm}',
            ["examples[0].given[1].after: cannot be said beside at"],
        ),
        (
            "{given: {event: motion.detcted}, expect: alarm}",
            ["examples[0].given.event: no event is called motion.detcted; did you mean motion.detected?"],
        ),
        (
            "{given: {value: [1]}, expect: alarm}",
            ["examples[0].given.value: must be a number, text, true, false or null: a sensor sends nothing else"],
        ),
        (
            "{given: {topic: a, sensor: b}, expect: alarm}",
            [f"examples[0].given.sensor: {FOREIGN}"],
        ),
        ("{given: {topic: a/+}, expect: alarm}", ["examples[0].given.topic: the topic 'a/+' holds a wildcard"]),
        ("{given: {at: noon}, expect: alarm}", [f"examples[0].given.at: {TIME}'noon'"]),
        ("{given: {at: 12}, expect: alarm}", [f"examples[0].given.at: {TIME}a number"]),
        ("{given: {at: 0001-01-01}, expect: alarm}", ["examples[0].given.at: must be in a year from 1970 to 9899"]),
        ("{given: {}, expect: }", [f"examples[0].expect: {TEXT}"]),
        ("{given: {}, expect: none times 3}", [f"examples[0].expect: {TEXT}"]),
        (
            "{given: {}, expect: a/b}",
            [f"examples[0].expect: must be {FUNCTION.text}, not 'a/b'"],
        ),
        ("{given: {}, expect: alarm times 100001}", ["examples[0].expect: must be 0 to 100000, not 100001"]),
        ("{given: {}, expect: {times: 0, body: x}}", ["examples[0].expect.body: is sent with nothing when times is 0"]),
        (
            "{given: {}, expect: {times: 0, function: x}}",
            ["examples[0].expect.function: cannot be said when times is 0: nothing at all is invoked then"],
        ),
    ],
)
def test_each_mistake_is_told_with_its_place(example: str, told: list[str]) -> None:
    assert sorted(problems(INTRUDER, example)) == told


def test_examples_are_a_list() -> None:
    with pytest.raises(ConfigError, match=r"m\.yaml:8:15: mappings\.m\.examples: must be a list, not a map"):
        decode_file(compose(f"version: 1\nmappings:\n  m:\n{indented(INTRUDER)}\n    examples: {{}}\n", "m.yaml"))


def indented(mapping: str) -> str:
    return "\n".join(f"    {line}" for line in mapping.splitlines())


# At run time


def test_examples_are_nothing_to_a_dispatcher() -> None:
    bare = decode_mappings(compose(f"version: 1\ntimezone: UTC\nmappings:\n  m:\n{indented(INTRUDER)}\n", "m.yaml"))
    with_them = file_of(INTRUDER, '{given: {at: "23:10"}, expect: alarm}')
    assert with_them.mappings.mappings == bare.mappings
    assert with_them.mappings.version == bare.version


@pytest.mark.parametrize("name", sorted(OPPOSITES))
def test_what_names_a_state_can_be_given_by_its_name_alone(name: str) -> None:
    assert unmet(f"select: {{event: {name}}}\nfor: 1s\ninvoke: f", "{given: {}, expect: f}") == []


def test_a_moment_keeps_its_own_zone() -> None:
    at = datetime(2026, 11, 22, 23, 10, tzinfo=UTC)
    assert TimeEntry(moment=at).after(at, ZoneInfo("Asia/Tokyo")) == at
