"""The examples of mappings, let happen: what is given goes through the dispatcher's own intake and ledger.

Each example stands for itself: before it nothing has happened. Its mapping is judged alone, and as if it were in force,
whatever `enabled` and `shadow` say; functions succeed at once. In the end what waits for its `for` falls due.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

import orjson

from bridge.config import Node
from bridge.core.event import Event, Observation, encode, readable
from bridge.core.event_names import kind_of, level_of, unit_of
from bridge.core.invocation import call
from bridge.core.judgement import HEALTH, Judgement
from bridge.core.mapping import Mapping, MappingSet
from bridge.core.selector import FIELDS, SensorSelector, TopicSelector, glob, is_literal, nearest_mismatch
from bridge.core.topics import DEFAULT_ROOT, DEFAULT_SITE, SensorEventTopic, Topics
from bridge.errors import Problem
from bridge.mapping_file import MappingFile, load_file
from bridge.mapping_file.examples import Example, ExpectMap, GivenMap
from bridge.mapping_file.timezone import local_timezone
from bridge.testing.backtest import Backtest, Course, Fired
from bridge.testing.recording import Recorded

DAY: Final = datetime(2026, 1, 1)  # noqa: DTZ001 - it is in the zone of each example
"""A Thursday: the day of what names none."""
NOON_S: Final = 12 * 3600
"""When something happens that does not say when."""
_SOMEWHERE: Final = {"site": DEFAULT_SITE, "node": "pi-1", "sensor": "sensor-1"}
"""Where something happens when neither the example nor its mapping says."""
_NOES: Final = ("rejected", "failed", "cancels")
_SHOWN: Final = 5
"""So many reasons are told of one example."""


class _Unfit(Exception):
    """What is given is nothing that could reach a dispatcher."""

    def __init__(self, node: Node, key: str, message: str) -> None:
        super().__init__(message)
        self.node = node
        self.key = key


@dataclass(frozen=True, slots=True)
class No:
    """That a mapping said no to an event, and why."""

    event: Event
    clause: str
    text: str


def read_examples(path: Path) -> MappingFile:
    """A mapping file with its examples, as the dispatcher of this machine would read it. Raises ConfigError."""
    return load_file(path, local_timezone=local_timezone())


def failures(file: MappingFile, *, root: str = DEFAULT_ROOT) -> Iterator[Problem]:
    """What is wrong with each example that is not met."""
    for example in file.examples:
        problem = failure(example, file.mappings.mappings[example.mapping], root=root)
        if problem is not None:
            yield problem


def failure(example: Example, mapping: Mapping, *, root: str = DEFAULT_ROOT) -> Problem | None:
    """What is wrong with an example; None when it is met."""
    watch = _Watch(example, replace(mapping, enabled=True, shadow=False))
    try:
        lines = list(_Giving(example, mapping, root).messages())
    except _Unfit as unfit:
        return _problem(unfit.node, f"{example.key}.{unfit.key}", str(unfit))
    course = Course(root, lines[0].received_at)
    test = Backtest(MappingSet([watch.mapping]), course, judged=watch.judged)
    for line in lines:
        course.take(line)
    course.run_out()
    if test.unreadable:
        return _problem(example.node, f"{example.key}.given", f"could not be read: {test.unreadable[0]}")
    unmet = watch.unmet(list(test.fired.values()))
    return None if unmet is None else _problem(example.node, example.key, unmet)


class _Watch:
    """What became of an example, and how that is told."""

    def __init__(self, example: Example, mapping: Mapping) -> None:
        self.mapping = mapping
        self._wanted = example.wanted
        self._example = example
        self._noes: list[No] = []
        self._not_selected: list[No] = []
        self._failed = False

    def judged(self, event: Event, judgements: Sequence[Judgement]) -> None:
        """Note what the mapping says to an event."""
        for one in judgements:
            if one.result in _NOES:
                self._failed = self._failed or one.result == "failed"
                self._noes.append(No(event, one.clause or "", _reason(one, event)))
        mismatch = nearest_mismatch(self.mapping.selectors, event)
        if mismatch is not None and not judgements:
            text = f"select.{mismatch.field} wants {mismatch.wanted}, found {mismatch.found}"
            self._not_selected.append(No(event, "select", text))

    def unmet(self, fired: Sequence[Fired]) -> str | None:
        """What of the expectation is not met, with the reasons; None when all of it is."""
        wanted, noes = self._wanted, self._noes or self._not_selected
        functions = {one.function for one in fired}
        if self._failed or len(fired) != wanted.times or (functions and wanted.function not in (None, *functions)):
            return f"expected {_said(wanted)}, and {self._what(fired)}{self._told(noes)}"
        if wanted.because is not None and (not noes or noes[-1].clause != wanted.because):
            instead = self._told(noes) or ": no clause says no"
            return f"expected {_said(wanted)}, and the reason is another one{instead}"
        if wanted.body is not None:
            found = readable(call(fired[-1].invocation, fired[-1].event, 1).body)
            differs = next(_differences(wanted.body.value, found, "body"), None)
            return None if differs is None else f"expected {_said(wanted)}, and {differs}"
        return None

    def _what(self, fired: Sequence[Fired]) -> str:
        if self._failed:
            return "a dead letter came of it"
        if not fired:
            return "nothing was invoked"
        times = ", ".join(f"{self._time(one.at)}" for one in fired[:_SHOWN])
        more = f" and {len(fired) - _SHOWN} more" if len(fired) > _SHOWN else ""
        return f"{fired[0].function} was invoked at {times}{more}"

    def _told(self, noes: Sequence[No]) -> str:
        if len(self._example.given) == 1:
            return f": {noes[0].text}" if noes else ""
        return "".join(
            f"; at {self._time(one.event.time)} {one.event.name or one.event.topic}: {one.text}"
            for one in noes[-_SHOWN:]
        )

    def _time(self, at: datetime) -> str:
        local = at.astimezone(self._example.zone)
        return f"{local:%H:%M:%S}" + (f".{local.microsecond // 1000:03d}" if local.microsecond else "")


def _reason(one: Judgement, event: Event) -> str:
    if one.result == "failed":
        return f"{one.clause} could not be evaluated: {one.found}"
    found = one.found
    if one.clause == "when":
        value = event.data.get("value") if event.node is not None else event.payload
        found += f" for {orjson.dumps(value, default=str).decode()}"
    return f"{one.clause} wants {one.wanted}, found {found}"


def _said(wanted: ExpectMap) -> str:
    """An expectation in words."""
    because = "" if wanted.because is None else f" because of {wanted.because}"
    if wanted.times == 0:
        return f"no invocation{because}"
    times = "once" if wanted.times == 1 else f"{wanted.times} times"
    return f"{wanted.function or 'an invocation'} {times}{because}"


def _differences(wanted: object, found: object, path: str) -> Iterator[str]:
    """Where what was sent is not what was wanted; a map wants the keys that it has."""
    if isinstance(wanted, dict) and isinstance(found, dict):
        for key, value in wanted.items():
            if key not in found:
                yield f"{path} has no {key}; it has {', '.join(map(str, found))}"
            else:
                yield from _differences(value, found[key], f"{path}.{key}")
    elif wanted != found or isinstance(wanted, bool) != isinstance(found, bool):
        yield f"{path} is {_json(found)}, not {_json(wanted)}"


def _json(value: object) -> str:
    return orjson.dumps(value, default=str).decode()


class _Giving:
    """Makes of what is given what a dispatcher receives; what is not said is what the mapping selects."""

    def __init__(self, example: Example, mapping: Mapping, root: str) -> None:
        self._example = example
        self._mapping = mapping
        self._topics = Topics(root)
        self._root = root
        self._counted: Counter[str] = Counter()
        self._sensors = [one for one in (*mapping.selectors, *mapping.until) if isinstance(one, SensorSelector)]
        self._foreign = [one.topic for one in (*mapping.selectors, *mapping.until) if isinstance(one, TopicSelector)]

    def messages(self) -> Iterator[Recorded]:
        """Everything that is given, in order. Raises _Unfit."""
        before, received_at = DAY.replace(tzinfo=self._example.zone), None
        for number, (given, node) in enumerate(self._example.given):
            key = f"given[{number}]" if len(self._example.given) > 1 else "given"
            try:
                before = self._time(given, before)
                message = self._message(given, before)
            except (ValueError, OverflowError, orjson.JSONEncodeError) as error:
                raise _Unfit(node, key, str(error)) from error
            if received_at is not None and message.received_at < received_at:
                raise _Unfit(node, key, "reaches the dispatcher before the one above it; write it there")
            received_at = message.received_at
            yield message

    def _time(self, given: GivenMap, before: datetime) -> datetime:
        if given.at is not None:
            return given.at.after(before, self._example.zone)
        return before + timedelta(seconds=given.after_s if given.after_s is not None else NOON_S)

    def _message(self, given: GivenMap, at: datetime) -> Recorded:
        arrives_at = at + timedelta(seconds=given.late_s)
        of_sensor = any(getattr(given, name) is not None for name in FIELDS)
        if given.foreign or not (of_sensor or self._sensors):
            return Recorded(arrives_at, self._topic(given), _payload(given))
        return self._event(given, at, arrives_at)

    def _event(self, given: GivenMap, at: datetime, arrives_at: datetime) -> Recorded:
        said = {name: getattr(given, name) for name in FIELDS}
        selector = next((one for one in self._sensors if _fits(one, said)), None) or next(iter(self._sensors), None)
        name = said["event"] or self._selected(selector, "event")
        if name is None:
            raise ValueError("does not say its event, and its mapping selects any")
        where = {place: said[place] or self._selected(selector, place) or some for place, some in _SOMEWHERE.items()}
        topic = self._topics.parse(self._topics.event(**where))
        assert isinstance(topic, SensorEventTopic)
        value: Any = level_of(name) if given.value is None else given.value.value
        # Any kind of sensor may be at fault; of everything else the name tells the kind.
        kind = said["kind"] or (self._selected(selector, "kind") if name in HEALTH else None) or kind_of(name)
        seen = Observation(
            kind=kind,
            name=name,
            value=value,
            unit=given.unit or unit_of(name),
            initial=given.initial,
            time=at,
            timesynced=given.timesynced,
        )
        self._counted[topic.text] += 1
        sequence = self._counted[topic.text]
        event_id = f"example-{topic.node}-{topic.sensor}-{sequence}"
        body = encode(seen, at=topic, id=event_id, epoch="example", sequence=sequence)
        return Recorded(arrives_at, topic.text, body)

    def _selected(self, selector: SensorSelector | None, name: str) -> str | None:
        """What the mapping selects, where it is one; None for any."""
        pattern: str = "*" if selector is None else getattr(selector, name)
        if pattern == "*":
            return None
        if not is_literal(pattern):
            raise ValueError(f"does not say its {name}, and its mapping selects {pattern}")
        return pattern

    def _topic(self, given: GivenMap) -> str:
        topic = given.topic
        if topic is None:
            topic = self._foreign[0] if self._foreign else "#"
            if "+" in topic or "#" in topic:
                raise ValueError(f"does not say its topic, and its mapping selects {topic}")
        if topic == self._root or topic.startswith(f"{self._root}/"):
            raise ValueError(f"{topic} is one of gpio-bridge's own topics; say sensor and event instead")
        return topic


def _fits(selector: SensorSelector, said: dict[str, str | None]) -> bool:
    """Whether it may be this selector that is meant."""
    return all(value is None or glob(getattr(selector, name))(value) for name, value in said.items())


def _payload(given: GivenMap) -> bytes:
    """What a device would send: text as it is, everything else as JSON."""
    if given.payload is None:
        return b""
    value = given.payload.value
    return value.encode() if isinstance(value, str) else orjson.dumps(value)


def _problem(node: Node, key: str, message: str) -> Problem:
    return Problem(node.file, node.line, node.column, key, message)
