"""The feed: every decision of the ledger, for whoever watches, for the traces, and the last of them to look back at.

On the loop a decision becomes a row, which is cheap; only for who looks it is spelled out to lines, as JSON objects. A
watcher that does not keep up loses lines and is told how many; it never holds up a delivery.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any, Final

from bridge.core.event import Event, rfc3339
from bridge.core.steps import (
    Bereaved,
    Buried,
    Cancelled,
    Ended,
    Expired,
    Instant,
    Invoke,
    Judged,
    Repeated,
    Replayed,
    Retrying,
)

RING = 1000
"""How many lines can be looked back at."""
LARGE_BYTES = 4096
"""Of the value in a larger event only the beginning is told."""
QUEUE = 2000
"""How many lines a watcher may be behind."""


Row = tuple[Any, ...]
Hear = Callable[[Any, Instant], None]
"""Hears of an effect, of one kind."""


class Feed:
    """Turns effects into lines and hands them to watchers. The loop owns it."""

    def __init__(self) -> None:
        self._ring: deque[Row] = deque(maxlen=RING)
        self._watchers: set[_Watcher] = set()
        self.keep: Callable[[Row], None] | None = None
        """Where every row goes besides: the traces."""

    def teller(self, kind: type) -> Hear | None:
        """What notes effects of this kind; None for one that only carries work, which is not told."""
        make = _ROWS.get(kind)
        return None if make is None else partial(self._tell, make)

    def _tell(self, make: Callable[[Any, datetime], Row], effect: object, now: Instant) -> None:
        row = make(effect, now.wall)
        self._ring.append(row)
        if self.keep is not None:
            self.keep(row)
        if self._watchers:
            for line in lines(row):
                for watcher in self._watchers:
                    watcher.put(line)

    def recent(self, limit: int) -> list[dict[str, Any]]:
        """The last lines, oldest first."""
        found: list[dict[str, Any]] = []
        for row in self._ring:
            found.extend(lines(row))
        return found[-limit:]

    async def follow(self) -> AsyncIterator[list[dict[str, Any]]]:
        """New lines as they come, those of a moment together."""
        watcher = _Watcher()
        self._watchers.add(watcher)
        try:
            while True:
                yield await watcher.get()
        finally:
            self._watchers.discard(watcher)


class _Watcher:
    """One reader of the feed, with a bounded queue."""

    def __init__(self) -> None:
        self._lines: deque[dict[str, Any]] = deque()
        self._missed = 0
        self._news = asyncio.Event()

    def put(self, line: dict[str, Any]) -> None:
        if len(self._lines) >= QUEUE:
            self._missed += 1
            return
        self._lines.append(line)
        self._news.set()

    async def get(self) -> list[dict[str, Any]]:
        await self._news.wait()
        found = list(self._lines)
        self._lines.clear()
        self._news.clear()
        if self._missed:
            found.append({"type": "missed", "count": self._missed})
            self._missed = 0
        return found


_EVENT: Final = ("type", "at", "event_id", "node", "sensor", "event")
_INVOCATION: Final = (*_EVENT, "invocation", "mapping", "function")
_END: Final = (*_INVOCATION, "attempts", "status", "duration_s", "reason")
FIELDS: Final[Mapping[str, Sequence[str]]] = {
    "event": (*_EVENT, "value", "unit", "initial", "timesynced", "time", "topic"),
    "attempt": (*_INVOCATION, "attempt"),
    "invocation": _END,
    "deadletter": _END,
    "retry": (*_INVOCATION, "attempt", "status", "duration_s", "reason", "parked", "delay_s"),
    "cancelled": (*_INVOCATION, "by"),
    "dropped": (*_INVOCATION, "reason"),
    "repeated": _EVENT,
    "lost": (*_EVENT, "first", "last", "reason"),
    "replayed": (*_EVENT, "number", "mapping", "refused"),
    "unreadable": (*_EVENT, "topic", "reason", "dead_letter"),
}
"""What the places of a row mean, by its first one. New ones are put last: rows of an earlier version are shorter.

The row of an event ends with its judgements.
"""
_JUDGEMENT: Final = ("mapping", "result", "text", "clause", "wanted", "found")


def lines(row: Row) -> Iterator[dict[str, Any]]:
    """The lines that a row stands for: itself, and one for each judgement."""
    fields = FIELDS.get(row[0], _EVENT)
    line = dict(zip(fields, row, strict=False))
    for name in ("at", "time"):
        if isinstance(line.get(name), datetime):  # else it comes from the disk
            line[name] = rfc3339(line[name])
    if row[0] == "unreadable":
        line["type"] = "deadletter"  # for people it is one, as others are
    yield line
    if row[0] == "event":
        which = {name: line[name] for name in _EVENT}
        for judgement in row[-1]:
            said = {"clause": None, "wanted": "", "found": "", **dict(zip(_JUDGEMENT, judgement, strict=False))}
            yield {**which, "type": "judgement", **said}


def _event_row(effect: Judged, at: datetime) -> Row:
    event, data = effect.event, effect.event.data
    value = data.get("value")
    if len(event.body) > LARGE_BYTES and isinstance(value, str | list | dict):
        value = f"{str(value)[:100]}..."
    judgements = [
        (one.mapping, one.result, one.text)
        if one.clause is None and not one.found
        else (one.mapping, one.result, one.text, one.clause, one.wanted, one.found)
        for one in effect.plan.judgements
    ]
    return (
        "event", at, event.id, event.node, event.sensor, event.name or event.type,
        value, data.get("unit"), data.get("initial") is True, event.timesynced, event.time,
        None if event.node is not None else event.topic, judgements,
    )  # fmt: skip


def _of_event(kind: str, event: Event, at: datetime) -> Row:
    return kind, at, event.id, event.node, event.sensor, event.name or event.type


def _of_invocation(kind: str, effect: Invoke | Ended | Retrying | Cancelled | Expired, at: datetime) -> Row:
    event, invocation = effect.event, effect.invocation
    return (
        kind, at, event.id, event.node, event.sensor, event.name or event.type,
        invocation.id, invocation.mapping, invocation.function,
    )  # fmt: skip


def _attempt_row(effect: Invoke, at: datetime) -> Row:
    event, invocation = effect.event, effect.invocation
    return (
        "attempt", at, event.id, event.node, event.sensor, event.name or event.type,
        invocation.id, invocation.mapping, invocation.function, effect.attempt,
    )  # fmt: skip


def _end_row(effect: Ended, at: datetime) -> Row:
    outcome, letter, event, invocation = effect.outcome, effect.letter, effect.event, effect.invocation
    return (
        "deadletter" if letter else "invocation", at, event.id, event.node, event.sensor, event.name or event.type,
        invocation.id, invocation.mapping, invocation.function,
        effect.attempt, outcome.status if outcome else None, outcome.duration_s if outcome else None,
        letter.reason if letter else None,
    )  # fmt: skip


def _retry_row(effect: Retrying, at: datetime) -> Row:
    outcome = effect.outcome
    return (
        *_of_invocation("retry", effect, at), effect.attempt, outcome.status, outcome.duration_s, outcome.reason,
        effect.delay_s is None, effect.delay_s,
    )  # fmt: skip


def _lost_row(effect: Bereaved, at: datetime) -> Row:
    dropped = effect.event.data.get("dropped")
    reason = dropped.get("reason") if isinstance(dropped, dict) else None
    return *_of_event("lost", effect.event, at), effect.first, effect.event.sequence, reason


def _unreadable_row(effect: Buried, at: datetime) -> Row:
    letter = effect.letter
    return "unreadable", at, letter.event_id, None, None, None, letter.topic, letter.reason, letter.id


_ROWS: Final[Mapping[type, Callable[[Any, datetime], Row]]] = {
    Judged: _event_row,
    Invoke: _attempt_row,
    Ended: _end_row,
    Retrying: _retry_row,
    Repeated: lambda effect, at: _of_event("repeated", effect.event, at),
    Bereaved: _lost_row,
    Cancelled: lambda effect, at: (*_of_invocation("cancelled", effect, at), effect.by),
    Expired: lambda effect, at: (*_of_invocation("dropped", effect, at), effect.rule),
    Replayed: lambda effect, at: (
        *_of_event("replayed", effect.event, at), effect.number, effect.mapping, effect.refused,
    ),
    Buried: _unreadable_row,
}  # fmt: skip
