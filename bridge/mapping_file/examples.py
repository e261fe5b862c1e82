"""The examples inside of a mapping, as people write them: what is given, and what is expected to follow.

    examples:
      - given: {event: motion.detected, at: "23:10"}
        expect: intruder-alert
      - given: {event: motion.detected, at: "12:00"}
        expect: none because hours

What may not live here: letting them happen (bridge/testing/examples.py). A dispatcher reads them as it reads everything
else in the file, and forgets them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta, tzinfo
from typing import Annotated, Any, Final, Literal

from bridge.config import INVALID, Invalid, Name, Node, Pattern, Reader, Seconds, Within
from bridge.core import topics
from bridge.core.event import YEARS
from bridge.core.event_names import EVENTS
from bridge.core.hours import DAYS
from bridge.core.suggestion import did_you_mean
from bridge.errors import TopicError

FUNCTION: Final = Pattern(r"[-a-zA-Z_0-9.]{1,253}", "a function's name: letters, digits, hyphens, dots and underscores")
FunctionName = Annotated[str, FUNCTION]
Clause = Literal["select", "initial", "max_age", "hours", "when", "for", "until", "on_fault", "cooldown"]
"""What can be named as the reason of a no."""

_EXPECTED = re.compile(r"(\S+)(?: times (\d+))?(?: because (\S+))?")
_TIME = re.compile(rf"(?:({'|'.join(DAYS)}) )?([01][0-9]|2[0-3]):([0-5][0-9])(?::([0-5][0-9]))?")
_OF_SENSORS: Final = ("site", "node", "sensor", "kind", "event", "value", "unit", "initial", "timesynced")


@dataclass(frozen=True, slots=True)
class TimeEntry:
    """When something happens: a moment, or a time of day."""

    moment: datetime | None = None
    """With its zone, or without one: then it is one of the mapping's."""
    day: int | None = None
    """0 is Monday; None is any."""
    second: int = 0
    """Since midnight."""

    @classmethod
    def from_node(cls, node: Node, reader: Reader, key: str) -> TimeEntry | Invalid:
        text = " ".join(node.value.split()) if isinstance(node.value, str) else ""
        found = _TIME.fullmatch(text.lower())
        if found is not None:
            day = None if found[1] is None else DAYS.index(found[1])
            return cls(day=day, second=int(found[2]) * 3600 + int(found[3]) * 60 + int(found[4] or 0))
        try:
            moment = datetime.fromisoformat(text)
        except ValueError:
            wants = 'a time such as "23:10", "sat 23:10" or "2026-11-22 23:10"'
            return reader.problem(node, key, f"must be {wants}, not {node.kind() if not text else repr(text)}")
        if moment.year not in YEARS:
            return reader.problem(node, key, f"must be in a year from {YEARS[0]} to {YEARS[-1]}")
        return cls(moment=moment)

    def after(self, earlier: datetime, zone: tzinfo) -> datetime:
        """The first such time at or after an earlier one; a moment as it is."""
        if self.moment is not None:
            return self.moment if self.moment.tzinfo is not None else self.moment.replace(tzinfo=zone)
        local = earlier.astimezone(zone)
        midnight = local.replace(hour=0, minute=0, second=0, microsecond=0)
        for days in range(15):  # in a week every day comes, in two of them at every time
            at = midnight + timedelta(days=days, seconds=self.second)  # by the clock on the wall
            if at >= local and self.day in (None, at.weekday()):
                return at
        raise AssertionError("every time of day comes within two weeks")


@dataclass(frozen=True, slots=True)
class PlainEntry:
    """Any value, as a JSON parser would give it."""

    value: object
    node: Node = field(compare=False)

    @classmethod
    def from_node(cls, node: Node, reader: Reader, key: str) -> PlainEntry:  # noqa: ARG003 - what the reader gives
        return cls(node.plain(), node)


@dataclass(frozen=True, slots=True)
class GivenMap:
    """One thing that happens: an event of our own sensors, or a message of another device."""

    event: str | None = None
    """The event's name, such as `motion.detected`."""
    sensor: Name | None = None
    """The sensor that sends it."""
    node: Name | None = None
    """The node of that sensor."""
    kind: Name | None = None
    """The sensor's kind; without it, the one that sends such events."""
    site: Name | None = None
    """The site of the node."""
    value: PlainEntry | None = None
    """The value in it; without it, `true` or `false` where the event's name says that, else nothing."""
    unit: str | None = None
    """The unit of the value; without it, the usual one."""
    initial: bool = False
    """Whether it tells a level that was found at the agent's start."""
    timesynced: bool = True
    """Whether the clock of the Pi was right; if not, the time of receipt counts."""
    topic: str | None = None
    """Instead of a sensor's event: the topic of another device's message."""
    payload: PlainEntry | None = None
    """What that message says: text as it is, everything else as JSON."""
    at: TimeEntry | None = None
    """When: `"23:10"`, `"sat 23:10"` or `"2026-11-22 23:10"`, in the zone of the mapping's hours, or the file's."""
    after_s: Annotated[float, Seconds()] | None = None
    """Instead of `at`: how long after the one before."""
    late_s: Annotated[float, Seconds()] = 0.0
    """How long it took to the dispatcher."""

    @property
    def foreign(self) -> bool:
        """Whether it says by itself that it is a message of another device."""
        return self.topic is not None or self.payload is not None

    def problems(self) -> Iterator[tuple[str, str]]:
        """What the keys must agree on, and what they may say."""
        if self.at is not None and self.after_s is not None:
            yield "after", "cannot be said beside at"
        if self.event is not None and self.event not in EVENTS:
            yield "event", unknown_event(self.event)
        if self.value is not None and isinstance(self.value.value, list | dict):
            yield "value", "must be a number, text, true, false or null: a sensor sends nothing else"
        if not self.foreign:
            return
        usual = GivenMap()
        for name in _OF_SENSORS:
            if getattr(self, name) != getattr(usual, name):
                yield name, "is of our own sensors' events; topic and payload are of other devices' messages"
        if self.topic is not None:
            try:
                topics.check_topic(self.topic)
            except TopicError as error:
                yield "topic", str(error)


@dataclass(frozen=True, slots=True)
class GivenEntry:
    """What happens, in order: one thing, or a list of them; and where each stands."""

    happens: tuple[tuple[GivenMap, Node], ...]

    @classmethod
    def from_node(cls, node: Node, reader: Reader, key: str) -> GivenEntry | Invalid:
        several = isinstance(node.value, list)
        if several and not node.value:
            return reader.problem(node, key, "is empty; say what happens")
        happens = []
        for number, child in enumerate(node.value if isinstance(node.value, list) else [node]):
            at = f"{key}[{number}]" if several else key
            before = len(reader.found)
            given = reader.object(child, GivenMap, at)
            if isinstance(given, Invalid) or len(reader.found) > before:
                continue
            happens.append((given, child))
            if number == 0 and given.after_s is not None:
                reader.problem(child, f"{at}.after", "is said of the first one; nothing comes before it")
            if number > 0 and given.at is None and given.after_s is None:
                reader.problem(child, at, "does not say when: at, or after")
        return cls(tuple(happens))


@dataclass(frozen=True, slots=True)
class ExpectMap:
    """What is expected, as a map."""

    function: FunctionName | None = None
    """The function that is invoked; without it, any."""
    times: Annotated[int, Within(0, 100_000)] = 1
    """How often, exactly; 0 is never."""
    because: Clause | None = None
    """The clause that says no, the last time that one does."""
    body: PlainEntry | None = None
    """What the function is sent, the last time: text as a whole; of a map, the keys that stand here."""

    def problems(self) -> Iterator[tuple[str, str]]:
        """What the keys must agree on."""
        if self.times == 0 and self.body is not None:
            yield "body", "is sent with nothing when times is 0"
        if self.times == 0 and self.function is not None:
            yield "function", "cannot be said when times is 0: nothing at all is invoked then"


@dataclass(frozen=True, slots=True)
class ExpectEntry:
    """What is expected; text or a map."""

    wanted: ExpectMap

    @classmethod
    def from_node(cls, node: Node, reader: Reader, key: str) -> ExpectEntry | Invalid:
        if isinstance(node.value, dict):
            wanted = reader.object(node, ExpectMap, key)
            return INVALID if isinstance(wanted, Invalid) else cls(wanted)
        found = _EXPECTED.fullmatch(" ".join(node.value.split())) if isinstance(node.value, str) else None
        if found is None or (found[1] == "none" and found[2] is not None):
            wants = "a function's name with [times NUMBER], or `none`, each with [because CLAUSE]; or a map"
            return reader.problem(node, key, f"must be {wants}")
        times: Any = 0 if found[1] == "none" else 1 if found[2] is None else int(found[2])
        function: Any = None if found[1] == "none" else reader.read(_word(found[1], node), FunctionName, key)
        because: Any = None if found[3] is None else reader.read(_word(found[3], node), Clause, key)
        times = reader.read(_word(times, node), Annotated[int, Within(0, 100_000)], key)
        if INVALID in (function, because, times):
            return INVALID
        if times == 0:
            function = None  # `alarm times 0` is none
        return cls(ExpectMap(function, times, because))


@dataclass(frozen=True, slots=True)
class ExampleMap:
    """One example."""

    given: GivenEntry
    """What happens: a map, or a list of them in the order in which they reach the dispatcher."""
    expect: ExpectEntry
    """What the mapping makes of all that: `intruder-alert`, `alarm times 2`, `none because hours`, or a map."""


@dataclass(frozen=True, slots=True)
class ExamplesEntry:
    """The examples of a mapping, and where each stands."""

    examples: tuple[tuple[ExampleMap, Node], ...] = ()

    @classmethod
    def from_node(cls, node: Node, reader: Reader, key: str) -> ExamplesEntry | Invalid:
        if not isinstance(node.value, list):
            return reader.problem(node, key, f"must be a list, not {node.kind()}")
        read = [(reader.object(child, ExampleMap, f"{key}[{i}]"), child) for i, child in enumerate(node.value)]
        return cls(tuple((example, child) for example, child in read if not isinstance(example, Invalid)))


@dataclass(frozen=True, slots=True)
class Example:
    """An example of one mapping, ready to be let happen."""

    mapping: str
    number: int
    """Among those of its mapping, from 0."""
    given: tuple[tuple[GivenMap, Node], ...]
    wanted: ExpectMap
    zone: tzinfo
    """What its times of day mean."""
    node: Node
    """Where it stands."""

    @property
    def name(self) -> str:
        """`night-intruder[0]`."""
        return f"{self.mapping}[{self.number}]"

    @property
    def key(self) -> str:
        """Where it stands in its file, for messages."""
        return f"mappings.{self.mapping}.examples[{self.number}]"


def unknown_event(name: str) -> str:
    """That no event has this name, and which one may be meant."""
    near = did_you_mean(name, EVENTS) or f"; there are {', '.join(EVENTS)}"
    return f"no event is called {name}{near}"


def _word(value: Any, node: Node) -> Node:
    """A word out of a longer text, at the text's place."""
    return Node(value, node.line, node.column, node.file)
