"""The feed: every decision of the ledger as one JSON object, for whoever watches, and the last of them to look back at.

A watcher that does not keep up loses lines and is told how many; it never holds up a delivery.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterable
from typing import Any

import orjson

from bridge.core.event import Event, rfc3339
from bridge.core.plan import Judgement
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
QUEUE = 2000
"""How many lines a watcher may be behind."""


class Feed:
    """Turns effects into lines and hands them to watchers. The loop owns it."""

    def __init__(self) -> None:
        self._ring: deque[tuple[object, str, float]] = deque(maxlen=RING)
        self._watchers: set[_Watcher] = set()

    def tell(self, effect: object, now: Instant) -> None:
        """Note one effect; it becomes JSON only when somebody looks."""
        self._ring.append((effect, rfc3339(now.wall), now.monotonic))
        if self._watchers:
            for line in lines(effect, rfc3339(now.wall)):
                for watcher in self._watchers:
                    watcher.put(line)

    def recent(self, limit: int) -> list[dict[str, Any]]:
        """The last lines, oldest first."""
        found: list[dict[str, Any]] = []
        for effect, at, _ in self._ring:
            found.extend(lines(effect, at))
        return found[-limit:]

    async def follow(self) -> AsyncIterator[bytes]:
        """New lines as they come, each a JSON object and a line's end."""
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

    async def get(self) -> bytes:
        await self._news.wait()
        found = list(self._lines)
        self._lines.clear()
        self._news.clear()
        if self._missed:
            found.append({"type": "missed", "count": self._missed})
            self._missed = 0
        return b"".join(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE) for line in found)


def lines(effect: object, at: str) -> Iterable[dict[str, Any]]:
    """One effect as the lines of the feed; none for one that only carries work."""
    match effect:
        case Judged(event, planned):
            yield {"type": "event", "at": at, **_event(event), "value": event.data.get("value"), "topic": event.topic}
            for judgement in planned.judgements:
                yield {"type": "judgement", "at": at, **_event(event), **told(judgement)}
        case Bereaved(event, first):
            yield {"type": "lost", "at": at, **_event(event), "first": first, "last": event.sequence}
        case Repeated(event):
            yield {"type": "repeated", "at": at, **_event(event)}
        case Invoke(invocation, event, attempt):
            yield {"type": "attempt", "at": at, **_event(event), **_of(invocation), "attempt": attempt}
        case Retrying(invocation, event, attempt, outcome, delay_s):
            yield {
                "type": "retry", "at": at, **_event(event), **_of(invocation), "attempt": attempt,
                "status": outcome.status, "reason": outcome.reason, "parked": delay_s is None, "delay_s": delay_s,
            }  # fmt: skip
        case Ended(invocation, event, attempt, outcome, letter):
            yield {
                "type": "deadletter" if letter else "invocation", "at": at, **_event(event), **_of(invocation),
                "attempts": attempt, "status": outcome.status if outcome else None,
                "duration_s": outcome.duration_s if outcome else None, "reason": letter.reason if letter else None,
            }  # fmt: skip
        case Cancelled(invocation, event, by):
            yield {"type": "cancelled", "at": at, **_event(event), **_of(invocation), "by": by}
        case Expired(invocation, event, rule):
            yield {"type": "dropped", "at": at, **_event(event), **_of(invocation), "reason": rule}
        case Replayed(number, event, mapping, refused):
            yield {
                "type": "replayed", "at": at, **_event(event), "number": number, "mapping": mapping, "refused": refused,
            }  # fmt: skip
        case Buried(letter):
            yield {"type": "deadletter", "at": at, "topic": letter.topic, "reason": letter.reason, "id": letter.id}


def told(judgement: Judgement) -> dict[str, Any]:
    """A judgement as JSON: what `explain` and the feed show."""
    return {
        "mapping": judgement.mapping,
        "result": judgement.result,
        "clause": judgement.clause,
        "wanted": judgement.wanted,
        "found": judgement.found,
        "text": judgement.text,
    }


def _event(event: Event) -> dict[str, Any]:
    return {"event_id": event.id, "node": event.node, "sensor": event.sensor, "event": event.name or event.type}


def _of(invocation: Any) -> dict[str, Any]:
    return {"invocation": invocation.id, "mapping": invocation.mapping, "function": invocation.function}
