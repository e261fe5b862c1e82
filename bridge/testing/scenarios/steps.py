"""The steps of a scenario as their file says them: when, and what happens or is expected.

What may not live here: what a step means to the sensors and functions of a house (timeline.py).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Final, Literal

import orjson

from bridge.config import INVALID, Invalid, Name, Node, Reader, Seconds, Within, seconds
from bridge.core.event_names import EVENTS
from bridge.core.topics import check_topic
from bridge.errors import TopicError
from bridge.mapping_file.examples import unknown_event
from bridge.testing.functions import Function
from bridge.testing.scenarios.words import answer

WITHIN_S: Final = 10.0
"""How long an expectation lasts that does not say."""
VERBS: Final = ("sensor", "topic", "function", "node", "broker", "dispatcher", "clock", "expect")
"""The keys of which each step has one."""

_EXPECTED = re.compile(r"(none|dead letter|[^\s]+)(?: times (\d+))?(?: within (\S+))?")
_JUMP = re.compile(r"jump ([-+]?)(\S+)")


@dataclass(frozen=True, slots=True)
class Words:
    """Words of a step, and where they stand."""

    text: str
    node: Node

    @classmethod
    def from_node(cls, node: Node, reader: Reader, key: str) -> Words | Invalid:
        text = node.written if isinstance(node.value, int) and not isinstance(node.value, bool) else node.value
        if not isinstance(text, str):
            return reader.problem(node, key, f"must be text, not {node.kind()}")
        if not text.strip():
            return reader.problem(node, key, "must not be empty")
        return cls(" ".join(text.split()), node)


@dataclass(frozen=True, slots=True)
class TopicEntry:
    """A topic that can be published to, and where it stands."""

    text: str
    node: Node

    @classmethod
    def from_node(cls, node: Node, reader: Reader, key: str) -> TopicEntry | Invalid:
        if not isinstance(node.value, str):
            return reader.problem(node, key, f"must be text, not {node.kind()}")
        try:
            check_topic(node.value)
        except TopicError as error:
            return reader.problem(node, key, str(error))
        return cls(node.value, node)


@dataclass(frozen=True, slots=True)
class Content:
    """What a message says: text as it is, everything else as JSON."""

    text: str

    @classmethod
    def from_node(cls, node: Node, reader: Reader, key: str) -> Content | Invalid:
        if isinstance(node.value, str):
            return cls(node.value)
        try:
            return cls(orjson.dumps(node.plain()).decode())
        except (TypeError, ValueError) as error:
            return reader.problem(node, key, f"cannot be told as JSON: {error}")


@dataclass(frozen=True, slots=True)
class Answers:
    """How a function is told to answer."""

    words: str
    tell: Callable[[Function], object]

    @classmethod
    def from_node(cls, node: Node, reader: Reader, key: str) -> Answers | Invalid:
        words = Words.from_node(node, reader, key)
        if isinstance(words, Invalid):
            return words
        try:
            return cls(words.text, answer(words.text))
        except ValueError as error:
            return reader.problem(node, key, str(error))


@dataclass(frozen=True, slots=True)
class Jump:
    """How far the wall clock jumps, in seconds; back when below zero."""

    by: timedelta

    @classmethod
    def from_node(cls, node: Node, reader: Reader, key: str) -> Jump | Invalid:
        found = _JUMP.fullmatch(node.value) if isinstance(node.value, str) else None
        if found is None:
            return reader.problem(node, key, "must be a jump such as `jump -1h` or `jump 30m`")
        try:
            by = timedelta(seconds=seconds(found[2]))
        except ValueError as error:
            return reader.problem(node, key, str(error))
        return cls(-by if found[1] == "-" else by)


@dataclass(frozen=True, slots=True)
class Value:
    """The value that an event must have."""

    given: object

    @classmethod
    def from_node(cls, node: Node, reader: Reader, key: str) -> Value:  # noqa: ARG003 - what the reader gives
        return cls(node.plain())


@dataclass(frozen=True, slots=True)
class ExpectMap:
    """What is expected, as a map."""

    function: str | None = None
    """The function that is invoked; without it, any."""
    mapping: Name | None = None
    """The mapping that invokes it; without it, any."""
    sensor: str | None = None
    """The sensor that the event is of."""
    event: str | None = None
    """The name of the event that it is about, such as `motion.detected`."""
    value: Value | None = None
    """The value in that event."""
    times: Annotated[int, Within(0, 100_000)] | None = None
    """How often, exactly; 0 is never. Without it, at least once."""
    within_s: Annotated[float, Seconds(0.001)] = WITHIN_S
    """How long the expectation lasts."""
    dead_letter: bool = False
    """That it is given up, and not that it is invoked."""

    def problems(self) -> Iterator[tuple[str, str]]:
        """What the keys must agree on."""
        if self.event is not None and self.event not in EVENTS and not self.dead_letter:
            yield "event", unknown_event(self.event)
        if self.dead_letter:
            for key in ("sensor", "event", "value"):
                if getattr(self, key) is not None:
                    yield key, "cannot be asked of a dead letter; name its function or its mapping"


@dataclass(frozen=True, slots=True)
class Expected:
    """What is expected; text or a map."""

    wanted: ExpectMap

    @classmethod
    def from_node(cls, node: Node, reader: Reader, key: str) -> Expected | Invalid:
        if isinstance(node.value, dict):
            wanted = reader.object(node, ExpectMap, key)
            return wanted if isinstance(wanted, Invalid) else cls(wanted)
        found = _EXPECTED.fullmatch(" ".join(node.value.split())) if isinstance(node.value, str) else None
        if found is None or (found[1] == "none" and found[2] is not None):
            wants = "a function's name, `none` or `dead letter`, with [times NUMBER] and [within TIME]; or a map"
            return reader.problem(node, key, f"must be {wants}")
        within_s = WITHIN_S
        if found[3] is not None:
            try:
                within_s = seconds(found[3])
            except ValueError as error:
                return reader.problem(node, key, str(error))
            if within_s <= 0:
                return reader.problem(node, key, f"within {found[3]} is no time at all")
        times = 0 if found[1] == "none" else None if found[2] is None else int(found[2])
        function = None if found[1] in ("none", "dead letter") else found[1]
        return cls(ExpectMap(function=function, times=times, within_s=within_s, dead_letter=found[1] == "dead letter"))


@dataclass(frozen=True, slots=True)
class StepMap:
    """One step: when, and one of the other keys."""

    at_s: Annotated[float, Seconds()] | None = None
    """When it begins, since the start."""
    after_s: Annotated[float, Seconds()] | None = None
    """How long after the step before; instead of `at`."""
    sensor: Words | None = None
    """The sensor that sees something: `pi-1/front-door`, or `front-door` where only one has that name."""
    topic: TopicEntry | None = None
    """The topic to which another MQTT device publishes, with `payload`: `zigbee2mqtt/lamp`."""
    payload: Content | None = None
    """What that message says: text as it is, everything else as JSON."""
    qos: Annotated[int, Within(0, 1)] | None = None
    """The message's QoS, 1 without it. A dispatcher takes QoS 2 as 1."""
    retain: bool | None = None
    """Whether the broker keeps the message for who subscribes later; what it kept fires nothing."""
    do: Words | None = None
    """What it sees; or `offline`, `online`, `kill`, `restart` of a node."""
    function: Words | None = None
    """The function that is told how to answer."""
    answers: Answers | None = None
    """How it answers from now on: `503 times 2`, `200 after 5s`, `hangs`, `unreachable`, `unknown`, `well again`."""
    node: Words | None = None
    """The node whose cable is pulled (`do: offline`) or plugged in, or whose agent is killed, or starts (again)."""
    broker: Literal["stop", "start", "forget"] | None = None
    """The broker is gone, is there again, or loses its store."""
    dispatcher: Literal["kill", "restart"] | None = None
    """The dispatcher is killed, or starts (again)."""
    clock: Jump | None = None
    """The wall clock jumps, and no time passes: `jump -1h`."""
    expect: Expected | None = None
    """What must follow: `intruder-alert within 2s`, `none within 1m`, `dead letter within 1h`, or a map."""

    def problems(self) -> Iterator[tuple[str, str]]:
        """What the keys must agree on."""
        if self.at_s is not None and self.after_s is not None:
            yield "after", "cannot be said beside at"
        if self.node is not None and self.do is not None and self.do.text not in NODE_WORDS:
            yield "do", f"must be one of {', '.join(NODE_WORDS)}, not {self.do.text!r}"

    @property
    def lasts_s(self) -> float:
        """How long it holds up the step after it: an expectation its time, everything else none."""
        return self.expect.wanted.within_s if self.expect is not None else 0.0


_BESIDE: Final = {
    "do": ("sensor", "node"),
    "payload": ("topic",),
    "qos": ("topic",),
    "retain": ("topic",),
    "answers": ("function",),
}
"""What stands beside which keys."""
_OPTIONAL: Final = ("qos", "retain")

NODE_WORDS: Final = ("offline", "online", "kill", "restart")
"""What may happen to a node."""


@dataclass(frozen=True, slots=True)
class Step:
    """A step and where it stands."""

    said: StepMap
    node: Node

    @classmethod
    def from_node(cls, node: Node, reader: Reader, key: str) -> Step | Invalid:
        known = len(reader.found)
        said = reader.object(node, StepMap, key)
        if isinstance(node.value, dict):
            for relative, message in _shape(node.value):
                at = node.value.get(relative, node)
                reader.problem(at, f"{key}.{relative}" if relative else key, message)
        if isinstance(said, Invalid) or len(reader.found) > known:
            return INVALID
        return cls(said, node)


def _shape(given: dict[str, Node]) -> Iterator[tuple[str, str]]:
    """What the keys of a step must agree on, whether their values are right or not."""
    verbs = [verb for verb in VERBS if verb in given]
    if len(verbs) != 1:
        if verbs or not given.keys() - {"at", "after", *_BESIDE}:  # else a key is mistyped, and told as that
            said = f"has {' and '.join(verbs)}" if verbs else "has none of them"
            yield "", f"must have one of {', '.join(VERBS)}; it {said}"
        return
    for key, owners in _BESIDE.items():
        if key in given and verbs[0] not in owners:
            yield key, f"does not belong to {verbs[0]}, but to {' or '.join(owners)}"
        elif key not in given and verbs[0] in owners and key not in _OPTIONAL:
            yield verbs[0], f"needs {key} beside it"


@dataclass(frozen=True, slots=True)
class Steps:
    """The steps of a scenario; what they must agree on is told when each is right in itself."""

    steps: tuple[Step, ...]

    @classmethod
    def from_node(cls, node: Node, reader: Reader, key: str) -> Steps | Invalid:
        known = len(reader.found)
        steps = reader.read(node, tuple[Step, ...], key)
        return INVALID if len(reader.found) > known else cls(steps)


def scheduled(steps: Sequence[Step]) -> Iterator[tuple[float, Step]]:
    """Each step and when it begins, in seconds since the start.

    A step that does not say begins together with the one before, and after an expectation when that is over.
    """
    free_s = 0.0
    for step in steps:
        begins_s = step.said.at_s if step.said.at_s is not None else free_s + (step.said.after_s or 0.0)
        yield begins_s, step
        free_s = begins_s + step.said.lasts_s
