"""Conditions and templates: CEL expressions over an event, behind a small interface.

    condition = compile_condition("data.value > 30 && event.time.getHours('Europe/London') >= 22")
    condition.evaluate(event, state, at=event.time)

Names in an expression: `event` (id, source, type, subject, time, topic, initial, timesynced), `data`, `node`, `sensor`,
`payload`, and in conditions `state`: what was last known of each sensor before this event, by "node/sensor", with
`event`, `value` and `time`. Source of the language: cel.dev. What may not live here: when a condition is asked.

Bounded: texts up to MAX_LENGTH characters, macros one level deep over at most MAX_VALUES values; no loops exist.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

import orjson

from bridge.core import expressions
from bridge.core.event import Event
from bridge.core.hours import time_zone
from bridge.core.suggestion import did_you_mean
from bridge.errors import ConditionError, ConditionFailed

MAX_LENGTH: Final = 2000
MAX_VALUES: Final = 1000
MAX_TEMPLATE: Final = 16 * 1024
NAMES: Final = ("event", "data", "node", "sensor", "payload", "state")
FUNCTIONS: Final = frozenset(
    {
        *("size", "contains", "startsWith", "endsWith", "matches"),
        *("string", "bytes", "double", "int", "uint", "duration", "timestamp", "type", "dyn", "json"),
        *("getFullYear", "getMonth", "getDate", "getDayOfMonth", "getDayOfYear", "getDayOfWeek"),
        *("getHours", "getMinutes", "getSeconds", "getMilliseconds"),
    }
)
NO_STATE: Final[Mapping[str, Mapping[str, Any]]] = {}
_FAILURES = (LookupError, TypeError, ValueError, RuntimeError, ArithmeticError)
"""What the library raises for an expression that cannot be evaluated (measured with 0.10)."""


@dataclass(frozen=True, slots=True)
class Condition:
    """A compiled condition; equal when its text is."""

    text: str
    _program: _Program = field(repr=False, compare=False)

    def evaluate(self, event: Event, state: Mapping[str, Mapping[str, Any]] = NO_STATE, *, at: datetime) -> bool:
        """Whether it holds; `at` is what the expression sees as `event.time`.

        Raises ConditionFailed when it cannot be told: a missing key, a value of another type, a result that is neither
        true nor false.
        """
        result = self._program.run(event, state, at)
        if result is not True and result is not False:
            raise ConditionFailed(f"{self.text}: the result is {_shown(result)}, neither true nor false")
        return result

    @property
    def state_keys(self) -> frozenset[str] | None:
        """The sensors ("node/sensor") whose state it looks at; None for all."""
        return self._program.keys.get("state", frozenset())


@dataclass(frozen=True, slots=True)
class Template:
    """A compiled template: text with `${expression}` in it; equal when its text is."""

    text: str
    _parts: tuple[tuple[str, _Program | None], ...] = field(repr=False, compare=False)

    def render(self, event: Event, *, at: datetime) -> str:
        """The text for an event: text as it is, everything else as JSON. Raises ConditionFailed."""
        rendered = []
        for literal, program in self._parts:
            rendered.append(literal)
            if program is not None:
                rendered.append(_text(program.run(event, NO_STATE, at)))
        return "".join(rendered)


def compile_condition(text: str) -> Condition:
    """Raises ConditionError when the text is no condition, or uses a name, function or time zone that is not known."""
    return Condition(text, _Program(text, NAMES))


def compile_template(text: str) -> Template:
    """Raises ConditionError as `compile_condition` does. `state` is not known in templates: they render later again."""
    if len(text) > MAX_TEMPLATE:
        raise ConditionError(f"has {len(text)} characters; the limit is {MAX_TEMPLATE}")
    names = tuple(name for name in NAMES if name != "state")
    return Template(
        text,
        tuple(
            (literal, None if expression is None else _Program(expression, names))
            for literal, expression in expressions.split_template(text)
        ),
    )


class _Program:
    """A compiled expression with the context it runs in. The values in the context are replaced for every run."""

    def __init__(self, text: str, names: tuple[str, ...]) -> None:
        import cel  # noqa: PLC0415 - 0.2 s and a wheel that agents do not have; who writes no condition does not pay

        if len(text) > MAX_LENGTH:
            raise ConditionError(f"has {len(text)} characters; the limit is {MAX_LENGTH}")
        try:
            self._program = cel.compile(text)
        except ValueError as error:
            raise ConditionError(_syntax(text, str(error))) from error
        self._text = text
        bound = expressions.bound_names(text)
        used = self._program.references()
        for name in used["variables"]:
            if name not in names and name not in bound:
                raise ConditionError(f"{name} is not known; there are {', '.join(names)}{did_you_mean(name, names)}")
        functions = {name for name in used["functions"] if name.isidentifier()}
        for name in sorted(functions - FUNCTIONS):
            raise ConditionError(f"the function {name} is not known{did_you_mean(name, FUNCTIONS)}")
        for zone in expressions.zones(text):
            try:
                time_zone(zone)
            except ValueError as error:
                raise ConditionError(str(error)) from error
        self._macros = bool(bound)
        self.keys = {name: expressions.keys_used(text, name) for name in names if name in used["variables"]}
        own = {name: function for name, function in _OWN_FUNCTIONS.items() if name in functions}
        self._context = cel.Context(functions=own)

    def run(self, event: Event, state: Mapping[str, Mapping[str, Any]], at: datetime) -> Any:
        values = {name: _only(_value(name, event, state, at), keys) for name, keys in self.keys.items()}
        if self._macros and _count(values, MAX_VALUES) <= 0:
            raise ConditionFailed(f"{self._text}: all, exists and filter work on at most {MAX_VALUES} values")
        try:
            self._context.update(values)
            return self._program.execute(self._context)
        except _FAILURES as error:
            raise ConditionFailed(f"{self._text}: {_reason(error)}") from error


def _value(name: str, event: Event, state: Mapping[str, Mapping[str, Any]], at: datetime) -> Any:
    match name:
        case "data":
            return event.data
        case "payload":
            return event.payload
        case "node":
            return event.node
        case "sensor":
            return event.sensor
        case "state":
            return state
        case _:
            return {
                "id": event.id,
                "source": event.source,
                "type": event.type,
                "subject": event.subject,
                "time": at,
                "topic": event.topic,
                "initial": event.initial,
                "timesynced": event.timesynced,
            }


def _only(value: Any, keys: frozenset[str] | None) -> Any:
    if keys is None or not isinstance(value, Mapping):
        return value
    return {key: value[key] for key in keys if key in value}


def _count(value: Any, room: int) -> int:
    """What is left of `room` after every value in it is counted; stops when nothing is left."""
    inside = value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ()
    room -= 1
    for one in inside:
        if room <= 0:
            break
        room = _count(one, room)
    return room


def _zoned(take: Callable[[datetime], int]) -> Callable[[datetime, str], int]:
    """A timestamp function with a time zone, which the library lacks (CEL specification, "Timestamp functions")."""
    return lambda time, zone: take(time.astimezone(time_zone(zone)))


def _text(value: Any) -> str:
    return value if isinstance(value, str) else _json(value)


def _json(value: Any) -> str:
    return orjson.dumps(value, default=str, option=orjson.OPT_UTC_Z | orjson.OPT_NON_STR_KEYS).decode()


_OWN_FUNCTIONS: Final[dict[str, Callable[..., Any]]] = {
    "json": _json,
    "getFullYear": _zoned(lambda time: time.year),
    "getMonth": _zoned(lambda time: time.month - 1),
    "getDate": _zoned(lambda time: time.day),
    "getDayOfMonth": _zoned(lambda time: time.day - 1),
    "getDayOfYear": _zoned(lambda time: time.timetuple().tm_yday - 1),
    "getDayOfWeek": _zoned(lambda time: time.isoweekday() % 7),
    "getHours": _zoned(lambda time: time.hour),
    "getMinutes": _zoned(lambda time: time.minute),
    "getSeconds": _zoned(lambda time: time.second),
    "getMilliseconds": _zoned(lambda time: time.microsecond // 1000),
}


def _shown(value: Any) -> str:
    text = _json(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _reason(error: Exception) -> str:
    match error:
        case KeyError():
            return f"there is no {error}; ask with has(...) or in first"
        case TypeError():
            return "a value has another type than the expression needs (numbers, text and null do not mix)"
        case _:
            return str(error).split(". Check ")[0].splitlines()[0]


def _syntax(text: str, message: str) -> str:
    found = re.search(r"<input>:(\d+):(\d+): (?:Syntax error: )?([^\n]*)", message)
    if found is None:
        return "is no CEL expression"
    what = found[3].split(" expecting ")[0].replace("<EOF>", "end of the expression")
    lines = f"line {found[1]}, " if "\n" in text.strip() else ""
    return f"is no CEL expression: at {lines}character {found[2]}: {what}"
