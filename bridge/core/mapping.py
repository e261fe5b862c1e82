"""The mapping: which events invoke which function under which policies; and the set of all of them, indexed.

What may not live here: deciding about an event (plan.py), reading YAML (bridge/mapping_file).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from collections.abc import Mapping as Map
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, Literal

from bridge.core.conditions import Condition, Template
from bridge.core.event import Event
from bridge.core.hours import Hours
from bridge.core.retry import RetryPolicy
from bridge.core.selector import Selector, SensorSelector, TopicSelector, is_literal


@dataclass(frozen=True, slots=True)
class Cooldown:
    """How long nothing fires again, for what, and counted from when it matched or from when it succeeded."""

    time_s: float
    per: Literal["sensor", "mapping", "node"] = "sensor"
    start: Literal["match", "success"] = "match"


@dataclass(frozen=True, slots=True, kw_only=True)
class Mapping:
    """One mapping. Times in seconds; names as in the mapping file, where the reference explains each."""

    name: str
    selectors: tuple[Selector, ...]
    function: str
    when: Condition | None = None
    hours: Hours | None = None
    for_s: float | None = None
    until: tuple[Selector, ...] = ()
    on_fault: Literal["cancel", "keep"] = "cancel"
    cooldown: Cooldown | None = None
    mode: Literal["sync", "async"] = "sync"
    payload: Literal["event", "data"] | Template = "event"
    timeout_s: float = 10.0
    headers: Map[str, str] = field(default_factory=dict)
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    on_failure: str | None = None
    max_age_s: float | None = None
    backlog: Literal["all", "latest"] = "all"
    order: Literal["sensor", "none"] = "sensor"
    initial: Literal["never", "changed", "always"] = "changed"
    shadow: bool = False
    enabled: bool = True


class MappingSet:
    """All mappings of a file in its order; immutable. `version` is a short hash of their canonical form."""

    __slots__ = ("_foreign", "_selected", "_until", "allow_empty", "candidates", "mappings", "uses_state", "version")

    def __init__(self, mappings: Iterable[Mapping] = (), *, allow_empty: bool = False) -> None:
        from bridge.core.mapping_document import render  # noqa: PLC0415 - it renders this module's classes

        self.mappings: Map[str, Mapping] = MappingProxyType({mapping.name: mapping for mapping in mappings})
        self.allow_empty = allow_empty
        self.version: str = hashlib.sha256(render(self)).hexdigest()[:12]
        listed = list(self.mappings.values())
        self._selected = _Index([(mapping, mapping.selectors) for mapping in listed])
        self.candidates: Final = self._selected.find
        """The mappings that select an event, in the order of the file, disabled ones too."""
        self._until = _Index([(mapping, mapping.until) for mapping in listed])
        enabled = [mapping for mapping in listed if mapping.enabled]
        self._foreign = tuple(
            dict.fromkeys(
                selector.topic
                for mapping in enabled
                for selector in (*mapping.selectors, *mapping.until)
                if isinstance(selector, TopicSelector)
            )
        )
        self.uses_state = any(
            mapping.initial == "changed" or (mapping.when is not None and mapping.when.state_keys != frozenset())
            for mapping in enabled
        )
        """Whether any decision looks at what was last known of a sensor."""

    @property
    def empty(self) -> bool:
        """Whether it holds no mapping; refused in operation unless the file says `allow_empty: true` (rule 13)."""
        return not self.mappings

    def ended_by(self, event: Event) -> Sequence[Mapping]:
        """The mappings whose `until` selects the event."""
        return self._until.find(event)

    @property
    def functions(self) -> tuple[str, ...]:
        """The functions that they may invoke, those that are told of a failure included; each once, in order."""
        names = (name for one in self.mappings.values() for name in (one.function, one.on_failure))
        return tuple(dict.fromkeys(name for name in names if name is not None))

    def foreign_filters(self) -> tuple[str, ...]:
        """The MQTT topic filters that enabled mappings want besides our own sensors' events."""
        return self._foreign


REMEMBERED: Final = 10_000
"""So many kinds of events are remembered with the mappings that select them."""


class _Index:
    """Finds mappings by the most telling exact name in each selector, so that an event tests few of them.

    What was found is remembered: selectors look at nothing but an event's topic, kind and name.
    """

    def __init__(self, entries: list[tuple[Mapping, tuple[Selector, ...]]]) -> None:
        self._mappings = [mapping for mapping, _ in entries]
        self._found: dict[tuple[str, str | None, str | None], tuple[Mapping, ...]] = {}
        self._buckets: dict[tuple[str, str], list[tuple[int, Callable[[Event], bool]]]] = {}
        for position, (_, selectors) in enumerate(entries):
            for selector in selectors:
                self._buckets.setdefault(_bucket(selector), []).append((position, selector.matches))

    def find(self, event: Event) -> Sequence[Mapping]:
        key = (event.topic, event.kind, event.name)
        found = self._found.get(key)
        if found is None:
            if len(self._found) >= REMEMBERED:  # topics can be made up
                self._found.clear()
            found = self._found[key] = self._look_up(event)
        return found

    def _look_up(self, event: Event) -> tuple[Mapping, ...]:
        if event.node is None:
            keys = [("topic", event.topic), ("level", event.topic.split("/", 1)[0]), ("topic", "")]
        else:
            keys = [("sensor", event.sensor or ""), ("event", event.name or ""), ("kind", event.kind or "")]
            keys += [("node", event.node), ("sensor", "")]
        found = {position for key in keys for position, matches in self._buckets.get(key, ()) if matches(event)}
        return tuple(self._mappings[position] for position in sorted(found))


def _bucket(selector: Selector) -> tuple[str, str]:
    """Where a selector is found; ("sensor", "") and ("topic", "") hold what has no exact name."""
    if isinstance(selector, SensorSelector):
        for key in ("sensor", "event", "kind", "node"):
            pattern: str = getattr(selector, key)
            if pattern and is_literal(pattern):
                return key, pattern
        return "sensor", ""
    first = selector.topic.split("/", 1)[0]
    if "+" not in selector.topic and "#" not in selector.topic:
        return "topic", selector.topic
    return ("level", first) if first not in ("+", "#") else ("topic", "")
