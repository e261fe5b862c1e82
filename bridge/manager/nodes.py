"""The nodes and their sensors, as the retained topics tell them: who is there, and what each sensor shows now."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

import orjson

from bridge.clock import Clock
from bridge.core.event import rfc3339
from bridge.core.topics import NodeTopic, SensorStateTopic
from bridge.manager.targets import Whereabouts, read_whereabouts

NODES: Final = 1000
SENSORS: Final = 256
"""So many are remembered, of a site and of a node; what is more is counted, and not shown."""
BIRTH: Final = ("software", "python", "board", "pin_factory", "configuration")
STATE: Final = ("event", "level", "since", "health", "reason")
"""The texts that a birth and a state hold (docs/reference/topics.md)."""


@dataclass(frozen=True, slots=True)
class Status:
    """What a node, or the broker in its place, has said last of its being there."""

    state: str
    since: str | None
    """When it was first told to be so; None where only the broker's will tells that it is offline."""
    session: str | None
    backlog: int | None
    started: str | None
    told_at: str | None


@dataclass(frozen=True, slots=True)
class Birth:
    """What a node has said of itself."""

    facts: dict[str, str | None]
    kinds: dict[str, str | None]
    """Of its sensors, by name."""
    units: dict[str, str | None]
    outputs: dict[str, str | None]
    """The kinds of its outputs, by name."""
    where: Whereabouts
    """Where its metrics are."""


@dataclass(frozen=True, slots=True)
class State:
    """What a sensor shows."""

    value: bool | int | float | str | None
    facts: dict[str, str | None]
    told_at: str | None


@dataclass(slots=True)
class Node:
    """What is known of one node."""

    name: str
    status: Status | None = None
    birth: Birth | None = None
    states: dict[str, State] = field(default_factory=dict)

    @property
    def empty(self) -> bool:
        """Whether the broker retains nothing of it any more."""
        return self.status is None and self.birth is None and not self.states

    @property
    def state(self) -> str:
        """`online`, `offline`, or `unknown` while only its sensors have told anything."""
        return self.status.state if self.status is not None else "unknown"

    def sensors(self) -> list[str]:
        """The names of its sensors: those of its birth, since a state may outlive its sensor at the broker."""
        return sorted(self.birth.kinds if self.birth is not None else self.states)


class Nodes:
    """Hears retained messages; the loop owns it. `dropped` is told what was too much to be remembered."""

    def __init__(self, clock: Clock, dropped: Callable[[str], None]) -> None:
        self.known: dict[str, Node] = {}
        self._clock = clock
        self._dropped = dropped
        self.born: list[Callable[[str, Birth | None], None]] = []
        """Told of each birth, and (None) of one that was taken back."""

    def hear(self, topic: NodeTopic | SensorStateTopic, payload: bytes, *, retained: bool) -> None:
        """Take in a status, a birth or a state; an empty or unreadable one takes back what was there.

        A `retained` one tells what was so before we came, not what has just changed.
        """
        node = self.known.get(topic.node)
        if node is None:
            if len(self.known) >= NODES:
                self._dropped("node")
                return
            node = self.known[topic.node] = Node(topic.node)
        document = _object(payload)
        if isinstance(topic, SensorStateTopic):
            self._hear_state(node, topic.sensor, document)
        elif topic.leaf == "status":
            now = None if retained else rfc3339(self._clock.now())
            node.status = _status(document, node.status, now)
        elif topic.leaf == "info":
            node.birth = _birth(document)
            for told in self.born:
                told(topic.node, node.birth)
        if node.empty:
            del self.known[topic.node]

    def _hear_state(self, node: Node, sensor: str, document: dict[str, Any] | None) -> None:
        state = _state(document)
        if state is None:
            node.states.pop(sensor, None)
        elif sensor in node.states or len(node.states) < SENSORS:
            node.states[sensor] = state
        else:
            self._dropped("sensor")


# The parsers: fields that are not known are left alone (PROTOCOL.md, "Versions").


def _object(payload: bytes) -> dict[str, Any] | None:
    try:
        found = orjson.loads(payload)
    except orjson.JSONDecodeError:
        return None
    return found if isinstance(found, dict) else None


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _status(document: dict[str, Any] | None, before: Status | None, now: str | None) -> Status | None:
    """`now` is None for what the broker had kept."""
    state = _text(document.get("state")) if document is not None else None
    if document is None or state is None:
        return None
    told_at, backlog, session = _text(document.get("time")), document.get("backlog"), _text(document.get("session"))
    if before is not None and (before.state, before.session) == (state, session):
        since = before.since or told_at
    else:
        since = told_at or now
    counted = isinstance(backlog, int) and not isinstance(backlog, bool) and backlog >= 0
    return Status(
        state=state,
        since=since,
        session=session,
        # A will was written before the connection broke: what waits by now it cannot know.
        backlog=backlog if counted and told_at is not None else None,
        started=_text(document.get("started")),
        told_at=told_at,
    )


def _birth(document: dict[str, Any] | None) -> Birth | None:
    if document is None:
        return None
    sensors, outputs = (_parts(document.get(key)) for key in ("sensors", "outputs"))
    return Birth(
        facts={key: _text(document.get(key)) for key in BIRTH},
        kinds={name: _text(one.get("kind")) for name, one in sensors.items()},
        units={name: _text(one.get("unit")) for name, one in sensors.items()},
        outputs={name: _text(one.get("kind")) for name, one in outputs.items()},
        where=read_whereabouts(document),
    )


def _parts(value: object) -> dict[str, dict[str, Any]]:
    if not isinstance(value, dict):
        return {}
    named = [(name, one) for name, one in value.items() if isinstance(one, dict)]
    return dict(named[:SENSORS])


def _state(document: dict[str, Any] | None) -> State | None:
    if document is None or _text(document.get("health")) is None:
        return None
    value = document.get("value")
    return State(
        value=value if isinstance(value, bool | int | float | str) else None,
        facts={key: _text(document.get(key)) for key in STATE},
        told_at=_text(document.get("time")),
    )
