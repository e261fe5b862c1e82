"""What mappings remember between events: cooldowns, waiting `for` timers, and what was last known of each sensor.

Plain data, changed by `apply` alone; every change is one key and one value that orjson writes as it is, so that a
journal can keep it with the event that made it (PROTOCOL.md, rule 7). What may not live here: deciding.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from bridge.core.event import JSON, Event, Value

MAX_KEPT: Final = 10_000
"""Cooldowns, timers and sensors remembered, each; the oldest go first. Only strangers' topics could come to so many."""
KINDS: Final = ("last", "cooldown", "waiting")
"""The beginnings of keys."""
LAST: Final = "last|"
"""How the keys of what was last known begin."""
FIRES_KEPT: Final = 8
"""Times remembered of one cooldown: enough to judge backlog that arrives out of order."""


@dataclass(slots=True)
class LastValue:
    """What was last known of a sensor. `level` is the last event that named a state, such as `temperature.high`."""

    event: str
    value: Value
    time: datetime
    level: str | None = None


@dataclass(frozen=True, slots=True)
class Waiting:
    """A `for` that waits: which invocation, of what, since and until when."""

    mapping: str
    source: str
    event: str
    invocation: str
    since: datetime
    due_at: datetime
    cooldown_key: str | None = None
    """Where its firing is noted already, to be taken back when it is cancelled."""


@dataclass(slots=True)
class StateChange:
    """The new value of a key; None forgets it.

    Much of it changes with each event and is written once a commit: it becomes JSON only then, and JSON is what a
    journal gives back.
    """

    key: str
    value: LastValue | Waiting | tuple[datetime, ...] | JSON


class MappingState:
    """The memory of all mappings. Not thread-safe: the dispatcher's loop owns it."""

    __slots__ = ("_known", "_sources", "_told", "cooldowns", "last", "waiting")

    def __init__(self) -> None:
        self.cooldowns: dict[str, tuple[datetime, ...]] = {}
        """By "mapping|what it cools down for": when it fired, in event time, the latest decision last."""
        self.last: dict[str, LastValue] = {}
        """By "node/sensor"."""
        self.waiting: dict[str, Waiting] = {}
        """By "mapping|source"."""
        self._known: dict[str, dict[str, Any]] = {}
        self._told: set[str] = set()
        self._sources: dict[str, dict[str, None]] = {}

    @property
    def known(self) -> dict[str, dict[str, Any]]:
        """`last` as conditions see it: made when one asks, and of what has changed."""
        for sensor in self._told:
            last = self.last[sensor]
            self._known[sensor] = {"event": last.event, "value": last.value, "time": last.time}
        self._told.clear()
        return self._known

    @classmethod
    def restore(cls, changes: Iterable[StateChange]) -> MappingState:
        """The state that `changes` (in order) or `snapshot` tell of."""
        state = cls()
        state.apply(changes)
        return state

    def snapshot(self) -> tuple[StateChange, ...]:
        """Everything as changes, oldest first."""
        return (
            *(last_change(sensor, last) for sensor, last in self.last.items()),
            *(cooldown_change(key, fires) for key, fires in self.cooldowns.items()),
            *(waiting_change(key, waiting) for key, waiting in self.waiting.items()),
        )

    def waiting_of(self, source: str) -> list[str]:
        """The keys of the timers that wait for one source."""
        return list(self._sources.get(source, ()))

    def apply(self, changes: Iterable[StateChange]) -> None:
        """Take changes over; the same ones again change nothing. Kinds that are not known are ignored."""
        for change in changes:
            value: Any = change.value
            if type(value) is LastValue:  # most of them
                key = change.key[len(LAST) :]
                self._told.add(key)
                self.last[key] = value
                continue
            kind, _, key = change.key.partition("|")
            match kind:
                case "last":
                    self._last(key, value)
                case "cooldown":
                    self.cooldowns.pop(key, None)
                    if value is not None:
                        self.cooldowns[key] = value if type(value) is tuple else tuple(map(_time, value))
                case "waiting":
                    self._wait(key, value)
                case _:
                    pass

    def overflow(self, changes: Iterable[StateChange]) -> list[StateChange]:
        """What is to be forgotten so that `changes` find room."""
        if len(self.last) < MAX_KEPT and len(self.cooldowns) < MAX_KEPT and len(self.waiting) < MAX_KEPT:
            return []
        forgotten = []
        stores: dict[str, Any] = {"last": self.last, "cooldown": self.cooldowns, "waiting": self.waiting}
        oldest = {kind: iter(store) for kind, store in stores.items()}
        for change in changes:
            kind, _, key = change.key.partition("|")
            store = stores[kind]
            if change.value is not None and key not in store and len(store) >= MAX_KEPT:
                forgotten.append(StateChange(f"{kind}|{next(oldest[kind])}", None))
        return forgotten

    def _last(self, key: str, value: Any) -> None:
        if value is None:
            self.last.pop(key, None)
            self._known.pop(key, None)
            self._told.discard(key)
            return
        self._told.add(key)
        self.last[key] = LastValue(value["event"], value["value"], _time(value["time"]), value["level"])

    def _wait(self, key: str, value: Any) -> None:
        gone = self.waiting.pop(key, None)
        if gone is not None:
            of_source = self._sources[gone.source]
            del of_source[key]
            if not of_source:
                del self._sources[gone.source]
        if value is None:
            return
        if isinstance(value, Waiting):
            waiting = value
        else:
            waiting = Waiting(
                value["mapping"],
                value["source"],
                value["event"],
                value["invocation"],
                _time(value["since"]),
                _time(value["due_at"]),
                value["cooldown_key"],
            )
        self.waiting[key] = waiting
        self._sources.setdefault(waiting.source, {})[key] = None


def sensor_of(event: Event) -> str:
    """What an event's sensor is known by: "node/sensor"."""
    return f"{event.node}/{event.sensor}"


def last_key(sensor: str) -> str:
    """The key of what was last known of a sensor ("node/sensor")."""
    return LAST + sensor


def last_change(sensor: str, last: LastValue) -> StateChange:
    """That this is now known of a sensor ("node/sensor")."""
    return StateChange(last_key(sensor), last)


def cooldown_change(key: str, fires: Iterable[datetime]) -> StateChange:
    """That these are the times at which it fired; none forgets the cooldown."""
    times = tuple(fires)[-FIRES_KEPT:]
    return StateChange(f"cooldown|{key}", times or None)


def waiting_change(key: str, waiting: Waiting | None) -> StateChange:
    """That a timer waits; or, with None, that it does no longer."""
    return StateChange(f"waiting|{key}", waiting)


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)
