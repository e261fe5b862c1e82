"""What the replicas of one function wrote: the newest lines of each, and whoever follows them."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator

from bridge.clock import Clock
from bridge.gateway.backends import LogQuery
from bridge.openfaas.deployment import LogLine

_MAX_LINE = 16 * 1024
_FOLLOWER_LINES = 10_000


class LineSplitter:
    """Cuts a stream of bytes into lines; a line longer than 16 KiB comes in pieces."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[str]:
        """The lines that are complete now."""
        *whole, self._rest = (self._rest + data).split(b"\n")
        lines = [piece for line in whole for piece in _pieces(line)]
        while len(self._rest) > _MAX_LINE:
            lines.append(self._rest[:_MAX_LINE])
            self._rest = self._rest[_MAX_LINE:]
        return [_text(line) for line in lines]

    def end(self) -> list[str]:
        """What is left when the stream is over."""
        rest, self._rest = self._rest, b""
        return [_text(rest)] if rest else []


class LogBook:
    """The newest `lines` lines of each place (a replica and its successors after a crash share one), in memory."""

    def __init__(self, name: str, lines: int, clock: Clock) -> None:
        self._name = name
        self._lines = lines
        self._clock = clock
        self._count = 0
        self._rings: dict[int, deque[tuple[int, LogLine]]] = {}
        self._followers: set[_Follower] = set()
        self._closed = False

    def write(self, place: int, instance: str, text: str) -> None:
        """Keep one line."""
        line = LogLine(self._name, instance, self._clock.now(), text)
        self._count += 1
        ring = self._rings.setdefault(place, deque(maxlen=self._lines))
        ring.append((self._count, line))
        for follower in self._followers:
            follower.put(line)

    def last(self, instance: str, count: int) -> list[str]:
        """The last lines of one instance, for messages."""
        found = [line.text for _, line in self._numbered() if line.instance == instance]
        return found[-count:]

    def close(self) -> None:
        """The function is gone: end those who follow."""
        self._closed = True
        for follower in self._followers:
            follower.wake()

    async def read(self, query: LogQuery) -> AsyncGenerator[LogLine, None]:
        """The lines that the query asks for, oldest first."""
        follower = _Follower()
        if query.follow and not self._closed:
            # Before the look back, so that no line falls between the two.
            self._followers.add(follower)
        try:
            kept = [line for _, line in self._numbered() if _matches(line, query)]
            for line in kept if query.tail is None else kept[max(0, len(kept) - query.tail) :]:
                yield line
            while follower in self._followers and (not self._closed or follower.lines):
                for line in await follower.take():
                    if _matches(line, query):
                        yield line
                if follower.dropped:
                    yield LogLine(
                        self._name, "", self._clock.now(), f"... {follower.dropped} lines left out: read too slowly"
                    )
                    follower.dropped = 0
        finally:
            self._followers.discard(follower)

    def _numbered(self) -> list[tuple[int, LogLine]]:
        return sorted((entry for ring in self._rings.values() for entry in ring), key=lambda entry: entry[0])


class _Follower:
    """Lines on their way to one reader; the oldest go when the reader is too slow."""

    def __init__(self) -> None:
        self.lines: deque[LogLine] = deque()
        self.dropped = 0
        self._some = asyncio.Event()

    def put(self, line: LogLine) -> None:
        if len(self.lines) >= _FOLLOWER_LINES:
            self.lines.popleft()
            self.dropped += 1
        self.lines.append(line)
        self._some.set()

    def wake(self) -> None:
        self._some.set()

    async def take(self) -> list[LogLine]:
        await self._some.wait()
        self._some.clear()
        taken = list(self.lines)
        self.lines.clear()
        return taken


def _matches(line: LogLine, query: LogQuery) -> bool:
    return (not query.instance or line.instance == query.instance) and (query.since is None or line.at >= query.since)


def _pieces(line: bytes) -> list[bytes]:
    line = line.removesuffix(b"\r")
    return [line[at : at + _MAX_LINE] for at in range(0, len(line), _MAX_LINE)] or [b""]


def _text(line: bytes) -> str:
    return line.decode("utf-8", "replace")
