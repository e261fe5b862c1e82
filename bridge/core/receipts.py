"""The order of acknowledgement: PUBACKs leave in the order of receipt (MQTT 5, 4.6), whatever finishes first.

What may not live here: why something may be acknowledged. One instance serves one connection after another.
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple


class Ticket(NamedTuple):
    """What acknowledges one delivery: the connection it came on, and the packet in it."""

    generation: int
    packet_id: int


class Receipts:
    """What was received on the current connection and is not acknowledged yet, in order."""

    __slots__ = ("_generation", "_open", "_order")

    def __init__(self) -> None:
        self._generation = 0
        self._order: deque[Ticket] = deque()
        self._open: dict[Ticket, bool] = {}  # whether it may be acknowledged

    def __len__(self) -> int:
        return len(self._order)

    def begin(self, generation: int) -> None:
        """A new connection: what the old one delivered will come again, its tickets are void."""
        self._generation = generation
        self._order.clear()
        self._open.clear()

    def receive(self, ticket: Ticket) -> None:
        """Note a delivery. One of an earlier connection, or one that is open already, is ignored."""
        if ticket.generation == self._generation and ticket not in self._open:
            self._order.append(ticket)
            self._open[ticket] = False

    def complete(self, ticket: Ticket) -> None:
        """Say that a delivery may be acknowledged. One that is not open is ignored: its packet id may come again."""
        if ticket in self._open:
            self._open[ticket] = True

    def release(self) -> tuple[Ticket, ...]:
        """The deliveries to acknowledge now, in order: all up to the first that is not complete."""
        released = []
        while self._order and self._open[self._order[0]]:
            ticket = self._order.popleft()
            del self._open[ticket]
            released.append(ticket)
        return tuple(released)
