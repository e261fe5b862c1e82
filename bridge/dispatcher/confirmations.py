"""Confirmations: tells each agent what is finished or stored (PROTOCOL.md, rule 2).

Once a second at most, but sooner for a node of which much has been kept: it has only so many events in flight, and
would wait for us.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable

from bridge.clock import Clock
from bridge.core.confirm import Confirmed, encode
from bridge.core.dedup import SourceRow
from bridge.core.event import parse_source
from bridge.core.topics import Topics
from bridge.mqtt.transport import Message, Transport

EVERY_S = 1.0
SOON = 250
"""So many events of a node are confirmed at once; a quarter of what an agent has in flight."""


class Confirmations:
    """What is confirmed per node, and which nodes have to hear of it."""

    def __init__(self, topics: Topics, clock: Clock, transport: Transport) -> None:
        self._topics = topics
        self._clock = clock
        self._transport = transport
        self._nodes: dict[tuple[str, str], dict[str, SourceRow]] = {}
        self._changed: set[tuple[str, str]] = set()
        self._untold: Counter[tuple[str, str]] = Counter()
        self._news = asyncio.Event()

    def note(self, rows: Iterable[SourceRow]) -> None:
        """These rows are on disk: everything in them is finished or stored."""
        for row in rows:
            place = parse_source(row.source)
            if place is None:
                continue
            site, node, sensor = place
            rows_of = self._nodes.setdefault((site, node), {})
            self._untold[site, node] += _count(row) - _count(rows_of.get(sensor))
            rows_of[sensor] = row
            self._changed.add((site, node))
        if self._transport.connected:
            for node_of in [one for one in self._changed if self._untold[one] >= SOON]:
                self._publish(node_of)
                self._changed.discard(node_of)
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
        del self._untold[node]
        payload = encode({sensor: _confirmed(row) for sensor, row in self._nodes[node].items()})
        self._transport.publish(Message(self._topics.confirm(*node), payload))


def _count(row: SourceRow | None) -> int:
    return sum(last - first + 1 for first, last in row.runs) if row is not None else 0


def _confirmed(row: SourceRow) -> Confirmed:
    first, last = row.runs[0]
    return Confirmed(row.epoch, last if first == 1 else 0, row.runs)
