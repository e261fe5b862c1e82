"""Which acknowledgements leave together: each by itself costs a system call, and wakes the broker.

One that follows none leaves at once. Those that come within TOGETHER_S of it wait for each other, in order. The broker
never waits for them: meanwhile fewer messages are in flight than it has had at once on this connection, so that its
window, whatever it is, has room for another one.
What may not live here: sockets and clocks.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from bridge.mqtt.packet import encode_pubacks

TOGETHER: Final = 8
"""So many leave in any case."""
TOGETHER_S: Final = 0.01
"""None waits longer."""


class Acknowledgements:
    """Those of one connection, from the program's word to the stream."""

    __slots__ = ("_most", "_sent_at", "_waiting")

    def __init__(self) -> None:
        self._waiting: list[int] = []
        self._sent_at = 0.0
        self._most = 1  # messages that the broker has had in flight at once

    @property
    def due_at(self) -> float | None:
        """When what waits must leave (monotonic); None when nothing waits."""
        return self._sent_at + TOGETHER_S if self._waiting else None

    def add(self, packet_ids: Sequence[int], unacknowledged: int, now: float) -> bytes:
        """Take more of them; the packets to be sent now, or none.

        `unacknowledged` counts the messages that the program had not acknowledged until now, these included.
        """
        waiting = self._waiting
        in_flight = unacknowledged + len(waiting)
        waiting += packet_ids
        if in_flight < self._most and len(waiting) < TOGETHER and now < self._sent_at + TOGETHER_S:
            return b""
        self._most = max(self._most, in_flight)
        return self.take(now)

    def make_room(self, unacknowledged: int, now: float) -> bytes:
        """Messages have come meanwhile: the packets to be sent now, when the broker may wait for them."""
        if self._waiting and unacknowledged + len(self._waiting) >= self._most:
            self._most = unacknowledged + len(self._waiting)
            return self.take(now)
        return b""

    def take(self, now: float) -> bytes:
        """The packets of all that wait, to be sent now."""
        packets = encode_pubacks(self._waiting)
        self._waiting.clear()
        self._sent_at = now
        return packets
