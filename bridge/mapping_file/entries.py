"""The entries of a mapping file: each shape that people may write, and what it means.

What may not live here: files, the document around the mappings (document.py).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from datetime import tzinfo
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from bridge.config import INVALID, Invalid, Node, Pattern, Reader, Seconds, Within
from bridge.core import topics
from bridge.core.conditions import Condition, Template, compile_condition, compile_template
from bridge.core.event_names import EVENTS
from bridge.core.hours import Hours, check_range, parse_days, parse_range, parse_time, time_zone
from bridge.core.judgement import OPPOSITES
from bridge.core.mapping import Cooldown, Mapping
from bridge.core.retry import RetryPolicy
from bridge.core.selector import Selector, SensorSelector, TopicSelector, glob
from bridge.errors import ConditionError, TopicError
from bridge.mapping_file.examples import Example, ExamplesEntry, FunctionName, unknown_event

DAY_S: Final = 86_400.0
GLOB: Final = Pattern(
    r"[a-z0-9.*?!\[\]-]+", "a name or a glob of lower-case letters, digits, hyphens, dots, *, ? and [...]"
)
Glob = Annotated[str, GLOB]
Duration = Annotated[float, Seconds(0.001, 366 * DAY_S)]

_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HEADER_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
"""RFC 9110, 5.1 and 5.5: a token; visible characters, spaces and tabs."""
_OWN_HEADERS: Final = frozenset(
    {
        *(
            "connection",
            "content-length",
            "expect",
            "host",
            "keep-alive",
            "te",
            "trailer",
            "transfer-encoding",
            "upgrade",
        ),
        *("idempotency-key", "traceparent", "x-event-id", "x-callback-url"),
    }
)


class MappingReader(Reader):
    """A reader that knows what our own topics start with."""

    def __init__(self, root: str) -> None:
        super().__init__(Path())
        self.root = root


@dataclass(frozen=True, slots=True)
class SelectEntry:
    """One selector by its names, or a list of them."""

    selectors: tuple[Selector, ...]

    @classmethod
    def from_node(cls, node: Node, reader: Reader, key: str) -> SelectEntry | Invalid:
        if not isinstance(node.value, list):
            one = _selector(node, reader, key)
            return INVALID if isinstance(one, Invalid) else cls((one,))
        if not node.value:
            return reader.problem(node, key, "is empty; name at least one selector")
        found = [_selector(child, reader, f"{key}[{i}]") for i, child in enumerate(node.value)]
        good = tuple(one for one in found if not isinstance(one, Invalid))
        return cls(good) if len(good) == len(found) else INVALID


@dataclass(frozen=True, slots=True)
class SensorEntry:
    """A selector of our own sensors' events."""

    site: Glob = "*"
    node: Glob = "*"
    sensor: Glob = "*"
    kind: Glob = "*"
    event: Glob = "*"


@dataclass(frozen=True, slots=True)
class TopicEntry:
    """A selector of other devices' messages."""

    topic: str


@dataclass(frozen=True, slots=True)
class WhenEntry:
    """A condition."""

    condition: Condition

    @classmethod
    def from_node(cls, node: Node, reader: Reader, key: str) -> WhenEntry | Invalid:
        if not isinstance(node.value, str):
            return reader.problem(node, key, f"must be a CEL expression as text, not {node.kind()}")
        try:
            return cls(compile_condition(node.value))
        except ConditionError as error:
            return reader.problem(node, key, str(error))


@dataclass(frozen=True, slots=True)
class HoursMap:
    """Active hours written as a map."""

    start: str = field(metadata={"key": "from"})
    end: str = field(metadata={"key": "to"})
    days: tuple[str, ...] | None = None
    timezone: str | None = None


@dataclass(frozen=True, slots=True)
class HoursEntry:
    """Active hours; `zone` None means the file's."""

    start_min: int
    end_min: int
    days: frozenset[int] = frozenset(range(7))
    zone: tzinfo | None = None

    @classmethod
    def from_node(cls, node: Node, reader: Reader, key: str) -> HoursEntry | Invalid:
        try:
            if isinstance(node.value, str):
                return cls(*parse_range(node.value))
            written = reader.object(node, HoursMap, key)
            if isinstance(written, Invalid):
                return INVALID
            start_min, end_min = parse_time(written.start), parse_time(written.end)
            check_range(start_min, end_min)
            days = frozenset(
                day for text in (("mon-sun",) if written.days is None else written.days) for day in parse_days(text)
            )
            if not days:
                return reader.problem(node, f"{key}.days", "names no day")
            return cls(start_min, end_min, days, None if written.timezone is None else time_zone(written.timezone))
        except ValueError as error:
            return reader.problem(node, key, str(error))


@dataclass(frozen=True, slots=True)
class CooldownMap:
    """A cooldown written as a map."""

    time_s: Duration
    per: Literal["sensor", "mapping", "node"] = "sensor"
    start: Literal["match", "success"] = field(default="match", metadata={"key": "from"})


@dataclass(frozen=True, slots=True)
class CooldownEntry:
    """A cooldown: a duration, or a map."""

    cooldown: Cooldown

    @classmethod
    def from_node(cls, node: Node, reader: Reader, key: str) -> CooldownEntry | Invalid:
        if not isinstance(node.value, dict):
            time_s: Any = reader.read(node, Duration, key)
            return INVALID if time_s is INVALID else cls(Cooldown(time_s))
        written = reader.object(node, CooldownMap, key)
        return INVALID if isinstance(written, Invalid) else cls(Cooldown(written.time_s, written.per, written.start))


@dataclass(frozen=True, slots=True)
class PayloadMap:
    """A payload made by a template."""

    template: str


@dataclass(frozen=True, slots=True)
class PayloadEntry:
    """What is posted to the function."""

    payload: Literal["event", "data"] | Template

    @classmethod
    def from_node(cls, node: Node, reader: Reader, key: str) -> PayloadEntry | Invalid:
        if not isinstance(node.value, dict):
            word: Any = reader.read(node, Literal["event", "data"], key)
            return INVALID if word is INVALID else cls(word)
        written = reader.object(node, PayloadMap, key)
        if isinstance(written, Invalid):
            return INVALID
        try:
            return cls(compile_template(written.template))
        except ConditionError as error:
            return reader.problem(node.value["template"], f"{key}.template", str(error))


@dataclass(frozen=True, slots=True)
class HeadersEntry:
    """Headers that go with every invocation."""

    headers: dict[str, str]

    @classmethod
    def from_node(cls, node: Node, reader: Reader, key: str) -> HeadersEntry | Invalid:
        before = len(reader.found)
        headers: Any = reader.read(node, dict[str, str], key)
        if headers is INVALID or len(reader.found) > before:
            return INVALID
        seen: set[str] = set()
        assert isinstance(node.value, dict) or not headers
        for name, value in headers.items():
            at = node.value[name] if isinstance(node.value, dict) else node
            if not _HEADER_NAME.fullmatch(name):
                reader.problem(at, f"{key}.{name}", f"{name!r} is no name of an HTTP header")
            elif name.lower() in _OWN_HEADERS or name.lower().startswith("ce-"):
                reader.problem(at, f"{key}.{name}", "is set by gpio-bridge itself; choose another header")
            elif name.lower() in seen:
                reader.problem(at, f"{key}.{name}", "is given twice (upper and lower case are the same)")
            if not _HEADER_VALUE.fullmatch(value):
                reader.problem(at, f"{key}.{name}", "holds a line break or another character no header may have")
            seen.add(name.lower())
        return cls(headers)


@dataclass(frozen=True, slots=True)
class InvokeMap:
    """An invocation written as a map."""

    function: FunctionName
    mode: Literal["sync", "async"] = "sync"
    payload: PayloadEntry = PayloadEntry("event")
    timeout_s: Annotated[float, Seconds(0.001, DAY_S)] = 10.0
    headers: HeadersEntry = field(default_factory=lambda: HeadersEntry({}))


@dataclass(frozen=True, slots=True)
class InvokeEntry:
    """What is invoked: a function's name, or a map."""

    written: InvokeMap

    @classmethod
    def from_node(cls, node: Node, reader: Reader, key: str) -> InvokeEntry | Invalid:
        if isinstance(node.value, str | int | float):  # 42 was meant as a name; what is missing are its quotes
            name: Any = reader.read(node, FunctionName, key)
            return INVALID if name is INVALID else cls(InvokeMap(name))
        written = reader.object(node, InvokeMap, key)
        return INVALID if isinstance(written, Invalid) else cls(written)


@dataclass(frozen=True, slots=True)
class RetryEntry:
    """How often and how patiently an invocation is tried."""

    attempts: Annotated[int, Within(1, 100)] = 5
    first_s: Duration = 1.0
    max_s: Duration = 60.0
    total_s: Duration | None = None

    def problems(self) -> Iterator[tuple[str, str]]:
        if self.first_s > self.max_s:
            yield "first", f"is longer than max ({self.max_s:g}s)"
        if self.total_s is not None and self.total_s < self.first_s:
            yield "total", f"is shorter than first ({self.first_s:g}s), so nothing would be tried again"


@dataclass(frozen=True, slots=True)
class MappingEntry:
    """One mapping as it is written."""

    select: SelectEntry
    invoke: InvokeEntry
    when: WhenEntry | None = None
    hours: HoursEntry | None = None
    for_s: Duration | None = None
    until: SelectEntry | None = None
    on_fault: Literal["cancel", "keep"] | None = None
    cooldown: CooldownEntry | None = None
    retry: RetryEntry = RetryEntry()
    on_failure: FunctionName | None = None
    max_age_s: Duration | None = None
    backlog: Literal["all", "latest"] = "all"
    order: Literal["sensor", "none"] = "sensor"
    initial: Literal["never", "changed", "always"] = "changed"
    shadow: bool = False
    enabled: bool = True
    examples: ExamplesEntry = field(default_factory=ExamplesEntry)

    def problems(self) -> Iterator[tuple[str, str]]:
        if self.for_s is None:
            if self.until is not None:
                yield "until", "has no effect without for; add for, or take it away"
        elif self.until is None and not any(_may_end(selector) for selector in self.select.selectors):
            yield "for", "nothing would end the waiting, as none of these events has an opposite; add until"
        if self.for_s is None and self.on_fault is not None:
            yield "on_fault", "has no effect without for; add for, or take it away"
        if self.invoke.written.mode == "async" and self.order != "none":
            yield "invoke.mode", "async keeps no order (the gateway only says that it took the call); add order: none"
        if self.order == "none" and self.backlog == "latest":
            yield "backlog", "latest needs order: sensor; without an order nothing is the latest"

    def mapping(self, name: str, zone: tzinfo) -> Mapping:
        """The mapping that is meant, its hours in `zone` unless they name another."""
        hours, invoke, retry = self.hours, self.invoke.written, self.retry
        return Mapping(
            name=name,
            selectors=self.select.selectors,
            function=invoke.function,
            when=self.when.condition if self.when else None,
            hours=Hours(hours.start_min, hours.end_min, hours.days, hours.zone or zone) if hours else None,
            for_s=self.for_s,
            until=self.until.selectors if self.until else (),
            on_fault=self.on_fault or "cancel",
            cooldown=self.cooldown.cooldown if self.cooldown else None,
            mode=invoke.mode,
            payload=invoke.payload.payload,
            timeout_s=invoke.timeout_s,
            headers=invoke.headers.headers,
            retry=RetryPolicy(retry.attempts, retry.first_s, retry.max_s, retry.total_s),
            on_failure=self.on_failure,
            max_age_s=self.max_age_s,
            backlog=self.backlog,
            order=self.order,
            initial=self.initial,
            shadow=self.shadow,
            enabled=self.enabled,
        )

    def listed_examples(self, name: str, zone: tzinfo) -> Iterator[Example]:
        """Its examples; their times are in the zone of its hours, or in `zone`."""
        zone = (self.hours.zone if self.hours else None) or zone
        for number, (example, node) in enumerate(self.examples.examples):
            yield Example(name, number, example.given.happens, example.expect.wanted, zone, node)


def _selector(node: Node, reader: Reader, key: str) -> Selector | Invalid:
    if not isinstance(node.value, dict):
        return reader.problem(node, key, f"must be a map such as {{sensor: front-door}}, not {node.kind()}")
    before = len(reader.found)
    if "topic" in node.value:
        named = [name for name in node.value if name in {one.name for one in fields(SensorEntry)}]
        if named:
            return reader.problem(
                node, key, f"topic (other devices) and {named[0]} (our sensors) exclude each other; write a list of two"
            )
        foreign = reader.object(node, TopicEntry, key)
        if isinstance(foreign, Invalid) or len(reader.found) > before:
            return INVALID
        try:
            topics.check_filter(foreign.topic)
        except TopicError as error:
            return reader.problem(node.value["topic"], f"{key}.topic", str(error))
        assert isinstance(reader, MappingReader)
        if foreign.topic == reader.root or foreign.topic.startswith(f"{reader.root}/"):
            return reader.problem(
                node.value["topic"],
                f"{key}.topic",
                "is one of gpio-bridge's own topics; select our sensors by site, node, sensor, kind or event",
            )
        return TopicSelector(topic=foreign.topic)
    if not node.value:
        return reader.problem(node, key, 'selects everything; if that is meant, write sensor: "*"')
    entry = reader.object(node, SensorEntry, key)
    if isinstance(entry, Invalid) or len(reader.found) > before:
        return INVALID
    if not any(glob(entry.event)(name) for name in EVENTS):
        return reader.problem(node.value["event"], f"{key}.event", unknown_event(entry.event))
    return SensorSelector(site=entry.site, node=entry.node, sensor=entry.sensor, kind=entry.kind, event=entry.event)


def _may_end(selector: Selector) -> bool:
    """Whether a sensor's own events can end what the selector selects."""
    return isinstance(selector, SensorSelector) and any(glob(selector.event)(name) for name in OPPOSITES)
