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
        self._nodes: dict[tuple[str, str], dict[str, tuple[SourceRow, int]]] = {}  # each row with what it counts
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
            node_of = (site, node)
            rows_of = self._nodes.setdefault(node_of, {})
            count = _count(row)
            self._untold[node_of] += count - (rows_of[sensor][1] if sensor in rows_of else 0)
            rows_of[sensor] = row, count
            self._changed.add(node_of)
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
        payload = encode({sensor: _confirmed(row) for sensor, (row, _) in self._nodes[node].items()})
        self._transport.publish(Message(self._topics.confirm(*node), payload))


def _count(row: SourceRow) -> int:
    runs = row.runs
    if len(runs) == 1:  # the usual order of things
        return runs[0][1] - runs[0][0] + 1
    return sum(last - first + 1 for first, last in runs)


def _confirmed(row: SourceRow) -> Confirmed:
    first, last = row.runs[0]
    return Confirmed(row.epoch, last if first == 1 else 0, row.runs)
