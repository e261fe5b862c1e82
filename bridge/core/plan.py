"""The plan: what one event makes the mappings do, what they remember of it, and why each did or did not fire.

    planned = plan(event, mappings, state, received_at=now)
    state.apply(planned.changes)

Decides by event time; by the time of receipt for messages of other devices and while the sender's clock is not set
(PROTOCOL.md, "Which clock"). The clauses are asked in this order: select, enabled, initial, max_age, hours, when, for,
cooldown, payload, shadow. What may not live here: doing any of it, and state that changes by itself.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Final, NamedTuple, TypeAlias

from bridge.core.conditions import Template
from bridge.core.event import Event, rfc3339
from bridge.core.judgement import FAULT, HEALTH, OPPOSITES, Failure, Judgement, Plan, Planned
from bridge.core.mapping import REMEMBERED, Mapping, MappingSet
from bridge.core.mapping_state import (
    LastValue,
    MappingState,
    StateChange,
    Waiting,
    cooldown_change,
    last_change,
    sensor_of,
    waiting_change,
)
from bridge.core.selector import nearest_mismatch, selects
from bridge.errors import ConditionFailed

__all__ = [
    "OPPOSITES",
    "Failure",
    "Judgement",
    "MappingState",
    "Plan",
    "Planned",
    "StateChange",
    "decision_time",
    "explain",
    "node_offline",
    "plan",
    "succeeded",
    "timer_key",
]


def plan(
    event: Event, mappings: MappingSet, state: MappingState, *, received_at: datetime, backlog: bool = False
) -> Plan:
    """What follows from an event. Changes nothing: `state.apply(plan.changes)` does."""
    planner = _Planner(event, mappings, state, received_at, backlog=backlog)
    if state.waiting:
        planner.cancel()
    for mapping in mappings.candidates(event):
        planner.judge(mapping)
    return planner.plan()


def explain(
    event: Event, mappings: MappingSet, state: MappingState, *, received_at: datetime, backlog: bool = False
) -> tuple[Judgement, ...]:
    """What every mapping would say to an event, also those that do not select it."""
    planner = _Planner(event, mappings, state, received_at, backlog=backlog)
    planner.cancel()
    for mapping in mappings.mappings.values():
        mismatch = nearest_mismatch(mapping.selectors, event)
        if mismatch is None:
            planner.judge(mapping)
        else:
            planner.reject(mapping, f"select.{mismatch.field}", mismatch.wanted, mismatch.found, ())
    return planner.plan().judgements


def node_offline(
    site: str, node: str, mappings: MappingSet, state: MappingState, *, overdue: Callable[[str], bool]
) -> Plan:
    """What follows from a node going offline: its waiting timers are cancelled, unless `on_fault: keep`.

    `overdue` says of a timer's key whether it has fallen due, which no cancel undoes. Nothing but our own clock told
    when the node went, and that one may have jumped: so it is asked of who measures how long each has waited.
    """
    place = f"/sites/{site}/nodes/{node}/"
    cancelled, judgements, changes = [], [], []
    for key, waiting in state.waiting.items():
        mapping = mappings.mappings.get(waiting.mapping)
        if mapping is None or mapping.on_fault == "keep" or not waiting.source.startswith(place) or overdue(key):
            continue
        cancelled.append(key)
        judgements.append(_cancels(waiting, "on_fault", f"the node {node} is online", f"the node {node} went offline"))
        changes.append(waiting_change(key, None))
        if waiting.cooldown_key is not None:
            fires = state.cooldowns.get(waiting.cooldown_key, ())
            changes.append(cooldown_change(waiting.cooldown_key, (time for time in fires if time != waiting.due_at)))
    return Plan(cancelled=tuple(cancelled), changes=tuple(changes), judgements=tuple(judgements))


def succeeded(cooldown_key: str, event: Event, received_at: datetime, state: MappingState) -> StateChange:
    """That a cooldown begins because an invocation succeeded; it is counted from the event's time (rule 15).

    A success that was long in coming ends none that began with a later event.
    """
    fires = state.cooldowns.get(cooldown_key, ())
    return cooldown_change(cooldown_key, (*fires, decision_time(event, received_at)))


def decision_time(event: Event, received_at: datetime) -> datetime:
    """The time that decides about an event."""
    return event.time if event.timesynced and event.node is not None else received_at


class _Planner:
    """The work on one event; what it decides is seen by its own later decisions, the state stays as it is."""

    __slots__ = (
        *("at", "at_start", "backlog", "cancelled", "cooldowns", "event", "failures", "invocations", "judgements"),
        *("mappings", "received_at", "state", "waiting"),
    )

    def __init__(
        self, event: Event, mappings: MappingSet, state: MappingState, received_at: datetime, *, backlog: bool
    ) -> None:
        self.event = event
        self.mappings = mappings
        self.state = state
        self.received_at = received_at
        self.at = decision_time(event, received_at)
        self.at_start = event.name is not None and event.data.get("initial") is True
        self.backlog = backlog
        self.invocations: list[Planned] = []
        self.cancelled: list[str] = []
        self.judgements: list[Judgement] = []
        self.failures: list[Failure] = []
        self.waiting: dict[str, Waiting | None] = {}
        self.cooldowns: dict[str, tuple[datetime, ...]] = {}

    def plan(self) -> Plan:
        changes = self._changes()
        forgotten = self.state.overflow(changes) if changes else ()
        return Plan(
            tuple(self.invocations),
            tuple(self.cancelled),
            (*forgotten, *changes),
            tuple(self.judgements),
            tuple(self.failures),
            tuple([change.key for change in forgotten]) if forgotten else (),
        )

    def _changes(self) -> list[StateChange]:
        changes: list[StateChange] = []
        if self.waiting:
            changes += [waiting_change(key, waiting) for key, waiting in self.waiting.items()]
        if self.cooldowns:
            changes += [cooldown_change(key, fires) for key, fires in self.cooldowns.items()]
        event = self.event
        if self.mappings.uses_state and event.name is not None and event.name not in HEALTH:
            sensor = sensor_of(event)
            last = self.state.last.get(sensor)
            if last is None or self.at >= last.time:
                level = event.name if event.name in OPPOSITES else last.level if last else None
                changes.append(last_change(sensor, LastValue(event.name, event.data.get("value"), self.at, level)))
        return changes

    def cancel(self) -> None:
        """End the timers that the event ends."""
        event = self.event
        for key in self.state.waiting_of(event.source):
            waiting = self.state.waiting[key]
            mapping = self.mappings.mappings.get(waiting.mapping)
            if mapping is None:
                self.waiting[key] = None  # the ledger has buried it (rule 13)
            elif event.name == FAULT and mapping.on_fault == "cancel":
                self._end(key, waiting, "on_fault", "no fault")
            elif not mapping.until and event.name in OPPOSITES.get(waiting.event, ()):
                self._end(key, waiting, "for", waiting.event)
        for mapping in self.mappings.ended_by(event):
            anywhere = selects((one for one in mapping.until if one.names_a_place), event)
            for key, waiting in self.state.waiting.items():
                wanted = waiting.mapping == mapping.name and key not in self.waiting
                own = waiting.source == event.source
                # Backlog from elsewhere may be about a time before it began to wait. What is live came after that,
                # whatever two clocks say.
                before = self.backlog and self.at < waiting.since
                if wanted and (own or (anywhere and not before)):
                    self._end(key, waiting, "until", "none of until")

    def _end(self, key: str, waiting: Waiting, clause: str, wanted: str) -> None:
        """A timer ends: cancelled, unless it was due before this event happened, which undoes nothing (rule 15)."""
        self.waiting[key] = None
        if self.at >= waiting.due_at:
            return
        self.cancelled.append(key)
        self.judgements.append(_cancels(waiting, clause, wanted, self.event.name or self.event.topic))
        if waiting.cooldown_key is not None:
            fires = self._fires(waiting.cooldown_key)
            self.cooldowns[waiting.cooldown_key] = tuple(time for time in fires if time != waiting.due_at)

    def judge(self, mapping: Mapping) -> None:
        """Ask the clauses of a mapping that selects the event."""
        known = _ASKED.get(id(mapping))
        asked = known if known is not None and known.mapping is mapping else _asked(mapping)
        for count, clause, ask in asked.at_start if self.at_start else asked.later:
            try:
                no = ask(self, mapping)
            except ConditionFailed as error:
                self._fail(mapping, clause, str(error), _PASSED[:count])
                return
            if no is not None:
                self.reject(mapping, clause, *no, _PASSED[:count])
                return
        text = None
        if isinstance(mapping.payload, Template):
            try:
                text = mapping.payload.render(self.event, at=self.at)
            except ConditionFailed as error:
                self._fail(mapping, "payload", str(error), _PASSED)
                return
        self._fire(mapping, text)

    def _fire(self, mapping: Mapping, text: str | None) -> None:
        event = self.event
        due_at = None if mapping.for_s is None else self.at + timedelta(seconds=mapping.for_s)
        note, on_success = None, None
        if mapping.cooldown is not None:
            cooldown_key = _cooldown_key(mapping, event)
            if mapping.cooldown.start == "success" and not mapping.shadow:
                on_success = cooldown_key
            elif due_at is None or not mapping.shadow:
                note = cooldown_key
                self.cooldowns[note] = (*self._fires(note), due_at or self.at)
        if mapping.shadow:
            would = f"would wait {_seconds(mapping.for_s)} and invoke" if mapping.for_s is not None else "would invoke"
            found = f"{would} {mapping.function}"
            self.reject(mapping, "shadow", "shadow: false", found, _PASSED)
            return
        invocation = Planned(
            id=f"{event.key}:{mapping.name}",
            mapping=mapping.name,
            function=mapping.function,
            lane="" if mapping.order == "none" else f"{mapping.name}|{_place(event)}",
            due_at=due_at,
            text=text,
            cooldown_key=on_success,
            latest=self.backlog and mapping.backlog == "latest",
        )
        self.invocations.append(invocation)
        if due_at is None or mapping.for_s is None:
            self.judgements.append(_fires(mapping.name, mapping.function))
            return
        key = timer_key(mapping.name, event)
        name = event.name or event.type
        self.waiting[key] = Waiting(mapping.name, event.source, name, invocation.id, self.at, due_at, note)
        said = f"{mapping.name} waits {_seconds(mapping.for_s)} before it invokes {mapping.function}"
        self.judgements.append(Judgement(mapping.name, "waits", None, "", rfc3339(due_at), said, _PASSED))

    def reject(self, mapping: Mapping, clause: str, wanted: str, found: str, passed: tuple[str, ...]) -> None:
        text = f"{mapping.name} does not fire: {clause} wants {wanted}, found {found}"
        self.judgements.append(Judgement(mapping.name, "rejected", clause, wanted, found, text, passed))

    def _fail(self, mapping: Mapping, clause: str, reason: str, passed: tuple[str, ...]) -> None:
        text = f"{mapping.name}: {clause} could not be evaluated: {reason}"
        self.judgements.append(Judgement(mapping.name, "failed", clause, "a result", reason, text, passed))
        if not mapping.shadow:
            self.failures.append(Failure(f"{self.event.key}:{mapping.name}", mapping.name, mapping.function, text))

    def _fires(self, key: str) -> tuple[datetime, ...]:
        return self.cooldowns[key] if key in self.cooldowns else self.state.cooldowns.get(key, ())

    # Each clause answers None for yes, or (wanted, found) for no.

    def enabled(self, mapping: Mapping) -> tuple[str, str] | None:
        return None if mapping.enabled else ("enabled: true", "enabled: false")

    def initial(self, mapping: Mapping) -> tuple[str, str] | None:
        event = self.event
        assert event.name is not None
        if mapping.initial == "never":
            return "a change", "a level found at start"
        last = self.state.last.get(sensor_of(event))
        if last is None:
            return None
        if event.name in OPPOSITES:
            same, known = last.level == event.name, event.name
        else:
            value = event.data.get("value")
            same, known = last.value == value, str(value)
        return (f"another state than {known}, found at start", f"{known}, as before") if same else None

    def max_age(self, mapping: Mapping) -> tuple[str, str] | None:
        assert mapping.max_age_s is not None  # others are not asked
        age_s = (self.received_at - self.at).total_seconds()
        if age_s <= mapping.max_age_s:
            return None
        return f"at most {_seconds(mapping.max_age_s)} old", f"{_seconds(age_s)} old"

    def hours(self, mapping: Mapping) -> tuple[str, str] | None:
        if mapping.hours is None or mapping.hours.active(self.at):
            return None
        return str(mapping.hours), mapping.hours.local(self.at)

    def condition(self, mapping: Mapping) -> tuple[str, str] | None:
        if mapping.when is None or mapping.when.evaluate(self.event, self.state.known, at=self.at):
            return None
        return mapping.when.text, "false"

    def holding(self, mapping: Mapping) -> tuple[str, str] | None:
        assert mapping.for_s is not None  # others are not asked
        key = timer_key(mapping.name, self.event)
        waiting = self.waiting[key] if key in self.waiting else self.state.waiting.get(key)
        if waiting is None or self.at >= waiting.due_at:
            return None
        return "not waiting yet", f"waiting since {rfc3339(waiting.since)} until {rfc3339(waiting.due_at)}"

    def cooldown(self, mapping: Mapping) -> tuple[str, str] | None:
        assert mapping.cooldown is not None  # others are not asked
        key = _cooldown_key(mapping, self.event)
        fires_at = self.at + timedelta(seconds=mapping.for_s or 0.0)
        pending = self._pending(mapping) if mapping.for_s is not None else frozenset()
        for fired_at in self._fires(key):
            apart_s = abs((fires_at - fired_at).total_seconds())
            if apart_s < mapping.cooldown.time_s and fired_at not in pending:
                wanted = f"{_seconds(mapping.cooldown.time_s)} apart per {mapping.cooldown.per}"
                return wanted, f"{_seconds(apart_s)} apart from {rfc3339(fired_at)}"
        return None

    def _pending(self, mapping: Mapping) -> frozenset[datetime]:
        """When timers of other sensors may fire: as they may still be cancelled, they hold back nothing."""
        return frozenset(
            waiting.due_at
            for waiting in self.state.waiting.values()
            if waiting.mapping == mapping.name and waiting.due_at > self.at
        )


_CLAUSES: Final = (
    ("enabled", _Planner.enabled),
    ("initial", _Planner.initial),
    ("max_age", _Planner.max_age),
    ("hours", _Planner.hours),
    ("when", _Planner.condition),
    ("for", _Planner.holding),
    ("cooldown", _Planner.cooldown),
)
_PASSED: Final = ("select", *(clause for clause, _ in _CLAUSES))
_Clause: TypeAlias = "tuple[int, str, Callable[[_Planner, Mapping], tuple[str, str] | None]]"


class _Asked(NamedTuple):
    """The clauses of a mapping that can say no, each with its place; the others need not be asked for each event."""

    mapping: Mapping
    at_start: tuple[_Clause, ...]
    """About a level that was found at start."""
    later: tuple[_Clause, ...]
    """About a change that was seen."""


def _asked(mapping: Mapping) -> _Asked:
    """The clauses of a mapping, which are remembered by where it is in memory."""
    if len(_ASKED) >= REMEMBERED:
        _ASKED.clear()
    says_yes = {
        "enabled": mapping.enabled,
        "initial": mapping.initial == "always",
        "max_age": mapping.max_age_s is None,
        "hours": mapping.hours is None,
        "when": mapping.when is None,
        "for": mapping.for_s is None,
        "cooldown": mapping.cooldown is None,
    }
    clauses = tuple((count, name, ask) for count, (name, ask) in enumerate(_CLAUSES, 1) if not says_yes[name])
    later = tuple(clause for clause in clauses if clause[1] != "initial")
    asked = _ASKED[id(mapping)] = _Asked(mapping, clauses, later)
    return asked


_ASKED: Final[dict[int, _Asked]] = {}
"""Each holds its mapping, so that no other one can come to be where it is while it is remembered."""


@lru_cache(REMEMBERED)
def _fires(mapping: str, function: str) -> Judgement:
    return Judgement(mapping, "fires", None, "", "", f"{mapping} invokes {function}", _PASSED)


def timer_key(mapping: str, event: Event) -> str:
    """What a waiting `for` is known by: one for each mapping and source."""
    return f"{mapping}|{event.source}"


def _cancels(waiting: Waiting, clause: str, wanted: str, found: str) -> Judgement:
    text = f"{waiting.mapping} no longer waits: {clause} wants {wanted}, found {found}"
    return Judgement(waiting.mapping, "cancels", clause, wanted, found, text)


def _place(event: Event) -> str:
    return event.source if event.node is not None else event.topic


def _cooldown_key(mapping: Mapping, event: Event) -> str:
    assert mapping.cooldown is not None
    match mapping.cooldown.per:
        case "mapping":
            return f"{mapping.name}|"
        case "node" if event.node is not None:
            return f"{mapping.name}|/sites/{event.site}/nodes/{event.node}"
        case _:
            return f"{mapping.name}|{_place(event)}"


def _seconds(value_s: float) -> str:
    return f"{round(value_s, 3):g} s"
