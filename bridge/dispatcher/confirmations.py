"""Confirmations: tells each agent what is finished or stored, at most once a second (PROTOCOL.md, rule 2)."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from bridge.clock import Clock
from bridge.core.confirm import Confirmed, encode
from bridge.core.dedup import SourceRow
from bridge.core.event import parse_source
from bridge.core.topics import Topics
from bridge.mqtt.transport import Message, Transport

EVERY_S = 1.0


class Confirmations:
    """What is confirmed per node, and which nodes have to hear of it."""

    def __init__(self, topics: Topics, clock: Clock, transport: Transport) -> None:
        self._topics = topics
        self._clock = clock
        self._transport = transport
        self._nodes: dict[tuple[str, str], dict[str, SourceRow]] = {}
        self._changed: set[tuple[str, str]] = set()
        self._news = asyncio.Event()

    def note(self, rows: Iterable[SourceRow]) -> None:
        """These rows are on disk: everything in them is finished or stored."""
        for row in rows:
            place = parse_source(row.source)
            if place is None:
                continue
            site, node, sensor = place
            self._nodes.setdefault((site, node), {})[sensor] = row
            self._changed.add((site, node))
        if self._changed:
            self._news.set()

    async def run(self) -> None:
        """Publish what changed, at most once a second, until cancelled."""
        while True:
            await self._news.wait()
            self._news.clear()
            if self._transport.connected:
                for node in sorted(self._changed):
                    self._publish(node)
                self._changed.clear()
            await self._clock.sleep(EVERY_S)

    def again(self) -> None:
        """Tell every node once more, after a new connection: what was said on the old one may be lost."""
        self._changed.update(self._nodes)
        if self._changed:
            self._news.set()

    def _publish(self, node: tuple[str, str]) -> None:
        payload = encode({sensor: _confirmed(row) for sensor, row in self._nodes[node].items()})
        self._transport.publish(Message(self._topics.confirm(*node), payload))


def _confirmed(row: SourceRow) -> Confirmed:
    first, last = row.runs[0]
    return Confirmed(row.epoch, last if first == 1 else 0, row.runs)
