"""The selectors: which events a mapping is for, by globs over a sensor's names or by an MQTT topic filter.

A sensor selector never selects a message of another MQTT device, a topic selector never an event of our own sensors.
What may not live here: conditions on an event's content.
"""

from __future__ import annotations

import fnmatch
import functools
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final, TypeAlias

from bridge.core import topics
from bridge.core.event import Event

FIELDS: Final = ("site", "node", "sensor", "kind", "event")
"""What a sensor selector looks at, in this order."""


@dataclass(frozen=True, slots=True)
class Mismatch:
    """Why a selector does not select an event: the field, what was wanted of it and what was found."""

    field: str
    wanted: str
    found: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SensorSelector:
    """Selects events of our own sensors; every field is a glob (`*`, `?`, `[a-c]`, `[!x]`), case counts."""

    site: str = "*"
    node: str = "*"
    sensor: str = "*"
    kind: str = "*"
    event: str = "*"

    def matches(self, event: Event) -> bool:
        return event.node is not None and all(
            pattern == "*" or glob(pattern)(found) for _, pattern, found in _pairs(self, event)
        )

    def mismatch(self, event: Event) -> Mismatch | None:
        """The first field that does not fit, or None when the event is selected."""
        if event.node is None:
            return Mismatch("sensor", "an event of a sensor", f"a message on the topic {event.topic}")
        for field, pattern, found in _pairs(self, event):
            if not glob(pattern)(found):
                return Mismatch(field, pattern, found)
        return None

    @property
    def names_a_place(self) -> bool:
        """Whether it names a site, node or sensor, not only what happens there."""
        return (self.site, self.node, self.sensor) != ("*", "*", "*")


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicSelector:
    """Selects messages of any other MQTT device by a topic filter (`+`, `#`)."""

    topic: str

    def matches(self, event: Event) -> bool:
        return event.node is None and topics.matches(self.topic, event.topic)

    def mismatch(self, event: Event) -> Mismatch | None:
        """Why the event is not selected, or None when it is."""
        if event.node is not None:
            return Mismatch("topic", self.topic, f"an event of our own sensor {event.sensor}")
        return None if topics.matches(self.topic, event.topic) else Mismatch("topic", self.topic, event.topic)

    @property
    def names_a_place(self) -> bool:
        return True


Selector: TypeAlias = SensorSelector | TopicSelector


def selects(selectors: Iterable[Selector], event: Event) -> bool:
    """Whether any of the selectors selects the event."""
    return any(selector.matches(event) for selector in selectors)


def nearest_mismatch(selectors: Iterable[Selector], event: Event) -> Mismatch | None:
    """Why none of the selectors selects the event, told by the one that came furthest; None when one does."""
    found: list[Mismatch] = []
    for selector in selectors:
        mismatch = selector.mismatch(event)
        if mismatch is None:
            return None
        found.append(mismatch)
    return max(found, key=lambda mismatch: FIELDS.index(mismatch.field) if mismatch.field in FIELDS else -1)


def is_literal(pattern: str) -> bool:
    """Whether a glob matches nothing but itself."""
    return not any(character in pattern for character in "*?[")


@functools.lru_cache(maxsize=4096)
def glob(pattern: str) -> Callable[[str], bool]:
    """A glob as a test; time is linear in practice: fnmatch's expressions do not backtrack over stars."""
    if pattern == "*":
        return lambda _: True
    if is_literal(pattern):
        return pattern.__eq__
    expression = re.compile(fnmatch.translate(pattern))
    return lambda text: expression.match(text) is not None


def _pairs(selector: SensorSelector, event: Event) -> Iterable[tuple[str, str, str]]:
    return (
        ("site", selector.site, event.site or ""),
        ("node", selector.node, event.node or ""),
        ("sensor", selector.sensor, event.sensor or ""),
        ("kind", selector.kind, event.kind or ""),
        ("event", selector.event, event.name or ""),
    )
