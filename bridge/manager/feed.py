"""The dispatcher's feed as the manager passes it on: the last decisions, numbered, for who looks now or comes back.

The dispatcher spells its decisions out only for who looks, so the manager listens only while somebody does, and a
little longer. Who listens here reads from one bounded store at their own pace: whoever falls behind its oldest line is
too slow. A line of the type `gap` says where something may be missing, and why.
"""

from __future__ import annotations

import asyncio
import fnmatch
import logging
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, Protocol, Self

import orjson

from bridge.clock import Clock, Timer
from bridge.core.event import rfc3339
from bridge.ulid import mint

_log = logging.getLogger(__name__)

KEPT: Final = 5000
"""So many decisions can be looked back at."""
HEAD: Final = 1000
"""So many the dispatcher is asked for that were made before (bridge/dispatcher/answers.py, LIMIT)."""
LINGER_S: Final = 60.0
"""So long the manager listens on when nobody looks any more."""
AGAIN_S: Final = 2.0
ALWAYS: Final = ("gap", "missed")
"""Lines that nobody filters out: what is missing may be what somebody looks for."""


@dataclass(frozen=True, slots=True)
class Decision:
    """One line of the feed."""

    id: str
    line: dict[str, Any]
    text: bytes
    """The line as the dispatcher wrote it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which decisions somebody wants: globs, and what is not given chooses nothing out."""

    node: str | None = None
    sensor: str | None = None
    event: str | None = None
    type: str | None = None
    mapping: str | None = None
    function: str | None = None
    event_id: str | None = None

    def includes(self, line: dict[str, Any]) -> bool:
        """Whether a line is meant."""
        if line.get("type") in ALWAYS:
            return True
        return all(
            glob is None or (isinstance(line.get(name), str) and fnmatch.fnmatchcase(line[name], glob))
            for name, glob in (
                ("node", self.node),
                ("sensor", self.sensor),
                ("event", self.event),
                ("type", self.type),
                ("mapping", self.mapping),
                ("function", self.function),
                ("event_id", self.event_id),
            )
        )


class Listen(Protocol):
    """Hears one connection to its end (bridge/manager/feed_listener.py)."""

    def __call__(
        self, url: str, last: int, *, begun: Callable[[Sequence[bytes]], None], heard: Callable[[bytes], None]
    ) -> Awaitable[str]:
        """Why it ended."""


class Feed:
    """The store, and the listening: an async context manager that the loop owns. `url` may change meanwhile."""

    def __init__(self, clock: Clock, url: Callable[[], str], *, kept: int = KEPT, listen: Listen | None = None) -> None:
        self.problem: str | None = "nobody has looked yet"
        """Why the dispatcher is not heard now, if so."""
        self.ended = False
        """Whether the manager stops: who listens is told that there will be no more."""
        self.listeners = 0
        self.clock = clock
        self._url = url
        self._listen_once = listen
        self._life = mint(clock.now())
        self._room = kept
        self._kept: dict[int, Decision] = {}
        self._next = 1
        self._news = asyncio.Event()
        self._tried = asyncio.Event()
        self._listening: asyncio.Task[None] | None = None
        self._rest: Timer | None = None
        self._known: set[bytes] = set()
        self._compared = 0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        self.end()
        if self._rest is not None:
            self._rest.cancel()
        if self._listening is not None:
            self._listening.cancel()
            await asyncio.gather(self._listening, return_exceptions=True)

    def end(self) -> None:
        """Let everybody who listens go: the HTTP server waits for them."""
        self.ended = True
        self._tell()

    # --- for those who look ---

    async def look(self, within_s: float) -> None:
        """Have the dispatcher's last decisions here; returns in time also when it does not answer."""
        with self.listening():
            try:
                async with asyncio.timeout(within_s):
                    await self._tried.wait()
            except TimeoutError:
                return

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Be heard for as long as this is entered."""
        self.listeners += 1
        self._wake()
        try:
            yield
        finally:
            self.listeners -= 1
            if not self.listeners:
                self._rest = self.clock.call_at(self.clock.monotonic() + LINGER_S, self._stop)

    @property
    def newest(self) -> int:
        """The place after which nothing has been told yet."""
        return self._next - 1

    def id_of(self, place: int) -> str:
        """What a client gives to go on from a place."""
        return f"{self._life}-{place}"

    def place_of(self, last_id: str) -> tuple[int, dict[str, Any] | None]:
        """Where a client goes on that has heard everything up to an id, and the line that says what it has missed."""
        life, _, number = last_id.rpartition("-")
        known = life == self._life and number.isascii() and number.isdigit() and len(number) < 19
        if not known or int(number) > self.newest:
            return self._oldest - 1, self._gap("this id is not of this life of the manager")
        place = max(int(number), self._oldest - 1)
        missed = place - int(number)
        return place, {"type": "missed", "count": missed} if missed else None

    def last(self, limit: int, wanted: Wanted) -> list[Decision]:
        """The newest that are wanted, oldest first."""
        found: list[Decision] = []
        for decision in reversed(self._kept.values()):
            if len(found) >= limit:
                break
            if wanted.includes(decision.line):
                found.append(decision)
        return found[::-1]

    def after(self, place: int, limit: int) -> list[Decision] | None:
        """The next ones from a place on; None when it lies before what is kept."""
        if place < self._oldest - 1:
            return None
        return [self._kept[number] for number in range(place + 1, min(place + 1 + limit, self._next))]

    def until(self, place: int) -> list[Decision]:
        """Those that are kept up to a place."""
        return [decision for number, decision in self._kept.items() if number <= place]

    async def news(self) -> None:
        """Return when something has been told, or the end has come."""
        await self._news.wait()

    # --- the listening ---

    @property
    def _oldest(self) -> int:
        return next(iter(self._kept), self._next)

    def _wake(self) -> None:
        if self._rest is not None:
            self._rest.cancel()
            self._rest = None
        if self._listening is None and not self.ended:
            self._tried = asyncio.Event()
            self._listening = asyncio.create_task(self._listen(), name="manager hears the dispatcher's feed")

    def _stop(self) -> None:
        if not self.listeners and self._listening is not None:
            self._listening.cancel()
            self._listening = None
            self.problem = "nobody has looked for a while"

    async def _listen(self) -> None:
        if self._listen_once is None:
            from bridge.manager.feed_listener import listen  # noqa: PLC0415 - it brings an HTTP client

            self._listen_once = listen
        while True:
            why = await self._listen_once(self._url().rstrip("/"), HEAD, begun=self._begun, heard=self._hear)
            self._tried.set()
            if self.problem is None:
                _log.warning("the dispatcher's feed broke", extra={"op": "feed", "why": why})
                self._keep(self._gap(why))
            self.problem = why
            await self.clock.sleep(AGAIN_S)

    def _begun(self, head: Sequence[bytes]) -> None:
        """A connection stands; `head` is what the dispatcher decided before. What we have of it is not told again."""
        self._known = {decision.text for decision in self._kept.values()}
        if self._known and head and self._known.isdisjoint(head):
            self._keep(self._gap("nobody listened for a while"))
        self.problem = None
        self._compared = len(head) + HEAD  # the following begins with the last ones once more
        for text in head:
            self._hear(text)
        self._tried.set()

    def _hear(self, text: bytes) -> None:
        """Raises ValueError for what is no line of a feed."""
        if self._compared > 0:
            self._compared -= 1
            if text in self._known:
                return
            self._known.add(text)
        else:
            self._known.clear()
        line = orjson.loads(text)
        if not isinstance(line, dict):
            raise ValueError("a line of a feed is a JSON object")  # noqa: TRY004 - as for what is no JSON
        self._keep(line, text)

    def _keep(self, line: dict[str, Any], text: bytes | None = None) -> None:
        number, self._next = self._next, self._next + 1
        self._kept[number] = Decision(self.id_of(number), line, text if text is not None else orjson.dumps(line))
        if len(self._kept) > self._room:
            del self._kept[self._oldest]
        self._tell()

    def _gap(self, why: str) -> dict[str, Any]:
        return {"type": "gap", "at": rfc3339(self.clock.now()), "reason": why}

    def _tell(self) -> None:
        self._news.set()
        if not self.ended:
            self._news = asyncio.Event()
